package webhooknotify

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// ErrAddress: a connection was refused because it would have gone to an address
// that is not public.
var ErrAddress = errors.New("the address is not a public one")

// addressCheck returns the Control function of a net.Dialer. It is called with
// the address that the socket is about to be connected to, after all resolving,
// for each address that is tried.
func addressCheck(allowed []netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return ErrAddress
		}
		if public(to.Addr()) || slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(to.Addr()) }) {
			return nil
		}
		return ErrAddress
	}
}

// IPv4 addresses that are not globally reachable, from the IANA registry of
// special-purpose addresses, with multicast and the reserved 240.0.0.0/4.
var special4 = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)

// Of IPv6 only global unicast is public, and not all of that: protocol
// assignments with Teredo, documentation, and 6to4, which carries IPv4 addresses.
// What lies outside is private, link-local, multicast, or carries IPv4 addresses
// too. Of those NAT64 is how an IPv6-only network reaches the rest of the world,
// so there the address inside decides (RFC 6052).
var (
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

func public(a netip.Addr) bool {
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	if nat64.Contains(a) {
		inside := a.As16()
		return public(netip.AddrFrom4([4]byte(inside[12:])))
	}
	if a.Is4() {
		return !slices.ContainsFunc(special4, contains)
	}
	return global6.Contains(a) && !slices.ContainsFunc(special6, contains)
}

// carriesIPv4 reports whether host is written as an IPv6 address that stands for
// an IPv4 address, or with a zone. The dialer would turn the former into IPv4
// before it asks, so that it has to be refused where it is still seen.
func carriesIPv4(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && (a.Is4In6() || a.Zone() != "")
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
