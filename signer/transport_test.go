package signer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/signer"
)

// site is a server that keeps what it was sent and redirects /to?u=URL there.
type site struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // path and credential
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		credential := "none"
		if r.Header.Get("Authorization") != "" {
			credential = "signed"
		}
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.Path+" "+credential)
		s.mu.Unlock()
		if to := r.URL.Query().Get("u"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func to(hops ...string) string {
	target := hops[len(hops)-1]
	for i := len(hops) - 2; i >= 0; i-- {
		target = hops[i] + "?u=" + url.QueryEscape(target)
	}
	return target
}

// A redirect carries the credential to hosts that may have it, and a host that may
// not have it does not lead the client anywhere with it.
func TestRedirects(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		hosts []string // "home", "other"
		path  func(home, other string) string
		home  []string
		other []string
	}{
		{"on the same host", nil, func(home, _ string) string { return to(home+"/a", "/b") },
			[]string{"POST /a signed", "POST /b signed"}, nil},
		{"to another host", nil, func(home, other string) string { return to(home+"/a", other+"/b") },
			[]string{"POST /a signed"}, []string{"POST /b none"}},
		{"to another host that is named", []string{"home", "other"}, func(home, other string) string { return to(home+"/a", other+"/b") },
			[]string{"POST /a signed"}, []string{"POST /b signed"}},
		{"to another host and on", nil, func(home, other string) string { return to(home+"/a", other+"/b", other+"/c") },
			[]string{"POST /a signed"}, []string{"POST /b none", "POST /c none"}},
		{"to another host and back", nil, func(home, other string) string { return to(home+"/a", other+"/b", home+"/c", home+"/d") },
			[]string{"POST /a signed", "POST /c none", "POST /d none"}, []string{"POST /b none"}},
	} {
		for _, scheme := range []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeJWT} {
			t.Run(tc.name+" with "+string(scheme), func(t *testing.T) {
				t.Parallel()
				home, other := newSite(t), newSite(t)
				opts := signer.Options{Scheme: scheme, Secret: apitoken.NewSecret(bearer)}
				if scheme == apitoken.SchemeJWT {
					opts.Secret, opts.Token, opts.Audience = apitoken.NewSecret(secretKey), tokenID, "x"
				}
				for _, host := range tc.hosts {
					named := map[string]*site{"home": home, "other": other}[host]
					opts.Hosts = append(opts.Hosts, strings.TrimPrefix(named.URL, "http://"))
				}
				client := &http.Client{Transport: newTransport(t, opts)}
				resp, err := client.Do(newRequest(t, "POST", tc.path(home.URL, other.URL), "text"))
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, http.StatusOK, resp.StatusCode)
				require.Equal(t, tc.home, home.seen)
				require.Equal(t, tc.other, other.seen)
				client.CloseIdleConnections()
			})
		}
	}
}

// The response of a tunnel is that of the request inside, so it redirects that.
func TestRedirectThroughTunnel(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	var inner, outer []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		header, _ := parts(t, string(body), key.Public())
		outer, inner = append(outer, r.Method+" "+r.RequestURI), append(inner, header)
		if strings.Contains(header, `"uri":"/v1/a"`) {
			w.Header().Set("Location", "b?c=d") // which is relative to the request inside
			w.WriteHeader(http.StatusSeeOther)
		}
	}))
	defer server.Close()
	clock := apitokentest.NewClock(noon)
	client := &http.Client{Transport: newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWS, Token: tokenID, Key: key, TunnelPath: "/jws%2Fx", Clock: clock,
	})}
	resp, err := client.Do(newRequest(t, "GET", server.URL+"/v1/a", ""))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "/v1/b?c=d", resp.Request.URL.RequestURI())
	require.Equal(t, []string{"POST /jws%2Fx", "POST /jws%2Fx"}, outer)
	require.Len(t, inner, 2)
	require.Contains(t, inner[1], `"uri":"/v1/b","query-string":"c=d"`)
}

