package httpauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const (
	defaultRealm = "api"
	maxRealm     = 128
)

// reserved are headers that mean something else to this package or to browsers.
// A browser sends a cookie along by itself, so a token in one could be used by
// any page (CSRF).
var reserved = []string{"Authorization", "Cookie", "Host", "Origin", "X-Forwarded-For"}

// Check returns what is wrong with the options, all faults joined, each naming
// the field and saying what to do. [New] panics with it.
func (o Options) Check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("httpauth: Options."+field+" "+format, args...))
	}
	var seen []string
	header := func(field, name string) {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !isHeaderName(name):
			bad(field, "%q is no header name: write one such as X-Api-Token", name)
		case slices.Contains(reserved, canonical):
			bad(field, "%q cannot carry a token: name a header of your own", name)
		case slices.Contains(seen, canonical):
			bad(field, "%q is named twice: remove one", name)
		}
		seen = append(seen, canonical)
	}
	for i, name := range o.Headers {
		header(fmt.Sprintf("Headers[%d]", i), name)
	}
	if (o.LegacyIDHeader == "") != (o.LegacySecretHeader == "") {
		bad("LegacyIDHeader", "and LegacySecretHeader are needed together: set both or neither")
	} else if o.LegacyIDHeader != "" {
		header("LegacyIDHeader", o.LegacyIDHeader)
		header("LegacySecretHeader", o.LegacySecretHeader)
	}
	for i, reader := range o.Proofs {
		if reader == nil {
			bad(fmt.Sprintf("Proofs[%d]", i), "is nil: remove it, or pass NewBoundJWT")
		}
	}
	for i, p := range o.TrustedProxies {
		field := fmt.Sprintf("TrustedProxies[%d]", i)
		switch {
		case !p.IsValid():
			bad(field, "is no prefix: write one such as 10.0.0.0/8")
		case p.Addr().Is4In6() && p.Bits() < 96:
			bad(field, "%s mixes IPv4 and IPv6: write it as IPv4", p)
		case normalPrefix(p).Bits() == 0:
			bad(field, "%s trusts everybody, so that every client could choose its address: name the proxies", p)
		}
	}
	if !isQuotable(o.Realm) {
		bad("Realm", "%q cannot be quoted: use printable ASCII without quotes and backslashes", o.Realm)
	}
	if len(o.Realm) > maxRealm {
		bad("Realm", "has %d bytes: at most %d are possible", len(o.Realm), maxRealm)
	}
	o.FailedAttempts.check(bad)
	return errors.Join(errs...)
}

// normalPrefix writes a prefix of IPv4 addresses that are written as IPv6 as
// IPv4, as addresses are before they are compared.
func normalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// isHeaderName reports whether s is a token of RFC 9110, section 5.6.2.
func isHeaderName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !isTokenChar(c) }) < 0
}

func isTokenChar(c rune) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
