package httpsig_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/httpsig"
)

// Whatever is changed of a signed request, it is refused.
func TestSubstitution(t *testing.T) {
	t.Parallel()
	const target, body = "/a?x=1&y=2&y=3", `{"n":1}`
	retarget := func(target string) func(*http.Request) {
		return func(r *http.Request) { r.RequestURI = target }
	}
	rebody := func(body string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
	}
	edit := func(field, from, to string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(field, strings.Replace(r.Header.Get(field), from, to, 1)) }
	}
	for _, tc := range []struct {
		name   string
		change func(r *http.Request)
		want   string
	}{
		{"nothing", func(*http.Request) {}, ""},
		{"only what middleware does to the URL", func(r *http.Request) { r.URL.Path, r.URL.RawQuery = "/stripped", "" }, ""},
		{"host in capitals and with the default port", func(r *http.Request) { r.Host = "API.example.com:80" }, ""},
		{"method", func(r *http.Request) { r.Method = "PUT" }, badSignature},
		{"method in lower case", func(r *http.Request) { r.Method = "post" }, badSignature},
		{"path", retarget("/b?x=1&y=2&y=3"), badSignature},
		{"path with a slash", retarget("/a/?x=1&y=2&y=3"), badSignature},
		{"path with two slashes", retarget("//a?x=1&y=2&y=3"), badSignature},
		{"path with an escaped slash", retarget("/a%2F?x=1&y=2&y=3"), badSignature},
		{"path escaped", retarget("/%61?x=1&y=2&y=3"), badSignature},
		{"path with dots", retarget("/b/../a?x=1&y=2&y=3"), badSignature},
		{"query order", retarget("/a?y=2&x=1&y=3"), badSignature},
		{"query duplicate", retarget("/a?x=1&y=2&y=3&y=3"), badSignature},
		{"query duplicates turned round", retarget("/a?x=1&y=3&y=2"), badSignature},
		{"query escaped", retarget("/a?x=%31&y=2&y=3"), badSignature},
		{"query left out", retarget("/a"), badSignature},
		{"another host of ours", func(r *http.Request) { r.Host = "www.example.com" }, badSignature},
		{"a host that is not ours", func(r *http.Request) { r.Host = "example.com" }, malformed},
		{"our host on another port", func(r *http.Request) { r.Host = host + ":443" }, malformed},
		{"scheme", func(r *http.Request) { r.TLS = &tls.ConnectionState{} }, badSignature},
		{"absolute target", retarget("http://" + host + target), malformed},
		{"no target", retarget(""), malformed},
		{"body", rebody(`{"n":2}`), "401 body_digest"},
		{"longer body", rebody(body + " "), "401 body_digest"},
		{"no body", rebody(""), "401 body_digest"},
		{"body and digest", func(r *http.Request) {
			rebody(`{"n":2}`)(r)
			r.Header.Set("Content-Digest", digest(`{"n":2}`))
		}, badSignature},
		{"another digest beside", func(r *http.Request) { r.Header.Add("Content-Digest", "md5=:AA==:") }, badSignature},
		{"content type", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, badSignature},
		{"covered field removed", func(r *http.Request) { r.Header.Del("Content-Type") }, malformed},
		{"covered field twice", func(r *http.Request) { r.Header.Add("Content-Type", "text/plain") }, badSignature},
		{"empty line of a covered field", func(r *http.Request) { r.Header.Add("Content-Type", "") }, badSignature},
		{"component struck from the list", edit("Signature-Input", ` "content-type"`, ""), malformed},
		{"component added to the list", edit("Signature-Input", ")", ` "@scheme")`), badSignature},
		{"components turned round", edit("Signature-Input", `"content-digest" "content-type"`, `"content-type" "content-digest"`), badSignature},
		{"created", edit("Signature-Input", "created=", "expires=1803902460;created="), badSignature},
		{"nonce", edit("Signature-Input", `nonce="`, `nonce="A`), badSignature},
		{"alg added", edit("Signature-Input", ";created", `;alg="ecdsa-p256-sha256";created`), badSignature},
		{"tag added", edit("Signature-Input", ";created", `;tag="t";created`), badSignature},
		{"label of one field", edit("Signature-Input", "sig1", "sig2"), malformed},
		{"signature removed", func(r *http.Request) { r.Header.Del("Signature") }, malformed},
		{"input removed", func(r *http.Request) { r.Header.Del("Signature-Input") }, "401 no_credential"},
		{"signature empty", func(r *http.Request) { r.Header.Set("Signature", "sig1=::") }, malformed},
		{"signature cut", edit("Signature", "==:", ":"), malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{Hosts: []string{host, "www.example.com"}})
			r := w.keyClient(t, ann()).good(target, body)
			tc.change(r)
			require.Equal(t, tc.want, w.answer(r))
		})
	}
}

// The white space that structured fields leave free changes nothing: what is signed
// is written in one way.
func TestWhiteSpace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	r := c.good("/", "{}")
	r.Header.Set("Signature-Input", "  "+strings.NewReplacer("(", "(  ", `" "`, `"   "`, ";", ";  ").Replace(r.Header.Get("Signature-Input"))+" ")
	require.Empty(t, w.answer(r))
}

