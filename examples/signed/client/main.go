// Client sends one signed request and prints the answer. It ends with an error unless
// the answer is a success.
//
//	go run ./examples/signed/client -server URL -scheme jwt -key privateKey.pem -token ID GET /v1/devices
//	go run ./examples/signed/client -server URL -scheme jws -file own.token PUT /v1/devices/laptop-7 '{"locked":true}'
//
// The schemes are jws, jwt, http-signature, and bearer for a .token file with a bearer
// token.
package main

import (
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/examples/signed/server"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/signer"
	"github.com/tokenry/apitoken/tokenfile"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// options say where to send the request and what to sign it with.
type options struct {
	server, scheme, audience, tunnel string
	file, key, token                 string
}

func run(ctx context.Context, args []string, out, warnings io.Writer) error {
	var o options
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.StringVar(&o.server, "server", "http://127.0.0.1:8080", "`URL` of the server")
	flags.StringVar(&o.scheme, "scheme", string(apitoken.SchemeJWT), "jws, jwt, http-signature or bearer")
	flags.StringVar(&o.audience, "audience", server.Audience, "what the service calls itself, for jwt")
	flags.StringVar(&o.tunnel, "tunnel", server.TunnelPath, "where it takes a JWS, for jws")
	flags.StringVar(&o.file, "file", "", "the .token `file`")
	flags.StringVar(&o.key, "key", "", "the `file` privateKey.pem, with -token")
	flags.StringVar(&o.token, "token", "", "the `ID` of the token whose public key was uploaded")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 && flags.NArg() != 3 {
		return errors.New("give a method, a target and perhaps a body: GET /v1/devices")
	}
	transport, warning, err := o.transport()
	if err != nil {
		return err
	}
	if warning != "" {
		fmt.Fprintln(warnings, "client:", warning)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, flags.Arg(0), strings.TrimSuffix(o.server, "/")+flags.Arg(1), strings.NewReader(flags.Arg(2)))
	if err != nil {
		return err
	}
	if flags.NArg() == 3 {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return nil
}

func (o *options) transport() (transport http.RoundTripper, warning string, err error) {
	token, secret, key, warning, err := o.credential()
	if err != nil {
		return nil, "", err
	}
	if o.scheme == string(apitoken.SchemeHTTPSignature) {
		transport, err = httpsig.NewTransport(httpsig.TransportOptions{Token: token, Secret: secret, Key: key})
		return transport, warning, err
	}
	opts := signer.Options{Scheme: apitoken.Scheme(o.scheme), Token: token, Secret: secret, Key: key}
	switch opts.Scheme {
	case apitoken.SchemeJWS:
		opts.TunnelPath = o.tunnel
	case apitoken.SchemeJWT:
		opts.Audience = o.audience
	case apitoken.SchemeBearer:
		opts.Token = "" // it names itself
	}
	transport, err = signer.New(opts)
	return transport, warning, err
}

// credential reads the .token file, or else the private key. A client of one scheme of
// package signer has signer.FromFile for the first.
func (o *options) credential() (token apitoken.ID, secret apitoken.Secret, key crypto.Signer, warning string, err error) {
	token = apitoken.ID(o.token)
	switch {
	case (o.file == "") == (o.key == ""), o.file != "" && token != "":
		err = errors.New("give -file, or -key with -token")
	case o.file != "":
		var file tokenfile.File
		file, warning, err = tokenfile.Read(o.file)
		token, secret = file.ID, file.Secret
	default:
		var text []byte
		if text, err = os.ReadFile(o.key); err == nil {
			key, err = signer.ParsePrivateKey(text)
		}
	}
	return token, secret, key, warning, err
}
