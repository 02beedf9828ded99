package httpauth

import (
	"net/http"
	"slices"
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

// limitFields sets the header fields of what the limiter decided, as the options
// want them.
func (a *Auth) limitFields(h http.Header, decisions []apitoken.Decision) {
	refused := slices.ContainsFunc(decisions, func(d apitoken.Decision) bool { return !d.Allowed })
	if len(decisions) == 0 || a.opts.QuietLimits && !refused {
		return
	}
	nearest := &decisions[0]
	for i := range decisions {
		d := &decisions[i]
		rateLimitFields(h, d)
		if d.Allowed == nearest.Allowed && d.Remaining < nearest.Remaining || !d.Allowed && nearest.Allowed {
			nearest = d
		}
	}
	if a.opts.XRateLimit {
		h.Set("X-RateLimit-Limit", strconv.Itoa(nearest.Quota))
		h.Set("X-RateLimit-Remaining", strconv.Itoa(nearest.Remaining))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(ceilUnix(a.opts.Clock.Now().Add(nearest.Reset)), 10))
	}
}

// ceilUnix is t in seconds, rounded up.
func ceilUnix(t time.Time) int64 {
	seconds := t.Unix()
	if t.Nanosecond() > 0 {
		seconds++
	}
	return seconds
}

// rateLimitFields sets what RateLimit and RateLimit-Policy of
// draft-ietf-httpapi-ratelimit-headers-11 say of one limit; what they said of it
// before goes, what they say of others stays.
func rateLimitFields(h http.Header, d *apitoken.Decision) {
	name, ok := sfString(d.Limit)
	if !ok {
		return
	}
	policy := name + ";q=" + strconv.FormatInt(min(max(0, int64(d.Quota)), maxSFInteger), 10)
	// The window is in whole seconds and may be left out.
	if d.Window >= time.Second && d.Window%time.Second == 0 {
		policy += ";w=" + strconv.FormatInt(int64(d.Window/time.Second), 10)
	}
	// So much is there for the next t seconds.
	wait := d.Reset
	if !d.Allowed {
		wait = d.RetryAfter
	}
	replaceItem(h, "Ratelimit-Policy", name, policy)
	replaceItem(h, "Ratelimit", name, name+";r="+strconv.Itoa(max(0, d.Remaining))+";t="+strconv.FormatInt(ceilSeconds(wait), 10))
}

// replaceItem puts an item into a field that is a list, a line for each, in place of
// the one with the same name. The field's name is in its canonical form.
func replaceItem(h http.Header, field, name, item string) {
	lines := h[field]
	for i, line := range lines {
		if strings.HasPrefix(line, name+";") {
			lines[i] = item
			return
		}
	}
	h[field] = append(lines, item)
}

// ceilSeconds rounds up to at least one, so that a client that comes back then is let
// through.
func ceilSeconds(d time.Duration) int64 {
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
