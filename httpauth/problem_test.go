package httpauth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// The bytes of a refusal of the first family, without the Date.
const (
	golden401 = "HTTP/1.1 401 Unauthorized\r\n" +
		"Cache-Control: no-store\r\n" +
		"Content-Type: application/problem+json\r\n" +
		"Www-Authenticate: Bearer realm=\"api\", error=\"invalid_token\"\r\n" +
		"X-Content-Type-Options: nosniff\r\n" +
		"Content-Length: 120\r\n" +
		"Connection: close\r\n" +
		"\r\n" +
		`{"title":"Unauthorized","status":401,"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}` + "\n"
	goldenNone = "HTTP/1.1 401 Unauthorized\r\n" +
		"Cache-Control: no-store\r\n" +
		"Content-Type: application/problem+json\r\n" +
		"Www-Authenticate: Bearer realm=\"api\"\r\n" + // RFC 6750: no error code without a credential
		"X-Content-Type-Options: nosniff\r\n" +
		"Content-Length: 120\r\n" +
		"Connection: close\r\n" +
		"\r\n" +
		`{"title":"Unauthorized","status":401,"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}` + "\n"
)

var firstFamily = []error{
	apitoken.ErrUnauthenticated, apitoken.ErrMalformedToken, apitoken.ErrUnknownToken, apitoken.ErrWrongSecret,
	apitoken.ErrSuperseded, apitoken.ErrExpired, apitoken.ErrIdle, apitoken.ErrDisabled, apitoken.ErrRevoked,
	apitoken.ErrOwnerInactive, apitoken.ErrOwnerRole, apitoken.ErrAgentInactive, apitoken.ErrKindUnknown,
	apitoken.ErrLegacyEnded, apitoken.ErrScheme,
	fmt.Errorf("looked up for ann: %w", apitoken.ErrUnknownToken),
	errors.Join(apitoken.ErrRevoked, errors.New("three days ago")),
}

// All refusals of the first family are byte-identical on the wire (P17).
func TestFirstFamilyLooksAlike(t *testing.T) {
	t.Parallel()
	for _, refusal := range firstFamily {
		t.Run(refusal.Error(), func(t *testing.T) {
			t.Parallel()
			h := httpauth.New(refuseAll(refusal), httpauth.Options{}).Middleware(fine)
			require.Equal(t, golden401, onTheWire(t, h, "Authorization: Bearer acme_1"))
		})
	}
	t.Run("too long", func(t *testing.T) {
		t.Parallel()
		h := httpauth.New(new(fakeVerifier), httpauth.Options{}).Middleware(fine)
		require.Equal(t, golden401, onTheWire(t, h, "Authorization: Bearer "+strings.Repeat("a", 600)))
	})
	t.Run("no credential", func(t *testing.T) {
		t.Parallel()
		h := httpauth.New(new(fakeVerifier), httpauth.Options{}).Middleware(fine)
		require.Equal(t, goldenNone, onTheWire(t, h, "Accept: */*"))
		require.Equal(t, goldenNone, onTheWire(t, h, "Authorization: Basic YTpi"))
	})
	t.Run("through WriteError", func(t *testing.T) {
		t.Parallel()
		for _, refusal := range firstFamily {
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { httpauth.WriteError(w, r, refusal) })
			require.Equal(t, golden401, onTheWire(t, h, "Accept: */*"))
		}
	})
}

var dateLine = regexp.MustCompile("Date: [^\r]*\r\n")

// onTheWire returns the bytes that a server answers to a request with one header.
func onTheWire(t *testing.T, h http.Handler, header string) string {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n"+header+"\r\n\r\n")
	require.NoError(t, err)
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	return dateLine.ReplaceAllString(string(got), "")
}

// With TellHolder whoever has the right secret hears of two causes, and nobody of
// any other.
func TestTellHolder(t *testing.T) {
	t.Parallel()
	told := map[error]struct{ reason, challenge string }{
		apitoken.ErrExpired: {
			"expired",
			`Bearer realm="acme", error="invalid_token", error_description="the token has expired: issue a new one, or extend the next one in time"`,
		},
		apitoken.ErrDisabled: {
			"disabled",
			`Bearer realm="acme", error="invalid_token", error_description="the token is disabled: enable it, with a new expiry where its kind asks for one"`,
		},
	}
	for _, refusal := range firstFamily {
		t.Run(refusal.Error(), func(t *testing.T) {
			t.Parallel()
			want, ok := told[refusal]
			if !ok {
				want.reason, want.challenge = "unauthenticated", `Bearer realm="acme", error="invalid_token"`
			}
			auth := httpauth.New(refuseAll(refusal), httpauth.Options{TellHolder: true, Realm: "acme"})
			w := answer(auth.Middleware(fine), bearer())
			require.Equal(t, http.StatusUnauthorized, w.Code)
			require.Equal(t, want.reason, body(t, w)["reason"])
			require.Equal(t, want.challenge, w.Header().Get("WWW-Authenticate"))
		})
	}
}

