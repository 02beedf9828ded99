package outgoing_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/internal/outgoing"
)

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}

func TestHostOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://API.example":      "api.example",
		"https://api.example:443/": "api.example",
		"http://api.example:80":    "api.example",
		"https://api.example:80":   "api.example:80",
		"http://api.example:443":   "api.example:443",
		"https://[::1]:8443/":      "[::1]:8443",
	} {
		require.Equal(t, want, outgoing.HostOf(parse(t, text)), text)
	}
}

func TestSecure(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"https://api.example":          true,
		"http://api.example":           false,
		"http://localhost:8080":        true,
		"http://LOCALHOST":             true,
		"http://127.0.0.1:1":           true,
		"http://[::1]":                 true,
		"http://localhost.example":     false,
		"http://127.0.0.1.example":     false,
		"ftp://localhost":              false,
		"http://api.example#localhost": false,
	} {
		require.Equal(t, want, outgoing.Secure(parse(t, text)), text)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	a, b := parse(t, "https://a.example/x"), parse(t, "https://b.example/x")
	var any outgoing.Hosts
	require.False(t, any.Admits(a), "nothing was sent yet")
	require.False(t, any.Admits(nil))
	any.Begin(a)
	any.Begin(b)
	require.True(t, any.Admits(a))
	require.False(t, any.Admits(b), "the first is the one")
	named := outgoing.Hosts{Named: []string{"b.example"}}
	named.Begin(a)
	require.False(t, named.Admits(a))
	require.True(t, named.Admits(b))

	from := func(u *url.URL, by *http.Request) *http.Request {
		r := &http.Request{URL: u}
		if by != nil {
			r.Response = &http.Response{Request: by}
		}
		return r
	}
	require.False(t, any.LedAstray(from(a, nil)))
	require.False(t, any.LedAstray(from(a, from(a, nil))))
	require.True(t, any.LedAstray(from(b, from(a, nil))))
	require.True(t, any.LedAstray(from(a, from(b, from(a, nil)))), "back from another host")
	require.True(t, any.LedAstray(from(nil, from(a, nil))))
}

// A request that cannot be signed is not sent, and one that failed on a connection of
// its own is not sent twice.
func TestSend(t *testing.T) {
	t.Parallel()
	refused, sent := errors.New("no key"), 0
	base := tripper(func(*http.Request) (*http.Response, error) { sent++; return nil, errors.New("reset") })
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example", nil)
	_, err := outgoing.Send(base, r, func() (*http.Request, error) { return nil, refused })
	require.ErrorIs(t, err, refused)
	require.Zero(t, sent)
	_, err = outgoing.Send(base, r, func() (*http.Request, error) { return r.Clone(t.Context()), nil })
	require.ErrorContains(t, err, "reset")
	require.Equal(t, 1, sent)
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
