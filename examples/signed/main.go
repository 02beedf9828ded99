// Signed is an HTTP API whose clients sign their requests: a client uploads the
// public half of its key pair and keeps the private half to itself, or signs with a
// secret key that was generated for it.
//
//	go run ./examples/signed            # serve, and print what to do
//	go run ./examples/signed -selftest  # try every scheme with both sorts of key
//
// The server is in the folder server, a client of the library's own in client, and
// clients in shell, Node and Python are in ../clients. Tokens are kept in memory and
// end with the process.
//
// It speaks plain HTTP and therefore listens on loopback addresses only. A signed
// request cannot be changed or repeated by who reads it, but it can be read.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tokenry/apitoken/examples/signed/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "signed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("signed", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "loopback `address` to listen on")
	test := flags.Bool("selftest", false, "check every answer over HTTP on a spare port, then exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *test {
		return selfTest(ctx, server.New, out)
	}
	listener, err := listen(ctx, *addr)
	if err != nil {
		return err
	}
	s, err := server.New(listener.Addr().String())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	admin, err := s.Admin(ctx)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	// The secret is shown because this terminal is its holder's.
	if _, err := fmt.Fprintf(out, guide, "http://"+listener.Addr().String(), admin.Reveal()); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serve(ctx, s, listener)
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-addr: %w", err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("-addr %s: this demo speaks plain HTTP: use a loopback address such as 127.0.0.1:8080", addr)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("-addr: %w: choose another port", err)
	}
	return listener, nil
}

// serve answers until ctx ends, then lets running requests finish.
func serve(ctx context.Context, s *server.Server, listener net.Listener) error {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.Tokens.Run(background) }()

	httpServer := &http.Server{Handler: s.Handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- httpServer.Serve(listener) }()

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err = httpServer.Shutdown(grace)
		cancel()
	}
	end()
	return errors.Join(err, <-ended)
}

const guide = `Listening on %[1]s until Ctrl-C.

# A bearer token that uploads keys and has secrets made:
API=%[1]s
ADMIN=%[2]s

# A key pair of your own. privateKey.pem never leaves this machine.
openssl ecparam -genkey -name prime256v1 -out ec256-key-pair.pem
openssl pkcs8 -topk8 -inform pem -in ec256-key-pair.pem -outform pem -nocrypt -out privateKey.pem
openssl ec -in ec256-key-pair.pem -pubout -out publicKey.pem

# Upload the public half; the answer names the token. Uploading another file is refused.
curl -H "Authorization: Bearer $ADMIN" --data-binary @publicKey.pem $API/v1/keys
curl -H "Authorization: Bearer $ADMIN" --data-binary @privateKey.pem $API/v1/keys

# Or have a secret key generated, and keep the file.
(umask 077 && curl -H "Authorization: Bearer $ADMIN" -X POST -o own.token $API/v1/secrets)

# Sign, with the token's ID from above. -scheme is jws, jwt or http-signature.
go run ./examples/signed/client -server $API -scheme jwt -key privateKey.pem -token ID GET '/v1/devices?sort=name'
go run ./examples/signed/client -server $API -scheme jws -file own.token PUT /v1/devices/laptop-7 '{"locked":true}'
`
