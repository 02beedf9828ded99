package httpsig_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/memstore"
)

const (
	badSignature = "401 bad_signature"
	malformed    = "401 malformed_proof"
)

// Both algorithms, and each way to cover the target.
func TestAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	for name, c := range map[string]*client{"key": w.keyClient(t, ann()), "secret": w.secretClient(t, ann())} {
		alg := map[string]string{"key": "ecdsa-p256-sha256", "secret": "hmac-sha256"}[name]
		require.Empty(t, w.answer(c.good("/a?x=1", `{"n":1}`)), name)
		require.Equal(t, `{"n":1}`, w.body, "the handler reads the body again")
		const target = "/a/b%2Fc?x=1&x=2&y="
		method, host := []string{"@method", "POST"}, []string{"@authority", host}
		body := []string{"content-digest", digest("{}"), "content-type", "application/json"}
		for _, values := range [][]string{
			join(method, host, body, []string{"@path", "/a/b%2Fc", "@query", "?x=1&x=2&y="}),
			join(body, host, []string{"@request-target", target}, method),
			join(method, []string{"@target-uri", "http://" + host[1] + target}, body, []string{"@scheme", "http", "host", host[1], "content-length", "2"}),
		} {
			params := c.params() + fmt.Sprintf(`;alg=%q;tag="mine";expires=%d`, alg, w.Clock.Now().Unix()+1)
			require.Empty(t, w.answer(c.signed(post(target, "{}"), params, values...)), "%s %q", name, values)
		}
		require.Empty(t, w.answer(c.signed(get("/a"), c.params(), "@method", "GET", "@authority", host[1], "@path", "/a", "@query", "?")), name)
	}
	bearer := w.Authorize(post("/", "{}"), apitoken.IssueRequest{})
	require.Empty(t, w.answer(bearer))
	require.Equal(t, "400 two_credentials", w.answer(w.keyClient(t, ann()).put(bearer, "sig1", `("@method")`, nil)))
}

func join(parts ...[]string) (all []string) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

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

// P15: a signed request is accepted once, whoever writes its signature how.
func TestReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	again := func(r *http.Request) *http.Request {
		out := post("/", "{}")
		out.Header = r.Header.Clone()
		return out
	}
	r := c.good("/", "{}")
	require.Empty(t, w.answer(again(r)))
	require.Equal(t, "401 replayed", w.answer(again(r)))

	other := again(r)
	raw, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(r.Header.Get("Signature"), "sig1="), ":"))
	require.NoError(t, err)
	other.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(malleated(raw))+":")
	require.Equal(t, "401 replayed", w.answer(other), "the other signature that verifies")

	spare := c.good("/", "{}")
	text := spare.Header.Get("Signature")
	spare.Header.Set("Signature", text[:len(text)-4]+string(text[len(text)-4]+1)+"==:")
	require.Equal(t, malformed, w.answer(spare), "bits beyond the last byte")

	same := c.signed(post("/", "{}"), fmt.Sprintf(`;created=%d;keyid=%q;nonce="n"`, w.Clock.Now().Unix(), c.id),
		"@method", "POST", "@target-uri", "http://"+host+"/", "content-digest", digest("{}"), "content-type", "application/json")
	require.Empty(t, w.answer(same))
	next := c.signed(post("/b", "{}"), fmt.Sprintf(`;created=%d;keyid=%q;nonce="n"`, w.Clock.Now().Unix(), c.id),
		"@method", "POST", "@target-uri", "http://"+host+"/b", "content-digest", digest("{}"), "content-type", "application/json")
	require.Equal(t, "401 replayed", w.answer(next), "one nonce for two requests")

	failed := c.good("/", "{}")
	broken := again(failed)
	broken.Body, broken.ContentLength = io.NopCloser(strings.NewReader("[]")), 2
	require.Equal(t, "401 body_digest", w.answer(broken))
	require.Empty(t, w.answer(again(failed)), "what was refused burns no nonce")
}

