package httpauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
)

// maxSFInteger is the largest integer of a structured field (RFC 9651).
const maxSFInteger int64 = 999_999_999_999_999

// maxScope bounds the scope attribute in bytes: proxies and clients bound headers,
// and the body has the whole list.
const maxScope = 1024

// The problem type of draft-ietf-httpapi-ratelimit-headers-11, section 5.
const (
	quotaExceeded      = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	quotaExceededTitle = "Request cannot be satisfied as assigned quota has been exceeded"
)

// challenge sets WWW-Authenticate (RFC 6750, section 3). The values hold neither
// quotes nor backslashes.
func challenge(h http.Header, realm, code, attribute, value string) {
	c := `Bearer realm="` + realm + `"`
	if code != "" {
		c += `, error="` + code + `"`
	}
	if value != "" {
		c += `, ` + attribute + `="` + value + `"`
	}
	h.Set("WWW-Authenticate", c)
}

// scopeOf joins permission names, which are all scope tokens of RFC 6749.
func scopeOf(permissions []string) string {
	scope := strings.Join(permissions, " ")
	if len(scope) > maxScope || !isQuotable(scope) {
		return ""
	}
	return scope
}

// rateLimitHeaders sets Retry-After, and RateLimit and RateLimit-Policy of
// draft-ietf-httpapi-ratelimit-headers-11. They are sent with a 429 only: a
// Verifier does not say how much is left of a limit that was not reached.
func rateLimitHeaders(h http.Header, d apitoken.Decision) {
	wait := strconv.FormatInt(retrySeconds(d.RetryAfter), 10)
	h.Set("Retry-After", wait)
	name, ok := sfString(d.Limit)
	if !ok {
		return
	}
	policy := name + ";q=" + strconv.FormatInt(min(max(0, int64(d.Quota)), maxSFInteger), 10)
	// The window is in whole seconds and may be left out.
	if d.Window >= time.Second && d.Window%time.Second == 0 {
		policy += ";w=" + strconv.FormatInt(int64(d.Window/time.Second), 10)
	}
	h.Set("RateLimit-Policy", policy)
	h.Set("RateLimit", name+";r=0;t="+wait)
}

// retrySeconds rounds up, so that a client that comes back then is let through.
func retrySeconds(d time.Duration) int64 {
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	return max(1, seconds)
}

// isQuotable reports whether s needs no escaping within quotes, which the
// attributes of RFC 6750 do not allow.
func isQuotable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// sfString writes a string of RFC 9651, section 3.3.3.
func sfString(s string) (string, bool) {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return "", false
		}
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, true
}
