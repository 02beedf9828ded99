package httpsig_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/signer"
)

// service is a server on this machine that echoes what a verified request had.
type service struct {
	*world
	*httptest.Server
}

func newService(t *testing.T, start func(*httptest.Server)) *service {
	t.Helper()
	s := &service{world: newWorld(t, httpsig.Options{})}
	s.Server = httptest.NewUnstartedServer(nil)
	auth := httpauth.New(s.Service, httpauth.Options{Proofs: []httpauth.ProofReader{
		httpsig.New(httpsig.Options{Hosts: []string{s.Listener.Addr().String()}}),
	}})
	s.Config.Handler = auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", r.Method+" "+r.RequestURI+" "+r.Header.Get("Content-Type")+" "+r.Proto)
		_, _ = w.Write(body)
	}))
	start(s.Server)
	t.Cleanup(s.Close)
	return s
}

// secretTransport signs with a token issued for it.
func (s *service) secretTransport(t *testing.T, change func(*httpsig.TransportOptions)) *httpsig.Transport {
	t.Helper()
	issued := s.Issue(apitoken.IssueRequest{Symmetric: true})
	opts := httpsig.TransportOptions{Token: issued.Token.ID, Secret: issued.Secret, Base: s.Server.Client().Transport, Clock: s.world.Clock}
	if change != nil {
		change(&opts)
	}
	transport, err := httpsig.NewTransport(opts)
	require.NoError(t, err)
	return transport
}

func send(t *testing.T, transport http.RoundTripper, method, target string, body io.Reader, fields ...string) (status int, seen, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, body)
	require.NoError(t, err)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	before := r.Header.Clone()
	resp, err := (&http.Client{Transport: transport}).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, before, r.Header, "the caller's request is left alone")
	return resp.StatusCode, resp.Header.Get("X-Seen"), string(content)
}

// What the transport sends is accepted, with each key and over each protocol.
func TestTransport(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		start func(*httptest.Server)
		proto string
	}{
		{"http", (*httptest.Server).Start, "HTTP/1.1"},
		{"https", (*httptest.Server).StartTLS, "HTTP/1.1"},
		{"http2", func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }, "HTTP/2.0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, tc.start)
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			require.NoError(t, err)
			issued := s.Issue(apitoken.IssueRequest{PublicKey: publicPEM(t, key)})
			withKey := s.secretTransport(t, func(o *httpsig.TransportOptions) {
				o.Token, o.Key, o.Secret, o.Tag, o.Label = issued.Token.ID, key, apitoken.Secret{}, `a "tag"`, "api"
			})
			for _, transport := range []http.RoundTripper{withKey, s.secretTransport(t, nil)} {
				for _, method := range []string{"GET", "DELETE", "HEAD", "OPTIONS", "POST"} {
					status, seen, _ := send(t, transport, method, s.URL+"/a%2Fb//c?x=1&x=2&y", nil)
					require.Equal(t, 200, status, method)
					require.Equal(t, method+" /a%2Fb//c?x=1&x=2&y  "+tc.proto, seen)
				}
				status, _, _ := send(t, transport, "POST", s.URL, nil, "Idempotency-Key", "1")
				require.Equal(t, 200, status, "no body, in a form that http.Transport does not know")
				status, seen, text := send(t, transport, "PUT", s.URL+"/p", strings.NewReader("one"), "Content-Type", "text/plain")
				require.Equal(t, []any{200, "PUT /p text/plain " + tc.proto, "one"}, []any{status, seen, text})
				status, seen, text = send(t, transport, "POST", s.URL+"/p", io.NopCloser(strings.NewReader("two")))
				require.Equal(t, []any{200, "POST /p application/octet-stream " + tc.proto, "two"}, []any{status, seen, text})
				status, _, text = send(t, transport, "POST", s.URL+"/p", io.NopCloser(strings.NewReader("")))
				require.Equal(t, []any{200, ""}, []any{status, text})
			}
		})
	}
}

// record is a base that keeps what it is given.
type record struct {
	mu    sync.Mutex
	seen  []*http.Request
	reply func(r *http.Request) (*http.Response, error)
}

func (b *record) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, r)
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	if b.reply != nil {
		return b.reply(r)
	}
	return &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// A limit of more than all is no limit.