// P15: of two copies at once, exactly one is accepted.
func TestConcurrentCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	reader := httpsig.New(httpsig.Options{Hosts: []string{host}})
	for range 50 {
		var accepted, replayed atomic.Int32
		first := c.good("/", "{}")
		start := make(chan struct{})
		var group sync.WaitGroup
		for range 2 {
			r := post("/", "{}")
			r.Header = first.Header.Clone()
			group.Go(func() {
				proof, err := reader.ReadProof(httptest.NewRecorder(), r)
				if err != nil {
					return
				}
				<-start
				switch _, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: proof}); {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, apitoken.ErrReplayed):
					replayed.Add(1)
				}
			})
		}
		close(start)
		group.Wait()
		require.Equal(t, [2]int32{1, 1}, [2]int32{accepted.Load(), replayed.Load()})
	}
}

// P4, P15: a guard that fails or is full refuses as an outage, and evicts nothing.
func TestGuardOutage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		guard apitoken.ReplayGuard
		good  int // requests let through before the outage
	}{
		{"failing", &guard{errors.New("no connection")}, 0},
		{"full", memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{Max: 20}), 2},
		{"restarted", memstore.NewReplayGuard(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), memstore.ReplayOptions{}), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{})
			c := w.keyClient(t, ann())
			w.Options.ReplayGuard = tc.guard
			w.Service = w.Node()
			w.serve(httpsig.Options{})
			var first *http.Request
			for range tc.good {
				r := c.good("/", "{}")
				first = post("/", "{}")
				first.Header = r.Header.Clone()
				require.Empty(t, w.answer(r))
			}
			require.Equal(t, "503 unavailable", w.answer(c.good("/", "{}")))
			if first != nil {
				require.Equal(t, "401 replayed", w.answer(first))
			}
		})
	}
}

// Both windows, to the nanosecond on the server's side.
func TestTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		move    time.Duration // of the server's clock after signing
		expires time.Duration // after signing; 0 = none
		want    string
	}{
		{"five minutes old", 5 * time.Minute, 0, ""},
		{"older", 5*time.Minute + 1, 0, "401 stale"},
		{"two minutes ahead", -2 * time.Minute, 0, ""},
		{"further ahead", -2*time.Minute - 1, 0, "401 stale"},
		{"just before expires", time.Minute - 1, time.Minute, ""},
		{"at expires", time.Minute, time.Minute, "401 stale"},
		{"expires beyond the window", 5*time.Minute + 1, time.Hour, "401 stale"},
		{"expires before created", 0, -time.Second, malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{})
			c := w.keyClient(t, ann())
			params := c.params()
			if tc.expires != 0 {
				params += fmt.Sprintf(";expires=%d", w.Clock.Now().Add(tc.expires).Unix())
			}
			r := c.signed(get("/"), params, "@method", "GET", "@target-uri", "http://"+host+"/")
			w.Clock.Advance(tc.move)
			require.Equal(t, tc.want, w.answer(r))
		})
	}
}

