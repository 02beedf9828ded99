package signer_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/signer"
)

// What follows is checked by the library's own server.

const audience = "https://api.example.com"

// service answers with what its handlers get.
type service struct {
	*httptest.Server
	env *apitokentest.Env
}

func newService(t *testing.T) *service {
	t.Helper()
	sealing := apitoken.SealingKey{ID: "1", Key: apitoken.NewSecret(strings.Repeat("k", 32))}
	keyring, err := apitoken.NewKeyring(sealing)
	require.NoError(t, err)
	s := &service{env: apitokentest.New(t, apitoken.Options{
		Prefix: "acme", Keyring: keyring, ReplayGuard: memstore.NewReplayGuard(apitokentest.Start.Add(-time.Hour), memstore.ReplayOptions{}),
		Kinds: map[apitoken.Kind]apitoken.Policy{"ci": {Schemes: []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeJWS, apitoken.SchemeJWT}}},
	})}
	auth := httpauth.New(s.env.Service, httpauth.Options{
		Proofs: []httpauth.ProofReader{httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: audience})},
	})
	api := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprintln(w, p.Scheme, r.Method, r.RequestURI, r.Header.Get("Content-Type"), string(body), err)
	}))
	mux := http.NewServeMux()
	mux.Handle("/jws/validate", auth.Tunnel(httpauth.TunnelOptions{}, api))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jws/validate" {
			mux.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r) // ServeMux would redirect some of the paths
	}))
	t.Cleanup(s.Close)
	return s
}

// credentials are options for each scheme with each sort of key.
func (s *service) credentials(t *testing.T) map[string]signer.Options {
	t.Helper()
	key := newKey(t)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	uploaded := s.env.Issue(apitoken.IssueRequest{PublicKey: pemOf("PUBLIC KEY", public)})
	generated := s.env.Issue(apitoken.IssueRequest{Symmetric: true})
	plain := s.env.Issue(apitoken.IssueRequest{})
	clock := s.env.Clock
	return map[string]signer.Options{
		"bearer":    {Scheme: apitoken.SchemeBearer, Secret: plain.Secret, Clock: clock},
		"jws ES256": {Scheme: apitoken.SchemeJWS, Token: uploaded.Token.ID, Key: key, Clock: clock},
		"jws HS256": {Scheme: apitoken.SchemeJWS, Token: generated.Token.ID, Secret: generated.Secret, Clock: clock},
		"jwt ES256": {Scheme: apitoken.SchemeJWT, Token: uploaded.Token.ID, Key: key, Audience: audience, Clock: clock},
		"jwt HS256": {Scheme: apitoken.SchemeJWT, Token: generated.Token.ID, Secret: generated.Secret, Audience: audience, Clock: clock},
	}
}

// S2.10, S2.11, S2.12: requests arrive as they were made, whatever is in them, and the
// same one again is another request.
func TestServiceAccepts(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for name, opts := range s.credentials(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := &http.Client{Transport: newTransport(t, opts)}
			for _, tc := range []struct{ method, target, body string }{
				{"GET", "/v1/devices", ""},
				{"GET", "/v1/devices", ""},
				{"GET", "/", ""},
				{"GET", "/v1/a%2Fb/%C3%A4/c%20d/?q=%26&q=%3D&r=a+b&s", ""},
				{"DELETE", "/v1/devices/", ""},
				{"PUT", "/v1/devices/7", `{"b":1.0,"a":["<ä>","\u00e4"]}`},
				{"PUT", "/v1/devices/7", `{"b":1.0,"a":["<ä>","\u00e4"]}`},
				{"POST", "/v1/devices", `[1,"a"]`},
				{"POST", "/v1/devices", `"text"`},
				{"POST", "/v1/devices", `null`},
			} {
				r := newRequest(t, tc.method, s.URL+tc.target, tc.body)
				contentType := "application/json" // a tunnel says so also where there is no body
				if tc.body != "" || opts.Scheme == apitoken.SchemeJWS {
					r.Header.Set("Content-Type", contentType)
				} else {
					contentType = ""
				}
				resp, err := client.Do(r)
				require.NoError(t, err)
				answer, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, fmt.Sprintln(opts.Scheme, tc.method, tc.target, contentType, tc.body, nil), string(answer))
			}
		})
	}
}

