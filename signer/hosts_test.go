package signer_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

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
