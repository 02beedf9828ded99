package main

import (
	"net/http"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/examples/signed/server"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/signer"
)

// client returns a client that signs with a credential in a scheme. line, if not nil,
// stands between it and the network.
func (c *conversation) client(own credential, scheme apitoken.Scheme, line *wire) (*http.Client, error) {
	base := http.RoundTripper(c.network)
	if line != nil {
		base = line
	}
	if scheme == apitoken.SchemeHTTPSignature {
		transport, err := httpsig.NewTransport(httpsig.TransportOptions{Token: own.id, Key: own.key, Secret: own.secret, Base: base})
		return &http.Client{Transport: transport}, err
	}
	opts := signer.Options{Scheme: scheme, Token: own.id, Key: own.key, Secret: own.secret, Base: base}
	switch scheme {
	case apitoken.SchemeJWS:
		opts.TunnelPath = server.TunnelPath
	case apitoken.SchemeJWT:
		opts.Audience = server.Audience
	}
	transport, err := signer.New(opts)
	return &http.Client{Transport: transport}, err
}
