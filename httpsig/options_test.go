package httpsig_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/httpsig"
)

// Which host and scheme a signature is for.
func TestHosts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		opts   httpsig.Options
		host   string // of the request
		tls    bool
		signed string // @target-uri without the path
		want   string
	}{
		{"as it is", httpsig.Options{Hosts: []string{host}}, host, false, "http://" + host, ""},
		{"over TLS", httpsig.Options{Hosts: []string{host}}, host, true, "https://" + host, ""},
		{"default port", httpsig.Options{Hosts: []string{host + ":443"}}, host, true, "https://" + host, ""},
		{"port", httpsig.Options{Hosts: []string{host + ":8443"}}, host + ":8443", true, "https://" + host + ":8443", ""},
		{"port missing", httpsig.Options{Hosts: []string{host + ":8443"}}, host, true, "https://" + host, malformed},
		{"address", httpsig.Options{Hosts: []string{"[::1]:8080"}}, "[::1]:8080", false, "http://[::1]:8080", ""},
		{"capitals", httpsig.Options{Hosts: []string{"API.Example.com"}}, "api.EXAMPLE.com", false, "http://" + host, ""},
		{"dot at the end", httpsig.Options{Hosts: []string{host}}, host + ".", false, "http://" + host, malformed},
		{"behind TLS", httpsig.Options{Hosts: []string{"https://" + host}}, host, false, "https://" + host, ""},
		{"behind TLS, signed without", httpsig.Options{Hosts: []string{"https://" + host}}, host, false, "http://" + host, badSignature},
		{"external", httpsig.Options{ExternalURL: "https://" + host, Hosts: []string{"backend:8080"}}, "backend:8080", false, "https://" + host, ""},
		{"external, Host passed on", httpsig.Options{ExternalURL: "https://" + host + ":443/"}, host, false, "https://" + host, ""},
		{"external, unknown Host", httpsig.Options{ExternalURL: "https://" + host, Hosts: []string{"backend"}}, "other", false, "https://" + host, malformed},
		{"external, signed for the backend", httpsig.Options{ExternalURL: "https://" + host, Hosts: []string{"backend"}}, "backend", false, "http://backend", badSignature},
		{"no host", httpsig.Options{Hosts: []string{host}}, "", false, "http://" + host, malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.opts)
			c := w.secretClient(t, ann())
			r := get("/")
			if r.Host = tc.host; tc.tls {
				r.TLS = &tls.ConnectionState{}
			}
			require.Equal(t, tc.want, w.answer(c.signed(r, c.params(), "@method", "GET", "@target-uri", tc.signed+"/")))
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	t.Run("covered", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, httpsig.Options{Covered: []string{"x-request-id"}})
		c := w.keyClient(t, ann())
		target := []string{"@method", "GET", "@target-uri", "http://" + host + "/"}
		numbered := func() *http.Request {
			r := get("/")
			r.Header["X-Request-Id"] = []string{"  one ", "two"}
			return r
		}
		require.Equal(t, malformed, w.answer(c.signed(numbered(), c.params(), target...)))
		require.ErrorContains(t, w.refused, "x-request-id")
		require.Empty(t, w.answer(c.signed(numbered(), c.params(), join(target, []string{"x-request-id", "one, two"})...)))
	})
	t.Run("repeatable", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, httpsig.Options{InsecureRepeatable: true})
		c := w.keyClient(t, ann())
		r := c.signed(get("/"), fmt.Sprintf(`;created=%d;keyid=%q`, w.Clock.Now().Unix(), c.id),
			"@method", "GET", "@target-uri", "http://"+host+"/")
		require.Empty(t, w.answer(r))
		require.Empty(t, w.answer(r))
	})
	t.Run("challenge", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, httpsig.Options{Tag: `a"b`, Label: "api", Covered: []string{"content-type", "date"}})
		rw := httptest.NewRecorder()
		w.handler.ServeHTTP(rw, get("/"))
		require.Equal(t, http.StatusUnauthorized, rw.Code)
		require.Equal(t, []string{`api=("@method" "@target-uri" "content-digest" "content-type" "date");created;tag="a\"b"`}, rw.Header()["Accept-Signature"])
	})
	for _, tc := range []struct {
		name string
		opts httpsig.Options
		want []string
	}{
		{"none", httpsig.Options{}, []string{"Options.Hosts "}},
		{"all", httpsig.Options{
			Hosts: []string{"", "a/b", "ftp://a", "a?b", "*.a", "u@a", "a:", ":80", host}, ExternalURL: host, Tag: "é", Label: "Sig",
			Covered: []string{"Date", "@status", "signature", "date", "date", ""}, MaxBody: -1,
		}, []string{
			"Hosts[0]", "Hosts[1]", "Hosts[2]", "Hosts[3]", "Hosts[4]", "Hosts[5]", "Hosts[6]", "Hosts[7]", "ExternalURL", "Tag", "Label",
			"Covered[0]", "Covered[1]", "Covered[2]", "Covered[4]", "Covered[5]", "MaxBody",
		}},
	} {
		err := tc.opts.Check()
		require.Error(t, err, tc.name)
		lines := strings.Split(err.Error(), "\n")
		require.Len(t, lines, len(tc.want), err)
		for i, want := range tc.want {
			require.Contains(t, lines[i], want)
		}
		require.PanicsWithError(t, err.Error(), func() { httpsig.New(tc.opts) })
	}
}

// P17: a client cannot tell one refusal from another.
func TestRefusalsLookAlike(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	answer := func(r *http.Request) string {
		rw := httptest.NewRecorder()
		w.handler.ServeHTTP(rw, r)
		return fmt.Sprint(rw.Code, rw.Header(), rw.Body)
	}
	bad := c.good("/", "{}")
	bad.Method = "PUT"
	want := answer(bad)
	require.Contains(t, want, "401")
	stale := c.good("/", "{}")
	w.Clock.Advance(time.Hour)
	require.Equal(t, want, answer(stale))
	unknown := *c
	unknown.id = "0123456789012345678901"
	require.Equal(t, want, answer(unknown.good("/", "{}")))
	require.Equal(t, want, answer(c.put(post("/", "{}"), "sig1", `("@status")`, nil)))
	digest := c.good("/", "{}")
	digest.Body = io.NopCloser(strings.NewReader("[]"))
	require.Equal(t, want, answer(digest))
}
