package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/examples/signed/server"
	"github.com/tokenry/apitoken/tokenfile"
)

// selfTest serves on a spare port, signs with both sorts of key in every scheme, does
// what an attacker would, and returns an error unless every answer was right.
func selfTest(ctx context.Context, start func(host string) (*server.Server, error), out io.Writer) error {
	listener, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	host := listener.Addr().String()
	s, err := start(host)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- serve(serving, s, listener) }()

	network := &http.Transport{}
	c := &conversation{ctx: ctx, url: "http://" + host, network: network, out: out}
	err = c.hold(s)
	network.CloseIdleConnections()
	stop()
	if err = errors.Join(err, <-served); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if c.wrong > 0 {
		return fmt.Errorf("%d of %d answers were wrong", c.wrong, c.asked)
	}
	_, err = fmt.Fprintf(out, "All %d answers were right.\n", c.asked)
	return err
}

// hold has the conversation.
func (c *conversation) hold(s *server.Server) error {
	secret, err := s.Admin(c.ctx)
	if err != nil {
		return err
	}
	admin, err := c.client(credential{secret: secret}, apitoken.SchemeBearer, nil)
	if err != nil {
		return err
	}
	c.ask(exchange{says: "Nobody gets in without a token.",
		client: &http.Client{Transport: c.network}, request: "GET /v1/devices", status: 401})
	c.ask(exchange{says: "A bearer token works here too.",
		client: admin, request: "GET /v1/devices", status: 200, has: []string{`"laptop-7"`, `"scheme":"bearer"`}})

	uploaded, err := c.upload(admin)
	if err != nil {
		return err
	}
	generated, err := c.generate(admin)
	if err != nil {
		return err
	}
	stolen := &http.Client{Transport: withHeader{c.network, "Bearer " + generated.secret.Reveal()}}
	c.ask(exchange{says: "A secret key signs; sent as if it were a bearer token it opens nothing.",
		client: stolen, request: "GET /v1/devices", status: 401})
	for _, own := range []credential{uploaded, generated} {
		for _, scheme := range []apitoken.Scheme{apitoken.SchemeJWS, apitoken.SchemeJWT, apitoken.SchemeHTTPSignature} {
			if err := c.sign(own, scheme); err != nil {
				return err
			}
		}
	}
	return nil
}