// What is refused, and that the operator is told by which name.
func TestRefusedInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	const list = `("@method" "@target-uri")`
	good := c.params()
	many := strings.Repeat(` "x"`, 33)
	for _, tc := range []struct {
		name, input string
		says        string
	}{
		{"method not covered", `("@target-uri")` + good, "@method"},
		{"target not covered", `("@method")` + good, "@target-uri"},
		{"host not covered", `("@method" "@path" "@query")` + good, "@authority"},
		{"path not covered", `("@method" "@authority" "@query")` + good, "@path"},
		{"query not covered", `("@method" "@authority" "@path")` + good, "@query"},
		{"nothing covered", `()` + good, "@method"},
		{"query-param", `("@method" "@target-uri" "@query-param";name="x")` + good, `"@query-param" has parameters`},
		{"query-param alone", `("@method" "@target-uri" "@query-param")` + good, `"@query-param" is not supported`},
		{"status", `("@method" "@target-uri" "@status")` + good, `"@status" is not supported`},
		{"signature-params", `("@method" "@target-uri" "@signature-params")` + good, `"@signature-params"`},
		{"unknown derived", `("@method" "@target-uri" "@when")` + good, `"@when" is not supported`},
		{"req", `("@method";req "@target-uri")` + good, `"@method" has parameters`},
		{"sf", `("@method" "@target-uri" "accept";sf)` + good, `"accept" has parameters`},
		{"tr", `("@method" "@target-uri" "accept";tr)` + good, `"accept" has parameters`},
		{"duplicate", `("@method" "@target-uri" "@method")` + good, `"@method" is covered twice`},
		{"capitals", `("@method" "@target-uri" "Accept")` + good, `"Accept" is no name`},
		{"no name", `("@method" "@target-uri" "")` + good, `"" is no name`},
		{"absent field", `("@method" "@target-uri" "accept")` + good, `"accept" is covered and the request has no such field`},
		{"absent length", `("@method" "@target-uri" "content-length")` + good, `"content-length"`},
		{"itself", `("@method" "@target-uri" "signature-input")` + good, `"signature-input"`},
		{"the signature", `("@method" "@target-uri" "signature")` + good, `"signature"`},
		{"a token", `(@method)` + good, "is no dictionary"},
		{"a number", `("@method" 1)` + good, "other than names"},
		{"no list", `"@method"` + good, "other than names"},
		{"33 components", `(` + many[1:] + `)` + good, "more than 32 components"},
		{"8 KiB", list + good + `;tag="` + strings.Repeat("x", 8<<10) + `"`, "at most 8192"},
		{"no created", list + fmt.Sprintf(`;keyid=%q;nonce="n"`, c.id), "created is missing"},
		{"created as a string", list + fmt.Sprintf(`;created="1";keyid=%q;nonce="n"`, c.id), `"created" is not of its type`},
		{"created as a decimal", list + fmt.Sprintf(`;created=1.0;keyid=%q;nonce="n"`, c.id), `"created" is not of its type`},
		{"created before 1970", list + fmt.Sprintf(`;created=-1;keyid=%q;nonce="n"`, c.id), `"created" is not of its type`},
		{"expires at Go's zero time", list + good + ";expires=-62135596800", `"expires" is not of its type`},
		{"created of 16 digits", list + fmt.Sprintf(`;created=1234567890123456;keyid=%q;nonce="n"`, c.id), "is no dictionary"},
		{"no keyid", list + `;created=1;nonce="n"`, "keyid is missing"},
		{"no nonce", list + fmt.Sprintf(`;created=1;keyid=%q`, c.id), "nonce is missing"},
		{"empty nonce", list + fmt.Sprintf(`;created=1;keyid=%q;nonce=""`, c.id), "nonce is missing"},
		{"long nonce", list + fmt.Sprintf(`;created=1;keyid=%q;nonce=%q`, c.id, strings.Repeat("x", 257)), "nonce has 257 bytes"},
		{"nonce as bytes", list + fmt.Sprintf(`;created=1;keyid=%q;nonce=:AAAA:`, c.id), `"nonce" is not of its type`},
		{"created twice", list + good + ";created=1", "names something twice"},
		{"unknown parameter", list + good + ";scope=1", `"scope" is not known`},
		{"label twice", list + good + ", sig1=" + list + good, "names something twice"},
		{"five labels", list + good + ", a=1, b=2, c=3, d=4", "more than 4"},
		{"comma at the end", list + good + ",", "is no dictionary"},
		{"no comma", list + good + " a=1", "is no dictionary"},
		{"unended string", `("@method`, "is no dictionary"},
		{"unended list", `("@method"`, "is no dictionary"},
		{"joined strings", `("@method""@target-uri")` + good, "is no dictionary"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.put(get("/"), "sig1", tc.input, make([]byte, 64))
			require.Equal(t, malformed, w.answer(r))
			require.ErrorContains(t, w.refused, tc.says)
		})
	}
	r := c.put(get("/"), "sig1", list+good, make([]byte, 64))
	r.Header.Set("Signature", "sig1=:AAAA:, sig1=:AAAA:")
	require.Equal(t, malformed, w.answer(r))
	r.Header.Set("Signature", `sig1="AAAA"`)
	require.Equal(t, malformed, w.answer(r))
	r.Header.Set("Signature", `sig1`)
	require.Equal(t, malformed, w.answer(r))
	r = c.put(get("/"), "sig1", `("@method" "@target-uri" "x-break")`+good, make([]byte, 64))
	r.Header["X-Break"] = []string{"a\n\"@method\": PUT"}
	require.Equal(t, malformed, w.answer(r))
	require.ErrorContains(t, w.refused, "control character")
	der := c.signed(get("/"), good, "@method", "GET", "@target-uri", "http://"+host+"/")
	der.Header.Set("Signature", "sig1=:MAYCAQECAQE=:")
	require.Equal(t, "401 der_signature", w.answer(der))
}