func TestRefusedBeforeSending(t *testing.T) {
	t.Parallel()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = []string{value} }
	}
	const fine = "https://api.example.com/v1"
	for _, tc := range []struct {
		name, url string
		change    func(*http.Request)
		want      error
		bearer    bool // is fine with a bearer token
	}{
		{"another host", "https://evil.example/v1", nil, signer.ErrHost, false},
		{"a host above", "https://example.com/v1", nil, signer.ErrHost, false},
		{"a host below", "https://a.api.example.com/v1", nil, signer.ErrHost, false},
		{"another port", "https://api.example.com:8443/v1", nil, signer.ErrHost, false},
		{"no TLS", "http://api.example.com/v1", nil, signer.ErrInsecure, false},
		{"no TLS in capitals", "HTTP://api.example.com/v1", nil, signer.ErrInsecure, false},
		{"no TLS and its port", "http://api.example.com:443/v1", nil, signer.ErrInsecure, false},
		{"no TLS to a name that only begins so", "http://localhost.example/v1", nil, signer.ErrInsecure, false},
		{"another protocol", "ftp://api.example.com/v1", nil, signer.ErrInsecure, false},
		{"another protocol to this machine", "ftp://127.0.0.1/v1", nil, signer.ErrInsecure, false},
		{"no host", "/v1", nil, signer.ErrTarget, false},
		{"no URL", fine, func(r *http.Request) { r.URL = nil }, signer.ErrTarget, false},
		{"an Authorization header", fine, header("Authorization", "Basic eDp5"), signer.ErrTwoCredentials, false},
		{"an empty one", fine, header("Authorization", ""), signer.ErrTwoCredentials, false},
		{"a user in the URL", "https://user:password@api.example.com/v1", nil, signer.ErrTwoCredentials, false},
		{"opaque data", fine, func(r *http.Request) { r.URL.Opaque = "//api.example.com/v2" }, signer.ErrTarget, true},
		{"a query that is not escaped", fine + "?a=ä", nil, signer.ErrTarget, true},
	} {
		for _, opts := range schemes(t) {
			t.Run(tc.name+" with "+string(opts.Scheme)+" "+string(opts.Token), func(t *testing.T) {
				t.Parallel()
				var sent base
				opts.Base, opts.Hosts = &sent, []string{"api.example.com"}
				body := &closer{Reader: strings.NewReader("{}")}
				r := newRequest(t, "POST", tc.url, "")
				r.Body = body
				if tc.change != nil {
					tc.change(r)
				}
				resp, err := newTransport(t, opts).RoundTrip(r)
				require.Equal(t, 1, body.closed)
				if tc.bearer && opts.Scheme == apitoken.SchemeBearer {
					require.NoError(t, err)
					return
				}
				require.Nil(t, resp)
				require.ErrorIs(t, err, tc.want)
				require.ErrorIs(t, err, apitoken.ErrInvalid)
				require.NotEqual(t, "unknown", apitoken.ReasonOf(err))
				require.Empty(t, sent.requests)
				if text := opts.Secret.Reveal(); text != "" {
					require.NotContains(t, err.Error(), text)
				}
			})
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		hosts []string
		urls  []string // all but the last go through
		want  error    // of the last; nil = it goes through too
	}{
		{"the first is remembered", nil, []string{"https://a.example/", "https://A.example:443/x", "https://b.example/"}, signer.ErrHost},
		{"one that is refused is not", nil, []string{"https://a.example/"}, nil},
		{"in capitals", []string{"A.Example"}, []string{"https://a.example/", "https://a.EXAMPLE/"}, nil},
		{"with the port of https", []string{"a.example:443"}, []string{"https://a.example/"}, nil},
		{"with a port of its own", []string{"a.example:8443"}, []string{"https://a.example:8443/", "https://a.example/"}, signer.ErrHost},
		{"this machine without TLS", []string{"localhost:8080", "127.0.0.1", "[::1]:1"},
			[]string{"http://localhost:8080/", "http://127.0.0.1/", "http://127.0.0.1:80/", "http://[::1]:1/", "http://127.0.0.2/"}, signer.ErrHost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var sent base
			transport := newTransport(t, signer.Options{Secret: apitoken.NewSecret(bearer), Hosts: tc.hosts, Base: &sent})
			if tc.hosts == nil {
				_, err := transport.RoundTrip(newRequest(t, "GET", "http://b.example/", ""))
				require.ErrorIs(t, err, signer.ErrInsecure)
			}
			for i, u := range tc.urls {
				_, err := transport.RoundTrip(newRequest(t, "GET", u, ""))
				if i == len(tc.urls)-1 && tc.want != nil {
					require.ErrorIs(t, err, tc.want)
				} else {
					require.NoError(t, err, u)
				}
			}
		})
	}
}

