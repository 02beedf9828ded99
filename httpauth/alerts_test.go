package httpauth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

const (
	keyIDHeader     = "Github-Public-Key-Identifier"
	signatureHeader = "Github-Public-Key-Signature"
	partnerKeyID    = "key-1"
)

var (
	partnerKey = mustKey(elliptic.P256())
	partner    = apitoken.DangerouslyCrossTenant("github")
)

func mustKey(curve elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// partnerKeys has the one key.
var partnerKeys = httpauth.KeySourceFunc(func(_ context.Context, id string) (*ecdsa.PublicKey, error) {
	if id != partnerKeyID {
		return nil, apitoken.ErrNotFound
	}
	return &partnerKey.PublicKey, nil
})

func sign(t *testing.T, key *ecdsa.PrivateKey, body string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(sig)
}

// signedAlert is a request as the partner sends it.
func signedAlert(t *testing.T, body string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/leaks", strings.NewReader(body))
	r.Header.Set(keyIDHeader, partnerKeyID)
	r.Header.Set(signatureHeader, sign(t, partnerKey, body))
	return r
}

// fakeReporter remembers what was reported, and answers by value.
type fakeReporter struct {
	answers map[string]error // missing = ErrNotFound
	values  []string
	places  []string
	actors  []apitoken.Actor
}

func (f *fakeReporter) ReportLeak(_ context.Context, actor apitoken.Actor, report apitoken.LeakReport) (apitoken.Leak, error) {
	f.values, f.places, f.actors = append(f.values, report.Value.Reveal()), append(f.places, report.Where), append(f.actors, actor)
	if err, ok := f.answers[report.Value.Reveal()]; ok {
		return apitoken.Leak{}, err
	}
	return apitoken.Leak{}, apitoken.ErrNotFound
}

func quiet(o httpauth.AlertOptions) httpauth.AlertOptions {
	if o.Keys == nil {
		o.Keys = partnerKeys
	}
	o.Actor = partner
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// another is a character that is not c, so that a value is damaged whatever it is.
func another(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

func hashOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// The whole way: an alert over HTTP stops the token, and the answer says which
// were real and shows none.
func TestAlertsOverARealService(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	env := apitokentest.New(t, apitoken.Options{Prefix: "acme"})
	good, other := env.Issue(apitoken.IssueRequest{}), env.IssueAs(apitoken.Actor{ID: "zoe", Tenant: "rival"}, apitoken.IssueRequest{})
	value, rivals := good.Secret.Reveal(), other.Secret.Reveal()
	h := httpauth.Alerts(env.Service, quiet(httpauth.AlertOptions{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}))
	unknown := value[:30] + another(value[30]) + value[31:]
	alerts, err := json.Marshal([]map[string]string{
		{"token": value, "type": "acme_token", "url": "https://git.example/a?t=" + value, "source": "commit"},
		{"token": unknown, "type": "acme_token", "url": "", "source": "content"},
		{"token": rivals, "type": "other_type", "url": "https://git.example/b"},
		{"token": "", "type": ""},
	})
	require.NoError(t, err)
	for range 2 { // sent again, it gets the same answer
		w := answer(h, signedAlert(t, string(alerts)))
		require.Equal(t, 200, w.Code, w.Body)
		require.Equal(t, "application/json", w.Header().Get("Content-Type"))
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		require.JSONEq(t, fmt.Sprintf(`[
			{"token_hash": %q, "token_type": "acme_token", "label": "true_positive"},
			{"token_hash": %q, "token_type": "acme_token", "label": "false_positive"},
			{"token_hash": %q, "token_type": "other_type", "label": "true_positive"},
			{"token_hash": %q, "token_type": "", "label": "false_positive"}
		]`, hashOf(value), hashOf(unknown), hashOf(rivals), hashOf("")), w.Body.String())
		for _, secret := range []string{value, unknown, rivals} {
			require.NotContains(t, w.Body.String()+log.String(), secret[27:70])
		}
	}
	require.Contains(t, log.String(), "alerts=4 tokens=2 failed=0")
	for _, issued := range []apitoken.Issued{good, other} {
		_, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		require.ErrorIs(t, err, apitoken.ErrRevoked)
	}
	view, err := env.Service.Get(t.Context(), env.Actor(apitokentest.User), good.Token.ID)
	require.NoError(t, err)
	require.Equal(t, "https://git.example/a?t="+good.Token.Hint+" (commit)", view.Reason)
	events := 0
	for e, err := range env.Service.History(t.Context(), env.Actor(apitokentest.User), good.Token.ID) {
		require.NoError(t, err)
		if events++; e.Type != apitoken.EventCreated {
			require.Equal(t, "github", e.Actor.ID)
		}
	}
	require.Equal(t, 3, events, "created, leaked, revoked, and not twice")
}

// The example of GitHub's documentation, with its key and signature.
func TestAlertsGolden(t *testing.T) {
	t.Parallel()
	const (
		id   = "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d"
		sig  = "MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY="
		body = `[{"token":"some_token","type":"some_type","url":"some_url","source":"some_source"}]`
		key  = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP\nHzZFI03Exwz8Lh/tCfL3YxwMdLjB+bMznsanlhK0RwcGP3IDb34kQDIo3Q==\n-----END PUBLIC KEY-----\n"
	)
	list, err := json.Marshal(map[string]any{"public_keys": []map[string]any{{"key_identifier": id, "key": key, "is_current": true}}})
	require.NoError(t, err)
	keys := httpauth.NewKeyList(func(context.Context) ([]byte, error) { return list, nil }, nil)
	reporter := &fakeReporter{answers: map[string]error{"some_token": nil}}
	h := httpauth.Alerts(reporter, quiet(httpauth.AlertOptions{Keys: keys}))
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("GITHUB-PUBLIC-KEY-IDENTIFIER", id)
	r.Header.Set("GITHUB-PUBLIC-KEY-SIGNATURE", sig)
	w := answer(h, r)
	require.Equal(t, 200, w.Code, w.Body)
	require.JSONEq(t, `[{"token_hash":"`+hashOf("some_token")+`","token_type":"some_type","label":"true_positive"}]`, w.Body.String())
	require.Equal(t, []string{"some_url (some_source)"}, reporter.places)
	require.Equal(t, []apitoken.Actor{partner}, reporter.actors)

	r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body+"\n"))
	r.Header.Set(keyIDHeader, id)
	r.Header.Set(signatureHeader, sig)
	require.Equal(t, 403, answer(h, r).Code, "one byte more")
}

// countingBody says whether it was read.
type countingBody struct {
	io.Reader
	read int
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *countingBody) Close() error { return nil }

// What is wrong with key and signature looks alike, and nothing is reported or
// parsed.
func TestAlertsRefuseUnsigned(t *testing.T) {
	t.Parallel()
	const body = `[{"token":"t","type":"x"}]`
	good := sign(t, partnerKey, body)
	raw, err := base64.StdEncoding.DecodeString(good)
	require.NoError(t, err)
	other := mustKey(elliptic.P256())
	weird := mustKey(elliptic.P384())
	for _, c := range []struct {
		name   string
		change func(h http.Header)
		keys   httpauth.KeySource
		body   string
		unread bool
	}{
		{"no headers", func(h http.Header) { clear(h) }, nil, body, true},
		{"no key", func(h http.Header) { h.Del(keyIDHeader) }, nil, body, true},
		{"empty key", func(h http.Header) { h.Set(keyIDHeader, "") }, nil, body, true},
		{"two keys", func(h http.Header) { h.Add(keyIDHeader, partnerKeyID) }, nil, body, true},
		{"unknown key", func(h http.Header) { h.Set(keyIDHeader, "key-2") }, nil, body, true},
		{"overlong key", func(h http.Header) { h.Set(keyIDHeader, strings.Repeat("k", 257)) }, nil, body, true},
		{"no signature", func(h http.Header) { h.Del(signatureHeader) }, nil, body, true},
		{"two signatures", func(h http.Header) { h.Add(signatureHeader, good) }, nil, body, true},
		{"overlong signature", func(h http.Header) { h.Set(signatureHeader, strings.Repeat("A", 1000)) }, nil, body, true},
		{"not base64", func(h http.Header) { h.Set(signatureHeader, "?") }, nil, body, true},
		{"no key behind the identifier", func(http.Header) {}, httpauth.KeySourceFunc(func(context.Context, string) (*ecdsa.PublicKey, error) { return nil, nil }), body, true},
		{"another curve", func(h http.Header) { h.Set(signatureHeader, sign(t, weird, body)) },
			httpauth.KeySourceFunc(func(context.Context, string) (*ecdsa.PublicKey, error) { return &weird.PublicKey, nil }), body, true},
		{"empty signature", func(h http.Header) { h.Set(signatureHeader, "") }, nil, body, false},
		{"not ASN.1", func(h http.Header) { h.Set(signatureHeader, base64.StdEncoding.EncodeToString(raw[8:])) }, nil, body, false},
		{"ASN.1 and more", func(h http.Header) { h.Set(signatureHeader, base64.StdEncoding.EncodeToString(append(raw, 0))) }, nil, body, false},
		{"another's signature", func(h http.Header) { h.Set(signatureHeader, sign(t, other, body)) }, nil, body, false},
		{"of another body", func(h http.Header) { h.Set(signatureHeader, sign(t, partnerKey, body+" ")) }, nil, body, false},
		{"changed body", func(http.Header) {}, nil, strings.Replace(body, "x", "y", 1), false},
		{"no body", func(http.Header) {}, nil, "", false},
		{"unsigned nonsense", func(http.Header) {}, nil, "nonsense", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reporter := new(fakeReporter)
			h := httpauth.Alerts(reporter, quiet(httpauth.AlertOptions{Keys: c.keys}))
			sent := &countingBody{Reader: strings.NewReader(c.body)}
			r := httptest.NewRequest(http.MethodPost, "/", sent)
			r.Header.Set(keyIDHeader, partnerKeyID)
			r.Header.Set(signatureHeader, good)
			c.change(r.Header)
			w := answer(h, r)
			require.Equal(t, 403, w.Code)
			require.Equal(t, `{"title":"Forbidden","status":403,"detail":"the signature was not accepted","reason":"signature"}`+"\n", w.Body.String())
			require.Empty(t, reporter.values)
			if c.unread {
				require.Zero(t, sent.read, "nothing is read for somebody without a key")
			}
		})
	}
}