func body(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &m), w.Body.String())
	return m
}

// Every error of the module has its answer. Of what others wrapped around it or
// joined to it ('hunter2') nothing is shown.
func TestWriteError(t *testing.T) {
	t.Parallel()
	secret := errors.New("db-7: hunter2")
	wrap := func(err error) error { return fmt.Errorf("db-7: hunter2: %w", err) }
	_, networks := apitoken.ParseNetworks("192.0.2.300")
	for _, tc := range []struct {
		name    string
		err     error
		status  int
		headers map[string]string // beside the ones that all have
		body    string
	}{
		{
			name: "two credentials", err: wrap(apitoken.ErrTwoCredentials), status: 400,
			headers: map[string]string{"WWW-Authenticate": `Bearer realm="api", error="invalid_request"`},
			body:    `{"title":"Bad Request","status":400,"detail":"more than one credential was presented: send exactly one","reason":"two_credentials"}`,
		},
		{
			name: "unreadable header", err: wrap(apitoken.ErrUnreadableHeader), status: 400,
			headers: map[string]string{"WWW-Authenticate": `Bearer realm="api", error="invalid_request"`},
			body:    `{"title":"Bad Request","status":400,"detail":"the header that carries the credential cannot be read","reason":"unreadable_credential"}`,
		},
		{
			name: "client address", err: wrap(httpauth.ErrClientAddress), status: 400,
			headers: map[string]string{"WWW-Authenticate": `Bearer realm="api", error="invalid_request"`},
			body:    `{"title":"Bad Request","status":400,"detail":"the client's address cannot be read: the trusted proxy must write IP addresses into X-Forwarded-For","reason":"client_address"}`,
		},
		{
			name: "permission", err: wrap(&apitoken.PermissionError{Missing: []string{"devices:view", "scripts:run"}, Groups: []string{"eu"}}), status: 403,
			headers: map[string]string{"WWW-Authenticate": `Bearer realm="api", error="insufficient_scope", scope="devices:view scripts:run"`},
			body: `{"title":"Forbidden","status":403,"detail":"missing permission devices:view, scripts:run and resource group eu: use a token that has it",` +
				`"reason":"permission","missing":["devices:view","scripts:run"],"groups":["eu"]}`,
		},
		{
			name: "resource group alone", err: &apitoken.PermissionError{Groups: []string{"eu"}}, status: 403,
			headers: map[string]string{"WWW-Authenticate": `Bearer realm="api", error="insufficient_scope"`},
			body:    `{"title":"Forbidden","status":403,"detail":"missing resource group eu: use a token that has it","reason":"permission","groups":["eu"]}`,
		},
		{
			name: "kind", err: wrap(&apitoken.KindError{Kind: "personal", Use: "deploy", Accepted: []apitoken.Kind{"node"}}), status: 403, // S3.22
			body: `{"title":"Forbidden","status":403,"detail":"a personal token is not accepted for deploy: use a node token","reason":"kind","kinds":["node"]}`,
		},
		{
			name: "origin", err: wrap(apitoken.ErrOrigin), status: 403, // S1.1
			body: `{"title":"Forbidden","status":403,"detail":"the browser origin is not among those that may use this token","reason":"origin"}`,
		},
		{
			name: "network", err: errors.Join(secret, apitoken.ErrNetwork), status: 403,
			body: `{"title":"Forbidden","status":403,"detail":"the client address is not among those that may use this token","reason":"network"}`,
		},
		{
			name: "actor may not", err: wrap(apitoken.ErrMayNot), status: 403,
			body: `{"title":"Forbidden","status":403,"detail":"the actor may not do this with tokens of this kind","reason":"may_not"}`,
		},
		{
			name: "forbidden", err: wrap(apitoken.ErrForbidden), status: 403,
			body: `{"title":"Forbidden","status":403,"detail":"not allowed","reason":"forbidden"}`,
		},
		{
			name: "not found", err: wrap(apitoken.ErrNotFound), status: 404,
			body: `{"title":"Not Found","status":404,"detail":"not found","reason":"not_found"}`,
		},
		{
			name: "conflict", err: wrap(apitoken.ErrConflict), status: 409,
			body: `{"title":"Conflict","status":409,"detail":"the token's present state does not allow that","reason":"conflict"}`,
		},
		{
			name: "state", err: wrap(&apitoken.StateError{Verb: "edit", Status: apitoken.StatusExpired, Why: "it has expired: issue a new one"}), status: 409,
			body: `{"title":"Conflict","status":409,"detail":"cannot edit: it has expired: issue a new one","reason":"state"}`,
		},
		{
			name: "version", err: wrap(apitoken.ErrVersion), status: 409,
			body: `{"title":"Conflict","status":409,"detail":"the token was changed since the version in IfVersion was read: read it again and repeat the change","reason":"version"}`,
		},
		{
			name: "already issued", err: wrap(&apitoken.AlreadyIssuedError{Token: apitoken.View{Token: apitoken.Token{ID: "ID22"}}}), status: 409,
			body: `{"title":"Conflict","status":409,"detail":"this idempotency key already made token ID22; its secret was shown then and cannot be shown again: ` +
				`if it was lost, rotate the token or issue another one under a new key","reason":"already_issued","token_id":"ID22"}`,
		},
		{
			name: "fields", err: errors.Join(&apitoken.FieldError{Field: "name", Problem: "is required"}, secret, networks), status: 422,
			body: `{"title":"Unprocessable Entity","status":422,"detail":"the request is not valid","reason":"invalid","errors":[` +
				`{"field":"name","problem":"is required"},` +
				`{"field":"networks[0]","problem":"invalid IP address \"192.0.2.300\": write one address such as 192.0.2.7 or 2001:db8::7, or a prefix such as 192.0.2.0/24"}]}`,
		},
		{
			name: "invalid", err: wrap(apitoken.ErrInvalid), status: 422,
			body: `{"title":"Unprocessable Entity","status":422,"detail":"the request is not valid","reason":"invalid"}`,
		},
		{
			name: "rate limit", err: wrap(&apitoken.RateLimitError{Decision: apitoken.Decision{
				Limit: "devices", Quota: 50, Window: time.Minute, RetryAfter: 1200 * time.Millisecond,
			}}), status: 429,
			headers: map[string]string{
				"Retry-After": "2", "RateLimit-Policy": `"devices";q=50;w=60`, "RateLimit": `"devices";r=0;t=2`,
			},
			body: `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded",` +
				`"title":"Request cannot be satisfied as assigned quota has been exceeded","status":429,` +
				`"detail":"the limit \"devices\" of 50 requests per 1m0s is reached: retry in 1.2s","reason":"rate_limited","violated-policies":["devices"]}`,
		},
		{
			name: "rate limit without details", err: wrap(apitoken.ErrRateLimited), status: 429,
			headers: map[string]string{"Retry-After": "1"},
			body:    `{"title":"Too Many Requests","status":429,"detail":"too many requests","reason":"rate_limited"}`,
		},
		{
			name: "outage", err: &apitoken.OutageError{Part: "store", Err: secret}, status: 503,
			headers: map[string]string{"Retry-After": "5"},
			body:    `{"title":"Service Unavailable","status":503,"detail":"the request could not be decided: repeat it later","reason":"unavailable"}`,
		},
		{
			// P4: an outage stays one, whatever the part that failed says.
			name: "outage that looks like a refusal", err: fmt.Errorf("%w: %w: %w", apitoken.ErrUnauthenticated, apitoken.ErrNotFound, apitoken.ErrUnavailable), status: 503,
			headers: map[string]string{"Retry-After": "5"},
			body:    `{"title":"Service Unavailable","status":503,"detail":"the request could not be decided: repeat it later","reason":"unavailable"}`,
		},
		{name: "unknown", err: secret, status: 500, body: `{"title":"Internal Server Error","status":500,"reason":"internal"}`},
		{name: "unknown with a reason of its own", err: reasoned{}, status: 500, body: `{"title":"Internal Server Error","status":500,"reason":"internal"}`},
		{
			name: "a foreign reason beside ours", err: errors.Join(reasoned{}, apitoken.ErrConflict), status: 409,
			body: `{"title":"Conflict","status":409,"detail":"the token's present state does not allow that","reason":"conflict"}`,
		},
		{name: "nil", err: nil, status: 500, body: `{"title":"Internal Server Error","status":500,"reason":"internal"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			// What a handler had prepared before it failed must not describe the answer.
			for _, stale := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
				w.Header().Set(stale, "stale")
			}
			w.Header().Set("Cache-Control", "public, max-age=3600")
			w.Header().Set("X-Request-ID", "kept")
			httpauth.WriteError(w, request(), tc.err)

			require.Equal(t, tc.status, w.Code)
			require.Equal(t, tc.body+"\n", w.Body.String())
			want := http.Header{
				"Cache-Control": {"no-store"}, "Content-Type": {"application/problem+json"},
				"X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"kept"},
			}
			for name, value := range tc.headers {
				want.Set(name, value)
			}
			require.Equal(t, want, w.Header())
			require.NotContains(t, w.Body.String(), "hunter2")
		})
	}
}

// reasoned is an error of somebody else's that happens to have our method.
type reasoned struct{}

func (reasoned) Error() string  { return "hunter2" }
func (reasoned) Reason() string { return "hunter2" }

func TestAuthWriteErrorGoesByItsOptions(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(new(fakeVerifier), httpauth.Options{Realm: "acme", TellHolder: true})
	w := httptest.NewRecorder()
	auth.WriteError(w, request(), apitoken.ErrExpired)
	require.Contains(t, w.Header().Get("WWW-Authenticate"), `realm="acme"`)
	require.Equal(t, "expired", body(t, w)["reason"])
}

func TestRateLimitHeaders(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name               string
		d                  apitoken.Decision
		retry, policy, now string
	}{
		{"whole seconds", apitoken.Decision{Limit: "a", Quota: 10, Window: time.Second, RetryAfter: 3 * time.Second}, "3", `"a";q=10;w=1`, `"a";r=0;t=3`},
		{"rounded up", apitoken.Decision{Limit: "a", Quota: 10, Window: time.Hour, RetryAfter: 3*time.Second + 1}, "4", `"a";q=10;w=3600`, `"a";r=0;t=4`},
		{"at least one", apitoken.Decision{Limit: "a", Quota: 10, Window: time.Hour, RetryAfter: 0}, "1", `"a";q=10;w=3600`, `"a";r=0;t=1`},
		{"negative", apitoken.Decision{Limit: "a", Quota: 10, Window: time.Hour, RetryAfter: -5 * time.Second}, "1", `"a";q=10;w=3600`, `"a";r=0;t=1`},
		{"longest", apitoken.Decision{Limit: "a", Quota: 1, Window: time.Hour, RetryAfter: math.MaxInt64}, "9223372037", `"a";q=1;w=3600`, `"a";r=0;t=9223372037`},
		{"window in parts of a second", apitoken.Decision{Limit: "a", Quota: 10, Window: 1500 * time.Millisecond, RetryAfter: 1}, "1", `"a";q=10`, `"a";r=0;t=1`},
		{"blocked", apitoken.Decision{Limit: "a", Window: time.Minute, RetryAfter: time.Minute}, "60", `"a";q=0;w=60`, `"a";r=0;t=60`},
		{"name to quote", apitoken.Decision{Limit: `a"b\c`, Quota: 1, Window: time.Minute, RetryAfter: 1}, "1", `"a\"b\\c";q=1;w=60`, `"a\"b\\c";r=0;t=1`},
		{"name not ASCII", apitoken.Decision{Limit: "geräte", Quota: 1, Window: time.Minute, RetryAfter: 1}, "1", "", ""},
		{"name with a newline", apitoken.Decision{Limit: "a\r\nb", Quota: 1, Window: time.Minute, RetryAfter: 1}, "1", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			httpauth.WriteError(w, request(), &apitoken.RateLimitError{Decision: tc.d})
			require.Equal(t, tc.retry, w.Header().Get("Retry-After"))
			require.Equal(t, tc.policy, w.Header().Get("RateLimit-Policy"))
			require.Equal(t, tc.now, w.Header().Get("RateLimit"))
		})
	}
}

// A long list of missing permissions does not blow the header up; the body has it.
func TestScopeIsBounded(t *testing.T) {
	t.Parallel()
	var missing []string
	for i := range 1024 {
		missing = append(missing, fmt.Sprintf("devices:%0100d", i))
	}
	w := httptest.NewRecorder()
	httpauth.WriteError(w, request(), &apitoken.PermissionError{Missing: missing})
	require.Equal(t, `Bearer realm="api", error="insufficient_scope"`, w.Header().Get("WWW-Authenticate"))
	require.Len(t, body(t, w)["missing"], 1024)
}
