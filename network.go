package apitoken

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxNetworks = 256
	maxOrigins  = 64
	maxOrigin   = 256
)

// ParseNetworks reads addresses and CIDR prefixes, IPv4 and IPv6, one or
// several in each string, with spaces, commas, semicolons or newlines between
// them (S2.25). It returns the good ones in the order given, duplicates removed
// (S2.27), beside one [FieldError] for each bad one, joined (S2.26).
//
// A single address is a prefix of /32 or /128; an IPv4 address written as IPv6
// is the IPv4 address. Refused are prefixes with host bits set, zones, ports,
// ranges, and octal or shortened forms. At most 256 entries.
func ParseNetworks(lists ...string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	var errs faults
	n := 0
	for _, list := range lists {
		for entry := range strings.FieldsFuncSeq(list, isListSeparator) {
			if n++; n > maxNetworks {
				errs.add("networks", "has more than %d entries: join neighbours into prefixes", maxNetworks)
				return out, errs.join()
			}
			p, err := parseNetwork(entry)
			if err != nil {
				errs.add(fmt.Sprintf("networks[%d]", n-1), "invalid IP address %q: %s", clip(entry), err)
				continue
			}
			if !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	if n == 0 && strings.Join(lists, "") != "" {
		errs.add("networks", "holds no address: give one, or leave the list out for any")
	}
	return out, errs.join()
}

func isListSeparator(r rune) bool {
	switch r {
	case ' ', ',', ';', '\n', '\r', '\t':
		return true
	}
	return false
}

func parseNetwork(s string) (netip.Prefix, error) {
	if strings.ContainsRune(s, '%') {
		return netip.Prefix{}, errors.New("remove the zone")
	}
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, errors.New("write one address such as 192.0.2.7 or 2001:db8::7, or a prefix such as 192.0.2.0/24")
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, errors.New("write a prefix such as 192.0.2.0/24 or 2001:db8::/32")
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, errors.New("the prefix mixes IPv4 and IPv6: write it as IPv4")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("bits are set after the prefix: write %s, or the address alone", p.Masked())
	}
	return p, nil
}

// networks checks an address list of a request.
func (f *faults) networks(field string, lists []string) []netip.Prefix {
	out, err := ParseNetworks(lists...)
	for _, e := range Fields(err) {
		f.add(field+strings.TrimPrefix(e.Field, "networks"), "%s", e.Problem)
	}
	return out
}

// origins checks a list of browser origins: each is normalised, duplicates are
// dropped.
func (f *faults) origins(field string, list []string) []string {
	if len(list) > maxOrigins {
		f.add(field, "has %d entries: at most %d are possible", len(list), maxOrigins)
		return nil
	}
	var out []string
	for i, entry := range list {
		o, ok := parseOrigin(strings.TrimSpace(entry))
		if !ok {
			f.add(fmt.Sprintf("%s[%d]", field, i), "%q is no origin: write scheme://host or scheme://host:port, without path", clip(entry))
			continue
		}
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// parseOrigin normalises an origin: scheme and host in lower case, the default
// port dropped. "null" and anything with more than scheme, host and port is none.
func parseOrigin(s string) (string, bool) {
	if s == "" || len(s) > maxOrigin || hasControl(s, false) {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.User != nil || u.Opaque != "" || u.Path != "" || strings.ContainsAny(s, "?#@*\\% ") {
		return "", false
	}
	host, ok := originHost(u)
	port := u.Port()
	if _, err := strconv.ParseUint(port, 10, 16); !ok || port != "" && (err != nil || port[0] == '0') {
		return "", false
	}
	if port == "" || u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		return u.Scheme + "://" + host, true
	}
	return u.Scheme + "://" + host + ":" + port, true
}

// originHost spells a host as browsers do: an IPv6 address in its shortest form,
// a name in lower case. A name outside ASCII is none: browsers send Punycode.
func originHost(u *url.URL) (string, bool) {
	host := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		a, err := netip.ParseAddr(host)
		return "[" + a.String() + "]", err == nil && a.Is6()
	}
	for i := range len(host) {
		if c := host[i]; base62Digit[c] == notBase62 && c != '-' && c != '.' && c != '_' {
			return "", false
		}
	}
	return strings.ToLower(host), host != ""
}

// networkSet is an address list made for look-ups: disjoint, sorted ranges, one
// list for each family.
type networkSet struct {
	v4, v6 []addrRange
}

type addrRange struct{ first, last bits128 }

// bits128 is an address as a number.
type bits128 struct{ high, low uint64 }

func bitsOf(a netip.Addr) bits128 {
	b := a.As16()
	return bits128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (b bits128) less(c bits128) bool {
	return b.high < c.high || b.high == c.high && b.low < c.low
}

func (b bits128) compare(c bits128) int {
	return cmp.Or(cmp.Compare(b.high, c.high), cmp.Compare(b.low, c.low))
}

func newNetworkSet(prefixes []netip.Prefix) *networkSet {
	if len(prefixes) == 0 {
		return nil
	}
	s := new(networkSet)
	for _, p := range prefixes {
		if !p.IsValid() {
			continue // a damaged entry matches nothing
		}
		r := addrRange{bitsOf(p.Addr()), bitsOf(lastAddr(p))}
		if p.Addr().Is4() {
			s.v4 = append(s.v4, r)
		} else {
			s.v6 = append(s.v6, r)
		}
	}
	s.v4, s.v6 = mergeRanges(s.v4), mergeRanges(s.v6)
	return s
}

// mergeRanges sorts and drops ranges that lie within another; prefixes never
// overlap otherwise.
func mergeRanges(rs []addrRange) []addrRange {
	slices.SortFunc(rs, func(a, b addrRange) int {
		return cmp.Or(a.first.compare(b.first), b.last.compare(a.last))
	})
	var out []addrRange
	for _, r := range rs {
		if len(out) == 0 || out[len(out)-1].last.less(r.first) {
			out = append(out, r)
		}
	}
	return out
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// contains reports whether an address is in the list, whatever its zone; the
// invalid address is in none.
func (s *networkSet) contains(a netip.Addr) bool {
	if !a.IsValid() {
		return false
	}
	rs, b := s.v6, bitsOf(a)
	if a.Is4() || a.Is4In6() {
		rs = s.v4
	}
	lo, hi := 0, len(rs)
	for lo < hi {
		mid := (lo + hi) / 2
		if rs[mid].last.less(b) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(rs) && !b.less(rs[lo].first)
}

// seenNetwork is the coarser network that usage remembers of an address.
func seenNetwork(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	n := 48
	if a.Is4() {
		n = 24
	}
	p, _ := a.Prefix(n)
	return p
}