// RFC 9530: one known digest at least, and all that are known must match. The body
// is read for those alone whose signature is good.
func TestContentDigest(t *testing.T) {
	t.Parallel()
	const sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	const body = `{"hello": "world"}` // its digest is published in RFC 9421, B.2
	for _, tc := range []struct{ name, digest, want string }{
		{"sha-256", digest(body), ""},
		{"sha-512", sha512, ""},
		{"both", digest(body) + ", " + sha512, ""},
		{"an unknown one beside", "md5=:AAAA:, x=1, " + digest(body), ""},
		{"first wrong", digest("x") + ", " + sha512, "401 body_digest"},
		{"second wrong", digest(body) + ", " + strings.Replace(sha512, "WZ", "WY", 1), "401 body_digest"},
		{"none known", "md5=:AAAA:", malformed},
		{"empty", "", malformed},
		{"too short", "sha-256=:AAAA:", malformed},
		{"no bytes", "sha-256", malformed},
		{"a list", "sha-256=(1)", malformed},
		{"no dictionary", "=", malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{})
			c := w.secretClient(t, ann())
			r := post("/", body)
			r.Header.Set("Content-Digest", tc.digest)
			c.signed(r, c.params(), "@method", "POST", "@target-uri", "http://"+host+"/", "content-digest", tc.digest, "content-type", "application/json")
			require.Equal(t, tc.want, w.answer(r))
		})
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{MaxBody: 10})
	c := w.keyClient(t, ann())
	target := []string{"@method", "POST", "@target-uri", "http://" + host + "/"}
	require.Equal(t, malformed, w.answer(c.signed(post("/", "{}"), c.params(), join(target, []string{"content-type", "application/json"})...)))
	require.ErrorContains(t, w.refused, "content-digest")
	require.Equal(t, malformed, w.answer(c.signed(post("/", "{}"), c.params(), join(target, []string{"content-digest", digest("{}")})...)))
	require.ErrorContains(t, w.refused, "content-type")

	require.Empty(t, w.answer(c.good("/", "0123456789")))
	require.Equal(t, "413 body_too_large", w.answer(c.good("/", "0123456789A")))
	chunked := c.good("/", "0123456789A")
	chunked.ContentLength = -1
	require.Equal(t, "413 body_too_large", w.answer(chunked))
	chunked = c.good("/", "0123456789")
	chunked.ContentLength = -1
	require.Empty(t, w.answer(chunked))

	// A length that nobody tells beforehand.
	short := func(body string, values ...string) *http.Request {
		r := post("/", body)
		r.ContentLength = -1
		return c.signed(r, c.params(), join(target, values)...)
	}
	require.Empty(t, w.answer(short("")))
	require.Equal(t, "401 body_digest", w.answer(short("x")))
	require.Equal(t, malformed, w.answer(short("x", "content-digest", digest("x"))))
	require.ErrorContains(t, w.refused, "content-type")

	unread := c.good("/", "{}")
	unread.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(make([]byte, 64))+":")
	unread.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { panic("the body is read although the signature is bad") }))
	require.Equal(t, badSignature, w.answer(unread))
	broken := c.good("/", "{}")
	broken.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, errors.New("broken off") }))
	require.Equal(t, "400 unreadable_body", w.answer(broken))

	hidden := httptest.NewRequest("POST", "/", nil)
	hidden.Host = host
	hidden.Body = io.NopCloser(bytes.NewReader([]byte("not signed"))) // its length says that there is none
	require.Equal(t, "401 body_digest", w.answer(c.signed(hidden, c.params(), target...)))
	none := httptest.NewRequest("POST", "/", nil)
	none.Host = host
	none.Body = http.MaxBytesReader(nil, http.NoBody, 10) // as http.MaxBytesHandler leaves it
	require.Empty(t, w.answer(c.signed(none, c.params(), target...)))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

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