// Signed requests that are still not fit.
func TestAlertsRefuseSigned(t *testing.T) {
	t.Parallel()
	const secret = "acme_a_value_not_to_be_shown"
	for _, c := range []struct {
		name, body string
		status     int
	}{
		{"no JSON", secret, 400},
		{"an object", `{"token":"` + secret + `"}`, 400},
		{"null", "null", 400},
		{"strings", `["` + secret + `"]`, 400},
		{"a number for a token", `[{"token":1}]`, 400},
		{"two arrays", "[][]", 400},
		{"too long", `[{"token":"` + strings.Repeat("x", 2000) + `"}]`, 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			reporter := new(fakeReporter)
			h := httpauth.Alerts(reporter, quiet(httpauth.AlertOptions{MaxBody: 1000, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
			w := answer(h, signedAlert(t, c.body))
			require.Equal(t, c.status, w.Code)
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			require.Empty(t, reporter.values)
			require.NotContains(t, w.Body.String()+log.String(), secret)
		})
	}
	w := answer(httpauth.Alerts(new(fakeReporter), quiet(httpauth.AlertOptions{})), signedAlert(t, "[]"))
	require.Equal(t, "200 []\n", fmt.Sprint(w.Code, " ", w.Body))
}

func TestAlertsMethod(t *testing.T) {
	t.Parallel()
	h := httpauth.Alerts(new(fakeReporter), quiet(httpauth.AlertOptions{}))
	for _, method := range []string{"GET", "PUT", "HEAD", "OPTIONS", "DELETE"} {
		w := answer(h, httptest.NewRequest(method, "/", nil))
		require.Equal(t, 405, w.Code, method)
		require.Equal(t, "POST", w.Header().Get("Allow"))
	}
}

// P4: what cannot be decided now is a 503, after all alerts were tried.
func TestAlertsOutages(t *testing.T) {
	t.Parallel()
	const body = `[{"token":"one"},{"token":"two"},{"token":"three"}]`
	down := errors.New("no route to db-7")
	for name, c := range map[string]struct {
		keys     error
		answers  map[string]error
		status   int
		reported int
	}{
		"keys":                           {down, nil, 503, 0},
		"keys, not found":                {fmt.Errorf("here: %w", apitoken.ErrNotFound), nil, 403, 0},
		"the first":                      {nil, map[string]error{"one": &apitoken.OutageError{Part: "store", Err: down}, "two": nil}, 503, 3},
		"the last":                       {nil, map[string]error{"one": nil, "three": &apitoken.OutageError{Part: "store", Err: down}}, 503, 3},
		"an outage that looks like 'no'": {nil, map[string]error{"two": errors.Join(apitoken.ErrNotFound, apitoken.ErrUnavailable)}, 503, 3},
		"an actor who may not":           {nil, map[string]error{"two": apitoken.ErrMayNot}, 503, 3},
		"none":                           {nil, map[string]error{"one": nil}, 200, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reporter := &fakeReporter{answers: c.answers}
			keys := httpauth.KeySourceFunc(func(context.Context, string) (*ecdsa.PublicKey, error) { return &partnerKey.PublicKey, c.keys })
			w := answer(httpauth.Alerts(reporter, quiet(httpauth.AlertOptions{Keys: keys})), signedAlert(t, body))
			require.Equal(t, c.status, w.Code)
			require.Len(t, reporter.values, c.reported)
			require.NotContains(t, w.Body.String(), "db-7")
			if c.status == 503 {
				require.Equal(t, "5", w.Header().Get("Retry-After"))
			}
		})
	}
}

// Another partner may name its headers otherwise; what GitHub's are called is
// then not looked at.
func TestAlertsHeadersOfAnotherPartner(t *testing.T) {
	t.Parallel()
	const body = `[{"token":"t","url":"u"},{"token":"t","source":"s"},{"token":"t"}]`
	reporter := new(fakeReporter)
	h := httpauth.Alerts(reporter, quiet(httpauth.AlertOptions{KeyIDHeader: "gitea-key", SignatureHeader: "GITEA-SIGNATURE"}))
	require.Equal(t, 403, answer(h, signedAlert(t, body)).Code)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Gitea-Key", partnerKeyID)
	r.Header.Set("Gitea-Signature", sign(t, partnerKey, body))
	require.Equal(t, 200, answer(h, r).Code)
	require.Equal(t, []string{"u", "s", ""}, reporter.places)
}

func TestAlertsFaults(t *testing.T) {
	t.Parallel()
	good := func() httpauth.AlertOptions { return httpauth.AlertOptions{Keys: partnerKeys, Actor: partner} }
	for name, c := range map[string]struct {
		reporter httpauth.LeakReporter
		change   func(o *httpauth.AlertOptions)
		want     []string // words of the panic; nil = none
	}{
		"fine":          {new(fakeReporter), func(*httpauth.AlertOptions) {}, nil},
		"no reporter":   {nil, func(*httpauth.AlertOptions) {}, []string{"LeakReporter"}},
		"no keys":       {new(fakeReporter), func(o *httpauth.AlertOptions) { o.Keys = nil }, []string{"Keys"}},
		"no actor":      {new(fakeReporter), func(o *httpauth.AlertOptions) { o.Actor = apitoken.Actor{} }, []string{"Actor"}},
		"no header":     {new(fakeReporter), func(o *httpauth.AlertOptions) { o.KeyIDHeader = "a b" }, []string{"KeyIDHeader"}},
		"one header":    {new(fakeReporter), func(o *httpauth.AlertOptions) { o.KeyIDHeader, o.SignatureHeader = "X-a", "x-A" }, []string{"the same"}},
		"negative body": {new(fakeReporter), func(o *httpauth.AlertOptions) { o.MaxBody = -1 }, []string{"MaxBody"}},
		"all":           {nil, func(o *httpauth.AlertOptions) { *o = httpauth.AlertOptions{SignatureHeader: "\n"} }, []string{"LeakReporter", "Keys", "Actor", "SignatureHeader"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := good()
			c.change(&o)
			var said string
			func() {
				defer func() {
					if p := recover(); p != nil {
						said = fmt.Sprint(p)
					}
				}()
				httpauth.Alerts(c.reporter, o)
			}()
			require.Equal(t, len(c.want) > 0, said != "")
			for _, word := range c.want {
				require.Contains(t, said, word)
			}
		})
	}
}

func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// FuzzAlerts: whatever comes without the partner's key is refused and reports
// nothing.
func FuzzAlerts(f *testing.F) {
	f.Add(partnerKeyID, "MEUCIFLZzeK++IhS+y276SRk2Pe5LfDrfvTXu6iwKKcFGCrvAiEAhHN2kDOhy2I6eGkOFmxNkOJ+L2y8oQ9A2T9GGJo6WJY=", []byte(`[{"token":"x"}]`))
	f.Add(partnerKeyID, "MAYCAQACAQA=", []byte("[]"))
	f.Add("", "", []byte(nil))
	reporter := new(fakeReporter)
	h := httpauth.Alerts(reporter, quiet(httpauth.AlertOptions{}))
	f.Fuzz(func(t *testing.T, id, signature string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header[keyIDHeader], r.Header[signatureHeader] = []string{id}, []string{signature}
		if w := answer(h, r); w.Code != 403 || len(reporter.values) > 0 {
			t.Fatalf("%d, %d reported", w.Code, len(reporter.values))
		}
	})
}