// A Transport that is handed only the end of a redirect learns no host from it.
func TestRedirectIsNoFirstHost(t *testing.T) {
	t.Parallel()
	var sent base
	transport := newTransport(t, signer.Options{Secret: apitoken.NewSecret(bearer), Base: &sent})
	r := newRequest(t, "GET", "https://b.example/", "")
	r.Response = &http.Response{Request: newRequest(t, "GET", "https://a.example/", "")}
	_, err := transport.RoundTrip(r)
	require.NoError(t, err)
	out, _ := sent.last()
	require.Empty(t, out.Header)
	_, err = transport.RoundTrip(newRequest(t, "GET", "https://a.example/", ""))
	require.NoError(t, err)
	out, _ = sent.last()
	require.Equal(t, "Bearer "+bearer, out.Header.Get("Authorization"))
}

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

// A client that tries again has another signature each time: the nonce of a JWT and
// the time of a JWS are new.
func TestEachAttemptIsSignedAnew(t *testing.T) {
	t.Parallel()
	for _, opts := range schemes(t) {
		if opts.Scheme == apitoken.SchemeBearer {
			continue
		}
		t.Run(string(opts.Scheme), func(t *testing.T) {
			t.Parallel()
			var sent base
			opts.Base = &sent // the clock stands still
			transport := newTransport(t, opts)
			r := newRequest(t, "POST", "https://api.example.com/", `{"a":1}`)
			seen := map[string]bool{}
			for range 3 {
				var err error
				r.Body, err = r.GetBody() // as a client does that tries again
				require.NoError(t, err)
				_, err = transport.RoundTrip(r)
				require.NoError(t, err)
				out, body := sent.last()
				proof := strings.TrimPrefix(out.Header.Get("Authorization"), "Bearer ") + body
				if opts.Scheme == apitoken.SchemeJWT {
					require.Equal(t, `{"a":1}`, body)
				}
				// The signed part: the signature alone is new with ES256 in any case.
				signed := proof[:strings.LastIndexByte(proof, '.')]
				require.False(t, seen[signed], "signed before")
				seen[signed] = true
			}
		})
	}
}

// flaky is a server that keeps what it was sent and closes the connection, instead
// of answering, on the requests numbered.
type flaky struct {
	*httptest.Server
	mu             sync.Mutex
	proofs, bodies []string
}

func newFlaky(t *testing.T, silent int, then func()) *flaky {
	t.Helper()
	f := &flaky{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.proofs = append(f.proofs, r.Header.Get("Authorization")+string(body))
		f.bodies = append(f.bodies, string(body))
		if len(f.proofs) == silent {
			then()
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *flaky) seen() (proofs, bodies []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.proofs), slices.Clone(f.bodies)
}

// http.Transport repeats some requests by itself when a connection that was kept
// open is closed. The service may have seen the first, so the second must not be the
// same; and what http.Transport would not repeat is not repeated here.
func TestConnectionThatWasClosed(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method, body string
		header             string // that makes it safe to repeat
		repeats            bool
	}{
		{"GET", "GET", "", "", true},
		{"HEAD", "HEAD", "", "", true},
		{"OPTIONS", "OPTIONS", "", "", true},
		{"TRACE", "TRACE", "", "", true},
		{"GET with a body", "GET", `{"a":1}`, "", true},
		{"POST", "POST", `{"a":1}`, "", false},
		{"DELETE", "DELETE", "", "", false},
		{"POST with a key", "POST", `{"a":1}`, "Idempotency-Key", true},
		{"POST with a key as it was named before", "POST", `{"a":1}`, "X-Idempotency-Key", true},
	} {
		for _, opts := range schemes(t) {
			if opts.Scheme == apitoken.SchemeBearer {
				continue
			}
			t.Run(tc.name+" with "+string(opts.Scheme)+" "+opts.Audience, func(t *testing.T) {
				t.Parallel()
				server := newFlaky(t, 2, func() {})
				opts.Base = &http.Transport{}
				client := &http.Client{Transport: newTransport(t, opts)}
				defer client.CloseIdleConnections()
				do := func() error {
					r := newRequest(t, tc.method, server.URL+"/v1", tc.body)
					if tc.header != "" {
						r.Header.Set(tc.header, "1")
					}
					resp, err := client.Do(r)
					if err == nil {
						require.Equal(t, http.StatusOK, resp.StatusCode)
						_, _ = io.Copy(io.Discard, resp.Body)
						require.NoError(t, resp.Body.Close())
					}
					return err
				}
				require.NoError(t, do())
				err := do()
				proofs, bodies := server.seen()
				if !tc.repeats {
					require.Error(t, err)
					require.Len(t, proofs, 2)
					return
				}
				require.NoError(t, err)
				require.Len(t, proofs, 3)
				require.NotEqual(t, proofs[1], proofs[2], "the same signature came twice")
				if opts.Scheme == apitoken.SchemeJWT {
					require.Equal(t, []string{tc.body, tc.body, tc.body}, bodies)
				}
			})
		}
	}
}

