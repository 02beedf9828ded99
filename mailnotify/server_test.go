package mailnotify_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is an SMTP server on loopback that knows what the tests need.
type server struct {
	listener  net.Listener
	cert      tls.Certificate
	roots     *x509.CertPool
	implicit  bool   // TLS from the first byte
	noTLS     bool   // does not offer STARTTLS
	user      string // "" = no login asked for
	password  string
	connected chan struct{}

	mu     sync.Mutex
	reply  func(line string) string // "" = as usual, "hang" = nothing, "drop" = closes
	mails  []delivered
	lines  []string // all that clients said, with what was under TLS marked
	logins int
}

// delivered is a mail as the server took it.
type delivered struct {
	from string
	to   []string
	data string
	tls  bool
}

func newServer(t *testing.T, set ...func(*server)) *server {
	t.Helper()
	s, stop := startServer(set...)
	t.Cleanup(stop)
	return s
}

// startServer is newServer for examples, which have no test.
func startServer(set ...func(*server)) (s *server, stop func()) {
	s = &server{connected: make(chan struct{}, 100)}
	for _, f := range set {
		f(s)
	}
	key := orPanic(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der := orPanic(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	s.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	s.roots = x509.NewCertPool()
	s.roots.AddCert(orPanic(x509.ParseCertificate(der)))
	s.listener = orPanic(net.Listen("tcp", "127.0.0.1:0"))
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { s.serve(conn) })
		}
	})
	return s, func() {
		s.listener.Close()
		open.Wait() // every client has closed its connection: none is leaked
	}
}

func orPanic[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (s *server) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// on makes the server answer lines by f.
func (s *server) on(f func(line string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = f
}

// refuse makes the server answer lines that begin with prefix by reply.
func (s *server) refuse(prefix, reply string) {
	s.on(func(line string) string {
		if strings.HasPrefix(line, prefix) {
			return reply
		}
		return ""
	})
}

// take returns the mails since the last take.
func (s *server) take() []delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.mails
	s.mails = nil
	return got
}

func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func (s *server) serve(conn net.Conn) {
	defer func() { conn.Close() }()
	secure := s.implicit
	if secure {
		conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	}
	s.connected <- struct{}{}
	r := bufio.NewReader(conn)
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	say("220 ready")
	var mail delivered
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		mark := map[bool]string{true: "tls ", false: "clear "}[secure]
		s.lines = append(s.lines, mark+line)
		reply := ""
		if s.reply != nil {
			reply = s.reply(line)
		}
		s.mu.Unlock()
		switch reply {
		case "":
		case "drop":
			return
		case "hang":
			continue
		default:
			say("%s", reply)
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			lines := []string{"localhost", "ENHANCEDSTATUSCODES"}
			if !secure && !s.noTLS {
				lines = append(lines, "STARTTLS")
			}
			if s.user != "" {
				lines = append(lines, "AUTH PLAIN")
			}
			for i, l := range lines {
				say("250%s%s", map[bool]string{true: " ", false: "-"}[i == len(lines)-1], l)
			}
		case "STARTTLS":
			say("220 go ahead")
			conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}})
			r, secure = bufio.NewReader(conn), true
		case "AUTH":
			text, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			if string(text) != "\x00"+s.user+"\x00"+s.password {
				say("535 5.7.8 no")
				continue
			}
			s.mu.Lock()
			s.logins++
			s.mu.Unlock()
			say("235 2.7.0 yes")
		case "MAIL":
			mail = delivered{from: rest, tls: secure}
			say("250 2.1.0 ok")
		case "RCPT":
			mail.to = append(mail.to, strings.TrimPrefix(rest, "TO:"))
			say("250 2.1.5 ok")
		case "DATA":
			say("354 go on")
			var data strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			mail.data, mail.to = data.String(), slices.Clone(mail.to)
			s.mu.Lock()
			s.mails = append(s.mails, mail)
			lost := s.reply != nil && s.reply("DATA END") == "drop"
			s.mu.Unlock()
			if lost {
				return
			}
			say("250 2.0.0 taken")
		case "RSET", "NOOP":
			say("250 2.0.0 ok")
		case "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			say("502 5.5.1 what?")
		}
	}
}
