package signer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
)

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	p256 := newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	secret := apitoken.NewSecret
	const jws, jwt = apitoken.SchemeJWS, apitoken.SchemeJWT

	for _, tc := range []struct {
		name string
		opts signer.Options
		want []string // the fields that are wrong
	}{
		{"nothing", signer.Options{}, []string{"Secret"}},
		{"a bearer token", signer.Options{Secret: secret(bearer)}, nil},
		{"one with a line break", signer.Options{Secret: secret(bearer + "\n")}, []string{"Secret"}},
		{"one that is too long", signer.Options{Secret: secret(strings.Repeat("a", apitoken.MaxTokenLength+1))}, []string{"Secret"}},
		{"a secret key as bearer token", signer.Options{Secret: secret(secretKey)}, []string{"Secret"}},
		{"a key and an ID as bearer token", signer.Options{Token: tokenID, Key: p256}, []string{"Key", "Token", "Secret"}},
		{"a scheme of httpsig", signer.Options{Scheme: apitoken.SchemeHTTPSignature, Token: tokenID, Key: p256}, []string{"Scheme"}},
		{"an unknown scheme", signer.Options{Scheme: "oauth"}, []string{"Scheme"}},
		{"everything is missing", signer.Options{Scheme: jwt, MaxBody: -1, Hosts: []string{""}}, []string{"Token", "Key", "Audience", "Hosts[0]", "MaxBody"}},
		{"a tunnel", signer.Options{Scheme: jws, Token: tokenID, Key: p256}, nil},
		{"a tunnel elsewhere", signer.Options{Scheme: jws, Token: tokenID, Key: p256, TunnelPath: "/t%20/x"}, nil},
		{"a tunnel with an audience", signer.Options{Scheme: jws, Token: tokenID, Key: p256, Audience: "x"}, []string{"Audience"}},
		{"a tunnel with a query", signer.Options{Scheme: jws, Token: tokenID, Key: p256, TunnelPath: "/x?y"}, []string{"TunnelPath"}},
		{"a tunnel on another host", signer.Options{Scheme: jws, Token: tokenID, Key: p256, TunnelPath: "//evil.example/x"}, []string{"TunnelPath"}},
		{"a tunnel on no path", signer.Options{Scheme: jws, Token: tokenID, Key: p256, TunnelPath: "x"}, []string{"TunnelPath"}},
		{"a JWT through a tunnel", signer.Options{Scheme: jwt, Token: tokenID, Key: p256, Audience: "x", TunnelPath: "/x"}, []string{"TunnelPath"}},
		{"a token ID of another service", signer.Options{Scheme: jws, Token: "ce9778bf-exam-p1ec-afe3-91e9355603a3", Key: p256}, nil},
		{"a token ID with a space", signer.Options{Scheme: jws, Token: "a b", Key: p256}, []string{"Token"}},
		{"a token ID that is too long", signer.Options{Scheme: jws, Token: apitoken.ID(strings.Repeat("a", 129)), Key: p256}, []string{"Token"}},
		{"two keys", signer.Options{Scheme: jws, Token: tokenID, Key: p256, Secret: secret(secretKey)}, []string{"Key"}},
		{"a key on another curve", signer.Options{Scheme: jws, Token: tokenID, Key: p384}, []string{"Key"}},
		{"a key of another algorithm", signer.Options{Scheme: jws, Token: tokenID, Key: edwards}, []string{"Key"}},
		{"no key in a pointer", signer.Options{Scheme: jws, Token: tokenID, Key: (*ecdsa.PrivateKey)(nil)}, []string{"Key"}},
		{"an empty key", signer.Options{Scheme: jws, Token: tokenID, Key: &ecdsa.PrivateKey{}}, []string{"Key"}},
		{"a key that has no public half", signer.Options{Scheme: jws, Token: tokenID, Key: noPublic{}}, []string{"Key"}},
		{"a key with no public half in a pointer", signer.Options{Scheme: jws, Token: tokenID, Key: noPublic{public: (*ecdsa.PublicKey)(nil)}}, []string{"Key"}},
		{"a secret key", signer.Options{Scheme: jws, Token: tokenID, Secret: secret(secretKey)}, nil},
		{"a secret key of another form", signer.Options{Scheme: jws, Token: tokenID, Secret: secret(strings.Repeat("=", 32))}, nil},
		{"one that is too short", signer.Options{Scheme: jws, Token: tokenID, Secret: secret(strings.Repeat("=", 31))}, []string{"Secret"}},
		{"a bearer token that is to sign", signer.Options{Scheme: jws, Token: tokenID, Secret: secret(bearer)}, []string{"Secret"}},
		{"hosts", signer.Options{Secret: secret(bearer), Hosts: []string{"api.example.com", "API.example.com:8443", "[::1]:80", "127.0.0.1"}}, nil},
		{"hosts that are none", signer.Options{Secret: secret(bearer), Hosts: []string{"https://a.example", "a.example/x", "u@a.example", "a b", "a.example:x", "a.example?"}},
			[]string{"Hosts[0]", "Hosts[1]", "Hosts[2]", "Hosts[3]", "Hosts[4]", "Hosts[5]"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			transport, err := signer.New(tc.opts)
			if tc.want == nil {
				require.NoError(t, err)
				require.NotNil(t, transport)
				return
			}
			require.Nil(t, transport)
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			var fields []string
			for _, fault := range apitoken.Fields(err) {
				fields = append(fields, fault.Field)
				require.NotEmpty(t, fault.Problem)
			}
			require.Equal(t, tc.want, fields)
			if text := tc.opts.Secret.Reveal(); text != "" {
				require.NotContains(t, err.Error(), text)
				require.NotContains(t, err.Error(), bearer[5:])
			}
		})
	}
}

// keyFunc is a crypto.Signer that answers with what it is told to.
type keyFunc func(digest []byte) ([]byte, error)

func (f keyFunc) Public() crypto.PublicKey {
	g := elliptic.P256().Params()
	point := slices.Concat([]byte{4}, g.Gx.FillBytes(make([]byte, 32)), g.Gy.FillBytes(make([]byte, 32)))
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		panic(err)
	}
	return public
}

type noPublic struct {
	keyFunc
	public crypto.PublicKey
}

func (n noPublic) Public() crypto.PublicKey { return n.public }