func TestTransportWithoutLimit(t *testing.T) {
	t.Parallel()
	s := newService(t, (*httptest.Server).Start)
	transport := s.secretTransport(t, func(o *httpsig.TransportOptions) { o.MaxBody = math.MaxInt64 })
	status, _, text := send(t, transport, "POST", s.URL, io.NopCloser(strings.NewReader("whole")))
	require.Equal(t, []any{200, "whole"}, []any{status, text})
}

// http.Client never gives a request without a header, other callers may.
func TestRequestWithoutHeader(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "text"} {
		base := &record{}
		transport, err := httpsig.NewTransport(httpsig.TransportOptions{
			Token: "t", Secret: apitoken.NewSecret(strings.Repeat("s", 32)), Base: base,
		})
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://a.example/", strings.NewReader(body))
		require.NoError(t, err)
		r.Header = nil
		_, err = transport.RoundTrip(r)
		require.NoError(t, err)
		require.Nil(t, r.Header, "the caller's request is left alone")
		require.Len(t, base.seen, 1)
		require.NotEmpty(t, base.seen[0].Header.Get("Signature"))
	}
}

// Each attempt has another signature, with the time of the clock.
func TestEachAttemptIsSignedAnew(t *testing.T) {
	t.Parallel()
	s := newService(t, (*httptest.Server).Start)
	base := &record{}
	transport := s.secretTransport(t, func(o *httpsig.TransportOptions) {
		o.Base, o.Covered = base, []string{"x-request-id", "@authority"}
	})
	for range 2 {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://EXAMPLE.com:443/a", strings.NewReader("x"))
		require.NoError(t, err)
		r.Header.Set("X-Request-Id", "1")
		resp, err := transport.RoundTrip(r)
		require.NoError(t, err)
		require.Same(t, r, resp.Request, "nobody who logs it logs a signature")
	}
	first, second := base.seen[0].Header, base.seen[1].Header
	require.Regexp(t, `^sig1=\("@method" "@target-uri" "content-digest" "content-type" "x-request-id" "@authority"\);created=1803902400;keyid="[^"]+";nonce="[A-Z2-7]{26}";alg="hmac-sha256"$`,
		first.Get("Signature-Input"))
	require.Equal(t, digest("x"), first.Get("Content-Digest"))
	require.NotEqual(t, first.Get("Signature-Input"), second.Get("Signature-Input"))
	require.NotEqual(t, first.Get("Signature"), second.Get("Signature"))
}

// A connection that the service has closed meanwhile: the request is repeated with
// another signature, not by http.Transport with the same.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	s := newService(t, (*httptest.Server).Start)
	fails := 2
	base := &record{}
	base.reply = func(r *http.Request) (*http.Response, error) {
		if fails > 0 {
			fails--
			return nil, errors.New("broken pipe")
		}
		return s.Server.Client().Transport.RoundTrip(r)
	}
	transport := s.secretTransport(t, func(o *httpsig.TransportOptions) { o.Base = base })
	get := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		require.NoError(t, err)
		return transport.RoundTrip(r)
	}
	_, err := get()
	require.EqualError(t, err, "broken pipe", "on a new connection there is no second attempt")
	require.Len(t, base.seen, 1)
	require.NotNil(t, base.seen[0].Body, "http.Transport repeats no body that it cannot get again")
	r, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+s.Listener.Addr().String(), strings.NewReader("x"))
	require.NoError(t, err)
	r.Header.Set("Idempotency-Key", "1")
	_, err = transport.RoundTrip(r)
	require.EqualError(t, err, "broken pipe")
	require.Nil(t, base.seen[1].GetBody, "nor this one")

	// The real one: the server closes each connection right after its answer.
	stale := newService(t, (*httptest.Server).Start)
	over := &closing{base: stale.Server.Client().Transport}
	transport = stale.secretTransport(t, func(o *httpsig.TransportOptions) { o.Base = over })
	for range 3 {
		status, _, _ := send(t, transport, "GET", stale.URL, nil)
		require.Equal(t, 200, status)
		stale.CloseClientConnections()
	}
	inputs := map[string]bool{}
	for _, input := range over.inputs {
		require.False(t, inputs[input], "a signature is sent twice")
		inputs[input] = true
	}
}