// Two signatures side by side are told apart by tag and label; nothing of one goes
// into the other.
func TestLabels(t *testing.T) {
	t.Parallel()
	const other = `("@method");created=1;keyid="proxy";tag="proxy";nonce="n"`
	for _, tc := range []struct {
		name string
		opts httpsig.Options
		tag  string
		want string
	}{
		{"neither asked for", httpsig.Options{}, "mine", malformed},
		{"tag", httpsig.Options{Tag: "mine"}, "mine", ""},
		{"label", httpsig.Options{Label: "sig1"}, "mine", ""},
		{"both", httpsig.Options{Label: "sig1", Tag: "mine"}, "mine", ""},
		{"label of the other", httpsig.Options{Label: "proxy"}, "mine", "401 unknown_token"},
		{"nobody's tag", httpsig.Options{Tag: "third"}, "mine", "401 no_credential"},
		{"nobody's label", httpsig.Options{Label: "third"}, "mine", "401 no_credential"},
		{"tag and another's label", httpsig.Options{Label: "proxy", Tag: "mine"}, "mine", "401 no_credential"},
		{"both with the tag", httpsig.Options{Tag: "proxy"}, "proxy", malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.opts)
			w.Clock.Set(time.Unix(1, 0))
			c := w.keyClient(t, ann())
			r := c.signed(get("/"), c.params()+fmt.Sprintf(`;tag=%q`, tc.tag),
				"@method", "GET", "@target-uri", "http://"+host+"/")
			c.put(r, "proxy", strings.Replace(other, `("@method")`, `("@method" "@target-uri")`, 1), make([]byte, 64))
			require.Equal(t, tc.want, w.answer(r))
		})
	}

	t.Run("swap", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, httpsig.Options{Label: "a"})
		c := w.keyClient(t, ann())
		first, second := c.good("/first", "{}"), c.good("/second", "{}")
		mix := post("/second", "{}")
		for _, one := range []struct {
			label string
			from  *http.Request
			sig   *http.Request
		}{{"a", second, first}, {"b", first, second}} {
			mix.Header.Add("Signature-Input", strings.Replace(one.from.Header.Get("Signature-Input"), "sig1", one.label, 1))
			mix.Header.Add("Signature", strings.Replace(one.sig.Header.Get("Signature"), "sig1", one.label, 1))
		}
		require.Equal(t, badSignature, w.answer(mix))
		for i, lines := 0, mix.Header["Signature"]; i < len(lines); i++ {
			lines[i] = map[bool]string{true: "a", false: "b"}[lines[i][0] == 'b'] + lines[i][1:]
		}
		require.Empty(t, w.answer(mix), "each signature under its own label")
	})
}

// A key is good for its own token, and an algorithm is the token's own.
func TestKeysAndAlgorithms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	a, b, secret := w.keyClient(t, ann()), w.keyClient(t, bob()), w.secretClient(t, bob())
	stranger := *a
	stranger.id = "0123456789012345678901"
	for _, tc := range []struct {
		name   string
		client client
		alg    string
		want   string
	}{
		{"tenant a", *a, "", ""},
		{"tenant b", *b, "ecdsa-p256-sha256", ""},
		{"secret", *secret, "hmac-sha256", ""},
		{"key of another tenant", client{id: b.id, key: a.key, clock: w.Clock}, "", badSignature},
		{"key of another token of the tenant", client{id: secret.id, key: b.key, clock: w.Clock}, "", badSignature},
		{"HMAC with the public key as its secret", client{id: a.id, hmac: []byte(publicPEM(t, a.key)), clock: w.Clock}, "", badSignature},
		{"the same, told", client{id: a.id, hmac: []byte(publicPEM(t, a.key)), clock: w.Clock}, "hmac-sha256", "401 algorithm"},
		{"ECDSA for a secret", client{id: secret.id, key: a.key, clock: w.Clock}, "ecdsa-p256-sha256", "401 algorithm"},
		{"algorithm of a secret for a key", *a, "hmac-sha256", "401 algorithm"},
		{"RSA", *a, "rsa-pss-sha512", "401 algorithm"},
		{"P-384", *a, "ecdsa-p384-sha384", "401 algorithm"},
		{"name of JWS", *a, "ES256", "401 algorithm"},
		{"none", *a, "none", "401 algorithm"},
		{"unknown token", stranger, "", "401 unknown_token"},
		{"no token ID", client{id: "../x", key: a.key, clock: w.Clock}, "", "401 unknown_token"},
	} {
		params := tc.client.params()
		if tc.alg != "" {
			params += fmt.Sprintf(";alg=%q", tc.alg)
		}
		r := tc.client.signed(post("/", "{}"), params, "@method", "POST", "@target-uri", "http://"+host+"/",
			"content-digest", digest("{}"), "content-type", "application/json")
		require.Equal(t, tc.want, w.answer(r), tc.name)
	}
}