// The milliseconds that are made up do not lead away from the time, and follow a clock
// that is put back.
func TestTunnelTimesAreUnique(t *testing.T) {
	t.Parallel()
	var sent base
	clock := apitokentest.NewClock(noon)
	transport := newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWS, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Base: &sent, Clock: clock,
	})
	next := func() int64 {
		_, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
		require.NoError(t, err)
		_, jws := sent.last()
		header, _ := parts(t, jws, []byte(secretKey))
		var times struct {
			IssuedAt int64 `json:"issuedAt"`
		}
		require.NoError(t, json.Unmarshal([]byte(header), &times))
		return times.IssuedAt - clock.Now().UnixMilli()
	}
	for want := range int64(1001) {
		require.Equal(t, want, next())
	}
	require.Equal(t, int64(0), next())
	require.Equal(t, int64(1), next())
	clock.Advance(time.Minute)
	require.Equal(t, int64(0), next())
	clock.Advance(-time.Hour)
	require.Equal(t, int64(0), next())
	require.Equal(t, int64(1), next())
}

// pooled is a base that fails on a connection that was kept open, and can be told to
// close such.
type pooled struct {
	err           error
	tried, closed int
}

func (p *pooled) RoundTrip(r *http.Request) (*http.Response, error) {
	p.tried++
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{Reused: true})
	return nil, p.err
}

func (p *pooled) CloseIdleConnections() { p.closed++ }

func TestTryingEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		err   error
		tries int
	}{
		{"after three connections", io.EOF, 3},
		{"after one that was waited for", os.ErrDeadlineExceeded, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			base := &pooled{err: tc.err}
			transport := newTransport(t, signer.Options{
				Scheme: apitoken.SchemeJWT, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Audience: "x", Base: base,
			})
			_, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, tc.tries, base.tried)
			(&http.Client{Transport: transport}).CloseIdleConnections()
			require.Equal(t, 1, base.closed)
		})
	}
}

// With HTTP/2 a request may fail on a connection that goes on: there is an end to
// trying, and no request without a body gets one on its way.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprint(r.Proto, " ", r.Method, " ", string(body), " ", err))
		if r.URL.Path == "/abort" {
			panic(http.ErrAbortHandler)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := &http.Client{Transport: newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWT, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Audience: "x", Base: server.Client().Transport,
	})}
	for _, r := range []*http.Request{
		newRequest(t, "GET", server.URL, ""), newRequest(t, "PUT", server.URL, "text"), newRequest(t, "GET", server.URL, "text"),
	} {
		resp, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.Equal(t, []string{"HTTP/2.0 GET  <nil>", "HTTP/2.0 PUT text <nil>", "HTTP/2.0 GET text <nil>"}, seen)
	_, err := client.Do(newRequest(t, "GET", server.URL+"/abort", ""))
	require.Error(t, err)
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, seen, 6)
}

// A connection that is new was not closed before the service saw the request.
func TestNewConnectionThatWasClosed(t *testing.T) {
	t.Parallel()
	server := newFlaky(t, 1, func() {})
	client := &http.Client{Transport: newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWT, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Audience: "x", Base: &http.Transport{},
	})}
	defer client.CloseIdleConnections()
	_, err := client.Do(newRequest(t, "GET", server.URL, ""))
	require.Error(t, err)
	require.NotContains(t, err.Error(), secretKey)
	proofs, _ := server.seen()
	require.Len(t, proofs, 1)
}

func TestContextEndsTrying(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := newFlaky(t, 2, cancel)
	client := &http.Client{Transport: newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWT, Token: tokenID, Secret: apitoken.NewSecret(secretKey), Audience: "x", Base: &http.Transport{},
	})}
	defer client.CloseIdleConnections()
	resp, err := client.Do(newRequest(t, "GET", server.URL, ""))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_, err = client.Do(newRequest(t, "GET", server.URL, "").WithContext(ctx))
	require.Error(t, err)
	proofs, _ := server.seen()
	require.Len(t, proofs, 2)
}