// closing notes the signatures that are sent.
type closing struct {
	base   http.RoundTripper
	inputs []string
}

func (c *closing) RoundTrip(r *http.Request) (*http.Response, error) {
	c.inputs = append(c.inputs, r.Header.Get("Signature-Input"))
	return c.base.RoundTrip(r)
}

// With HTTP/2 a request may fail on a connection that goes on: there is an end to
// trying.
func TestTryingEnds(t *testing.T) {
	t.Parallel()
	var aborted atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort" && aborted.Add(1) <= 100 {
			panic(http.ErrAbortHandler)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	over := &closing{base: server.Client().Transport}
	transport, err := httpsig.NewTransport(httpsig.TransportOptions{
		Token: "t", Secret: apitoken.NewSecret(strings.Repeat("s", 32)), Base: over,
	})
	require.NoError(t, err)
	status, _, _ := send(t, transport, "GET", server.URL, nil)
	require.Equal(t, 200, status)
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/abort", nil)
	require.NoError(t, err)
	_, err = transport.RoundTrip(r)
	require.ErrorContains(t, err, "stream error")
	require.Len(t, over.inputs, 4, "one, and three that were aborted")
}

// A redirect within the host is signed, one to another host is followed without a
// signature, also if it leads back.
func TestRedirects(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		hosts  []string
		path   []string // where each answer redirects to
		signed []bool
	}{
		{"same host", nil, []string{"https://a.example/2", "https://A.example:443/3"}, []bool{true, true, true}},
		{"another host", nil, []string{"https://b.example/"}, []bool{true, false}},
		{"another port", nil, []string{"https://a.example:8443/"}, []bool{true, false}},
		{"there and back", nil, []string{"https://b.example/", "https://a.example/"}, []bool{true, false, false}},
		{"hosts named", []string{"a.example", "B.example:443"}, []string{"https://b.example/", "https://c.example/"}, []bool{true, true, false}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, (*httptest.Server).Start)
			base := &record{}
			base.reply = func(r *http.Request) (*http.Response, error) {
				resp := &http.Response{StatusCode: 200, Body: http.NoBody, Header: http.Header{}, Request: r}
				if n := len(base.seen); n <= len(tc.path) {
					resp.StatusCode = http.StatusTemporaryRedirect
					resp.Header.Set("Location", tc.path[n-1])
				}
				return resp, nil
			}
			transport := s.secretTransport(t, func(o *httpsig.TransportOptions) { o.Base, o.Hosts = base, tc.hosts })
			status, _, _ := send(t, transport, "POST", "https://a.example/", strings.NewReader("x"))
			require.Equal(t, 200, status)
			var signed []bool
			for _, r := range base.seen {
				require.Equal(t, r.Header["Signature"] == nil, r.Header["Signature-Input"] == nil)
				signed = append(signed, r.Header["Signature"] != nil)
			}
			require.Equal(t, tc.signed, signed)
		})
	}
}

// closed is a body that knows whether it was closed.
type closed struct {
	io.Reader
	done bool
}

func (c *closed) Close() error { c.done = true; return nil }