// upload makes a key pair, as openssl does, and a token of its public half.
func (c *conversation) upload(admin *http.Client) (credential, error) {
	key, err := newKey()
	if err != nil {
		return credential{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return credential{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return credential{}, err
	}
	mistake := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	c.ask(exchange{says: "Who uploads the private key by mistake is told to think of it as known.",
		client: admin, request: "POST /v1/keys", body: mistake, status: 422, has: []string{"publicKey.pem", "private key"}, lacks: []string{strings.Split(mistake, "\n")[1]}})
	answer := c.ask(exchange{says: "Upload the public key. There is no secret to show.",
		client: admin, request: "POST /v1/keys", body: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		status: 201, has: []string{`"id"`}, lacks: []string{`"secret"`}})
	var issued struct {
		Token struct {
			ID apitoken.ID `json:"id"`
		} `json:"token"`
	}
	_ = json.Unmarshal([]byte(answer), &issued) // without an ID the requests fail
	return credential{name: "an uploaded key", id: issued.Token.ID, key: key}, nil
}

// generate downloads a .token file.
func (c *conversation) generate(admin *http.Client) (credential, error) {
	answer := c.ask(exchange{says: "Have a secret key generated. The .token file has it, this once.",
		client: admin, request: "POST /v1/secrets", status: 200, has: []string{"Token ID: ", "Secret Key: acme_sk_"}})
	file, err := tokenfile.Parse(strings.NewReader(answer))
	if err != nil {
		return credential{}, fmt.Errorf("the .token file: %w", err)
	}
	return credential{name: "a generated secret", id: file.ID, secret: file.Secret}, nil
}

// sign uses one credential in one scheme, and abuses it.
func (c *conversation) sign(own credential, scheme apitoken.Scheme) error {
	foreign, err := newKey()
	if err != nil {
		return err
	}
	line := &wire{base: c.network}
	client, err := c.client(own, scheme, line)
	if err != nil {
		return err
	}
	stranger, err := c.client(credential{id: own.id, key: foreign}, scheme, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\n== %s with %s\n", scheme, own.name)
	said := `"scheme":"` + string(scheme) + `"`
	c.ask(exchange{says: "A signed request is let in. Its query arrives as it was signed.",
		client: client, request: "GET /v1/devices?sort=name&q=a%2Fb%20c", status: 200, has: []string{`"query":"sort=name&q=a%2Fb%20c"`, said, string(own.id)}})
	put := exchange{client: client, request: "PUT /v1/devices/laptop-7", body: `{"locked":true}`}

	put.says, put.status, put.has = "So does its body.", 200, []string{`"locked":true`, said}
	c.ask(put)
	line.meddle = repeat
	put.says, put.status, put.has = "Who reads it on its way and sends it again is refused.", 401, nil
	c.ask(put)
	line.meddle = change
	put.says = "So is who changes it."
	c.ask(put)
	put.client, put.says = stranger, "So is who signs with another key."
	c.ask(put)
	return nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// credential is what a client has of one token.
type credential struct {
	name   string
	id     apitoken.ID
	key    crypto.Signer
	secret apitoken.Secret
}

// conversation asks, prints and judges.
type conversation struct {
	ctx          context.Context
	url          string
	network      *http.Transport
	out          io.Writer
	asked, wrong int
}

// exchange is one request and what its answer must be.
type exchange struct {
	says    string // what it shows
	client  *http.Client
	request string // method and target
	body    string

	status int
	has    []string // what the body must contain
	lacks  []string // and must not
}

// ask returns the body.
func (c *conversation) ask(x exchange) string {
	c.asked++
	fmt.Fprintf(c.out, "\n%d. %s\n   %s\n", c.asked, x.says, shorten(x.request+" "+x.body))
	status, body, err := c.send(x)
	var faults []string
	expect := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	expect(err == nil, "no answer: %v", err)
	expect(status == x.status, "status %d, expected %d", status, x.status)
	for _, part := range x.has {
		expect(strings.Contains(body, part), "the body lacks %s", shorten(part))
	}
	for _, part := range x.lacks {
		expect(!strings.Contains(body, part), "the body has %s", shorten(part))
	}
	fmt.Fprintf(c.out, "   %d (expected %d) %s\n", status, x.status, shorten(body))
	if len(faults) > 0 {
		c.wrong++
		fmt.Fprintf(c.out, "   WRONG: %s\n", strings.Join(faults, "; "))
	}
	return body
}

func (c *conversation) send(x exchange) (int, string, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	method, target, _ := strings.Cut(x.request, " ")
	r, err := http.NewRequestWithContext(ctx, method, c.url+target, strings.NewReader(x.body))
	if err != nil {
		return 0, "", err
	}
	if x.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := x.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(body)), err
}

var secret = regexp.MustCompile(`[0-9A-Za-z+/]{30,}`)

// shorten leaves out what may be a secret or a key, and fits on a line.
func shorten(s string) string {
	s = strings.Join(strings.Fields(secret.ReplaceAllString(s, "…")), " ")
	if r := []rune(s); len(r) > 250 {
		return string(r[:250]) + " …"
	}
	return s
}

// wire is the network, with somebody in it who does to a request what meddle does.
type wire struct {
	base   http.RoundTripper
	meddle func(base http.RoundTripper, r *http.Request, body []byte) (*http.Response, error)
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.meddle == nil {
		return w.base.RoundTrip(r)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return w.meddle(w.base, r, body)
}

// with returns r with another body.
func with(r *http.Request, body []byte) *http.Request {
	out := r.Clone(r.Context())
	out.Body, out.GetBody, out.ContentLength = io.NopCloser(bytes.NewReader(body)), nil, int64(len(body))
	return out
}

// repeat sends a request twice and returns the second answer.
func repeat(base http.RoundTripper, r *http.Request, body []byte) (*http.Response, error) {
	first, err := base.RoundTrip(with(r, body))
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, first.Body)
	if err = errors.Join(err, first.Body.Close()); err != nil {
		return nil, err
	}
	if first.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the first of the two was answered with %s", first.Status)
	}
	return base.RoundTrip(with(r, body))
}

// change unlocks what was to be locked. Inside of a JWS that is a few letters of
// base64.
func change(base http.RoundTripper, r *http.Request, body []byte) (*http.Response, error) {
	if part := strings.Split(string(body), "."); len(part) == 3 {
		part[1] = "eyJkYXRhIjp7ImxvY2tlZCI6ZmFsc2V9fQ" // {"data":{"locked":false}}
		return base.RoundTrip(with(r, []byte(strings.Join(part, "."))))
	}
	return base.RoundTrip(with(r, []byte(`{"locked":false}`)))
}

// withHeader sends an Authorization header as somebody who has no better library.
type withHeader struct {
	base   http.RoundTripper
	header string
}

func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Header.Set("Authorization", h.header)
	return h.base.RoundTrip(out)
}
