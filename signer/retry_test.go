package signer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
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