// What is not sent at all; the body is closed all the same.
func TestTransportRefuses(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, tc := range []struct {
		name   string
		change func(r *http.Request, o *httpsig.TransportOptions)
		want   error
	}{
		{"plain http", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL.Scheme = "http" }, signer.ErrInsecure},
		{"another scheme", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL.Scheme = "ftp" }, signer.ErrInsecure},
		{"a name that only looks like this machine", func(r *http.Request, _ *httpsig.TransportOptions) {
			r.URL.Scheme, r.URL.Host = "http", "127.0.0.1.example"
		}, signer.ErrInsecure},
		{"no host", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL.Host = "" }, signer.ErrTarget},
		{"no URL", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL = nil }, signer.ErrTarget},
		{"opaque", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL.Opaque = "//x/y" }, signer.ErrTarget},
		{"space in the query", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL.RawQuery = "a b" }, signer.ErrTarget},
		{"host not named", func(_ *http.Request, o *httpsig.TransportOptions) { o.Hosts = []string{"b.example"} }, signer.ErrHost},
		{"bearer token beside", func(r *http.Request, _ *httpsig.TransportOptions) { r.Header.Set("Authorization", "Bearer x") }, signer.ErrTwoCredentials},
		{"signed already", func(r *http.Request, _ *httpsig.TransportOptions) { r.Header.Set("Signature-Input", "a=()") }, signer.ErrTwoCredentials},
		{"user in the URL", func(r *http.Request, _ *httpsig.TransportOptions) { r.URL.User = url.User("x") }, signer.ErrTwoCredentials},
		{"body too long", func(_ *http.Request, o *httpsig.TransportOptions) { o.MaxBody = 2 }, signer.ErrBodyTooLarge},
		{"body said to be too long", func(r *http.Request, o *httpsig.TransportOptions) { o.MaxBody, r.ContentLength = 5, 6 }, signer.ErrBodyTooLarge},
		{"body breaks off", func(r *http.Request, _ *httpsig.TransportOptions) {
			r.Body.(*closed).Reader = readerFunc(func([]byte) (int, error) { return 0, broken })
		}, broken},
		{"no second body", func(r *http.Request, _ *httpsig.TransportOptions) {
			r.GetBody = func() (io.ReadCloser, error) { return nil, broken }
		}, broken},
		{"field that is not there", func(_ *http.Request, o *httpsig.TransportOptions) { o.Covered = []string{"x-missing"} }, apitoken.ErrInvalid},
		{"key fails", func(_ *http.Request, o *httpsig.TransportOptions) {
			o.Key, o.Secret = newFakeKey(nil, broken), apitoken.Secret{}
		}, broken},
		{"key answers with r and s", func(_ *http.Request, o *httpsig.TransportOptions) {
			o.Key, o.Secret = newFakeKey(make([]byte, 64), nil), apitoken.Secret{}
		}, apitoken.ErrUnavailable},
		{"key answers with numbers out of range", func(_ *http.Request, o *httpsig.TransportOptions) {
			o.Key, o.Secret = newFakeKey([]byte{0x30, 6, 2, 1, 0xff, 2, 1, 1}, nil), apitoken.Secret{}
		}, apitoken.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			base, body := &record{}, &closed{Reader: strings.NewReader("abc")}
			r, err := http.NewRequestWithContext(t.Context(), "POST", "https://a.example/", body)
			require.NoError(t, err)
			opts := httpsig.TransportOptions{Token: "t", Secret: apitoken.NewSecret(strings.Repeat("s", 32)), Base: base}
			tc.change(r, &opts)
			transport, err := httpsig.NewTransport(opts)
			require.NoError(t, err)
			_, err = transport.RoundTrip(r)
			require.ErrorIs(t, err, tc.want)
			require.Empty(t, base.seen)
			require.True(t, body.done, "the body is closed")
		})
	}
}

// fakeKey is a key behind something that fails.
type fakeKey struct {
	public crypto.PublicKey
	answer []byte
	err    error
}

func newFakeKey(answer []byte, err error) *fakeKey {
	key, fault := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if fault != nil {
		panic(fault)
	}
	return &fakeKey{key.Public(), answer, err}
}

func (k *fakeKey) Public() crypto.PublicKey { return k.public }
func (k *fakeKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return k.answer, k.err
}

func TestTransportOptions(t *testing.T) {
	t.Parallel()
	_, err := httpsig.NewTransport(httpsig.TransportOptions{
		Tag: "é", Label: "Sig", Covered: []string{"@status", "date", "date"}, Hosts: []string{"a/b"}, MaxBody: -1,
	})
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	var fields []string
	for _, f := range apitoken.Fields(err) {
		fields = append(fields, f.Field)
	}
	require.Equal(t, []string{"Token", "Key", "Hosts[0]", "MaxBody", "Tag", "Label", "Covered[0]", "Covered[2]"}, fields)
}

// The transport stops when the context of the request does.
func TestTransportContext(t *testing.T) {
	t.Parallel()
	s := newService(t, (*httptest.Server).Start)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", s.URL, bytes.NewReader([]byte("x")))
	require.NoError(t, err)
	_, err = s.secretTransport(t, nil).RoundTrip(r)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorAs(t, err, new(*net.OpError))
}
