package signer_test

import (
	"encoding/base64"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
)

func TestBodies(t *testing.T) {
	t.Parallel()
	const limit = 16
	long := `"` + strings.Repeat("a", limit) + `"`
	broken := errors.New("the disk is gone")
	for _, tc := range []struct {
		name   string
		scheme apitoken.Scheme
		body   io.Reader
		length int64
		again  func() (io.ReadCloser, error)
		want   error
		sent   string
	}{
		{"at the limit", apitoken.SchemeJWT, strings.NewReader(long[:limit]), -1, nil, nil, long[:limit]},
		{"one byte more", apitoken.SchemeJWT, strings.NewReader(long[:limit+1]), -1, nil, signer.ErrBodyTooLarge, ""},
		{"said to be longer", apitoken.SchemeJWT, failing{errors.New("was read")}, limit + 1, nil, signer.ErrBodyTooLarge, ""},
		{"to be had again", apitoken.SchemeJWT, failing{errors.New("was read")}, int64(len(long)), again(long), nil, long},
		{"not to be had again", apitoken.SchemeJWT, strings.NewReader(long), -1, func() (io.ReadCloser, error) { return nil, broken }, broken, ""},
		{"to be had again and broken", apitoken.SchemeJWT, strings.NewReader(long), -1,
			func() (io.ReadCloser, error) { return io.NopCloser(failing{broken}), nil }, broken, ""},
		{"broken", apitoken.SchemeJWT, failing{broken}, -1, nil, broken, ""},
		{"empty, though not said to be", apitoken.SchemeJWT, strings.NewReader(""), -1, nil, nil, ""},
		{"too long for a tunnel", apitoken.SchemeJWS, strings.NewReader(long), -1, again(long), signer.ErrBodyTooLarge, ""},
		{"broken for a tunnel", apitoken.SchemeJWS, failing{broken}, -1, again("{}"), broken, ""},
		{"no JSON", apitoken.SchemeJWS, strings.NewReader("a=b"), -1, nil, signer.ErrBodyForm, ""},
		{"two JSON values", apitoken.SchemeJWS, strings.NewReader("{}{}"), -1, nil, signer.ErrBodyForm, ""},
		{"more than a JSON value", apitoken.SchemeJWS, strings.NewReader(`1,"b":2`), -1, nil, signer.ErrBodyForm, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var sent base
			opts := signer.Options{Scheme: tc.scheme, Token: tokenID, Secret: apitoken.NewSecret(secretKey), MaxBody: limit, Base: &sent}
			if tc.scheme == apitoken.SchemeJWT {
				opts.Audience = "x"
			}
			body := &closer{Reader: tc.body}
			r := newRequest(t, "POST", "https://api.example.com/", "")
			r.Body, r.ContentLength, r.GetBody = body, tc.length, tc.again
			_, err := newTransport(t, opts).RoundTrip(r)
			require.Equal(t, 1, body.closed)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
				require.Empty(t, sent.requests)
				return
			}
			require.NoError(t, err)
			_, content := sent.last()
			require.Equal(t, tc.sent, content)
		})
	}
}

// A limit of more than all is no limit.
func TestBodiesWithoutLimit(t *testing.T) {
	t.Parallel()
	for _, opts := range schemes(t) {
		if opts.Scheme == apitoken.SchemeBearer {
			continue
		}
		t.Run(string(opts.Scheme)+" "+opts.Audience, func(t *testing.T) {
			t.Parallel()
			var sent base
			opts.Base, opts.MaxBody = &sent, math.MaxInt64
			r := newRequest(t, "POST", "https://api.example.com/", "")
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`"whole"`)), -1
			_, err := newTransport(t, opts).RoundTrip(r)
			require.NoError(t, err)
			_, content := sent.last()
			if opts.Scheme == apitoken.SchemeJWS {
				payload, err := base64.RawURLEncoding.DecodeString(strings.Split(content, ".")[1])
				require.NoError(t, err)
				content = string(payload)
			}
			require.Contains(t, content, `"whole"`)
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func again(content string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

// http.Client never gives a request without a header, other callers may.
func TestRequestWithoutHeader(t *testing.T) {
	t.Parallel()
	for _, opts := range schemes(t) {
		t.Run(string(opts.Scheme), func(t *testing.T) {
			t.Parallel()
			var sent base
			opts.Base = &sent
			r := newRequest(t, "GET", "https://api.example.com/", "")
			r.Header = nil
			_, err := newTransport(t, opts).RoundTrip(r)
			require.NoError(t, err)
			require.Nil(t, r.Header)
			require.Len(t, sent.requests, 1)
		})
	}
}

// A copy of a body that was read to sign it is closed, and so is one that was sent.
func TestCopiesOfABodyAreClosed(t *testing.T) {
	t.Parallel()
	var sent base
	var copies []*closer
	r := newRequest(t, "POST", "https://api.example.com/", "text")
	r.GetBody = func() (io.ReadCloser, error) {
		copies = append(copies, &closer{Reader: strings.NewReader("text")})
		return copies[len(copies)-1], nil
	}
	_, err := newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWT, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Audience: "x", Base: &sent,
	}).RoundTrip(r)
	require.NoError(t, err)
	require.Len(t, copies, 2)
	require.Equal(t, []int{1, 1}, []int{copies[0].closed, copies[1].closed})
}

// The default limit of a tunnel makes a JWS that the default of the server takes.
func TestDefaultTunnelBodyFits(t *testing.T) {
	t.Parallel()
	var sent base
	transport := newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWS, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Base: &sent,
	})
	largest := `"` + strings.Repeat("a", 700<<10-2) + `"`
	_, err := transport.RoundTrip(newRequest(t, "POST", "https://api.example.com/", largest))
	require.NoError(t, err)
	_, jws := sent.last()
	require.Less(t, len(jws), 1<<20)
	_, err = transport.RoundTrip(newRequest(t, "POST", "https://api.example.com/", largest+" "))
	require.ErrorIs(t, err, signer.ErrBodyTooLarge)
}