// S2.12: what is changed, kept for later, made for another service or signed with
// another key is refused.
func TestServiceRefuses(t *testing.T) {
	t.Parallel()
	s := newService(t)
	foreign := newKey(t)
	for name, good := range s.credentials(t) {
		if good.Scheme == apitoken.SchemeBearer {
			continue
		}
		for _, tc := range []struct {
			name   string
			change func(*signer.Options)
			line   func(r *http.Request, body []byte) // what becomes of a request on its way
		}{
			{"another key", func(o *signer.Options) { o.Key, o.Secret = foreign, apitoken.Secret{} }, nil},
			{"another secret", func(o *signer.Options) { o.Key, o.Secret = nil, apitoken.NewSecret(secretKey) }, nil},
			{"another token", func(o *signer.Options) { o.Token = tokenID }, nil},
			{"another service", func(o *signer.Options) { o.Audience += "/v2" }, nil},
			{"too old", func(o *signer.Options) { o.Clock = apitokentest.NewClock(apitokentest.Start.Add(-301e9)) }, nil},
			{"of the future", func(o *signer.Options) { o.Clock = apitokentest.NewClock(apitokentest.Start.Add(121e9)) }, nil},
			{"another body", nil, func(_ *http.Request, body []byte) { body[len(body)-20] ^= 1 }},
			{"another header", nil, func(r *http.Request, body []byte) {
				if r.Header.Get("Authorization") == "" { // a JWS
					body[20] ^= 1
				}
				r.URL.RawQuery = "a=b"
			}},
			{"another method", nil, func(r *http.Request, _ []byte) { r.Method = http.MethodPut }},
		} {
			if tc.name == "another service" && good.Scheme == apitoken.SchemeJWS {
				continue // the host of the tunnel is not signed
			}
			want := http.StatusUnauthorized
			if tc.name == "another method" && good.Scheme == apitoken.SchemeJWS {
				want = http.StatusMethodNotAllowed // of the tunnel itself
			}
			t.Run(tc.name+" with "+name, func(t *testing.T) {
				t.Parallel()
				opts := good
				if tc.change != nil {
					tc.change(&opts)
				}
				opts.Base = line(tc.line)
				resp, err := (&http.Client{Transport: newTransport(t, opts)}).Do(
					newRequest(t, "POST", s.URL+"/v1/devices", `{"name":"laptop-7","owner":"alice"}`))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, want, resp.StatusCode)
			})
		}
	}
}

// P15: each signature opens the service once, also for who sends it at the same time.
func TestServiceRefusesReplays(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for name, opts := range s.credentials(t) {
		if opts.Scheme == apitoken.SchemeBearer {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent base
			opts.Base = &sent
			_, err := newTransport(t, opts).RoundTrip(newRequest(t, "POST", s.URL+"/v1/devices", `{"a":1}`))
			require.NoError(t, err)
			captured, body := sent.last()
			const copies = 5
			codes := make(chan int, copies)
			for range copies {
				go func() {
					r := captured.Clone(t.Context())
					r.Body, r.GetBody = io.NopCloser(strings.NewReader(body)), nil
					resp, err := http.DefaultTransport.RoundTrip(r)
					if err != nil {
						codes <- 0
						return
					}
					resp.Body.Close()
					codes <- resp.StatusCode
				}()
			}
			count := map[int]int{}
			for range copies {
				count[<-codes]++
			}
			require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusUnauthorized: copies - 1}, count)
		})
	}
}

// line is a RoundTripper that changes requests on their way.
type line func(r *http.Request, body []byte)

func (l line) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	out := r.Clone(r.Context())
	if l != nil {
		l(out, body)
	}
	out.Body, out.GetBody = io.NopCloser(bytes.NewReader(body)), nil
	return http.DefaultTransport.RoundTrip(out)
}
