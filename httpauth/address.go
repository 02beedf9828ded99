package httpauth

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/tokenry/apitoken"
)

// ErrClientAddress: a trusted proxy sent an X-Forwarded-For from which the
// client's address cannot be read. It wraps [apitoken.ErrInvalid]. HTTP 400.
var ErrClientAddress error = addressError{}

type addressError struct{}

func (addressError) Error() string {
	return "httpauth: the client's address cannot be read: the trusted proxy must write IP addresses into X-Forwarded-For"
}
func (addressError) Unwrap() error  { return apitoken.ErrInvalid }
func (addressError) Reason() string { return "client_address" }

// ClientAddr returns the address of the client, without zone, IPv4 always as
// IPv4. That is the peer, http.Request.RemoteAddr, unless the peer is one of
// [Options].TrustedProxies: then it is the right-most address of all
// X-Forwarded-For lines that is not itself a trusted proxy's, or the left-most of
// all if they all are. What is left of that address was written by the client and
// is not read. An entry may carry a port, which some balancers write.
//
// It is the zero Addr when RemoteAddr is not an address and port as net/http
// writes it, as on a Unix socket; tokens with an address list are then refused.
// Anything else than an address in the part that is read is [ErrClientAddress].
func (a *Auth) ClientAddr(r *http.Request) (netip.Addr, error) {
	// RemoteAddr without a port was put there by somebody else than net/http,
	// as a rule from a header that clients can write.
	peer, err := parseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, nil
	}
	client := normalAddr(peer.Addr())
	if len(a.trusted) == 0 || !a.isTrusted(client) {
		return client, nil
	}
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		rest, more := lines[i], true
		for more {
			var entry string
			rest, entry, more = cutLast(rest)
			if client, err = parseHop(entry); err != nil {
				return netip.Addr{}, err
			}
			if !a.isTrusted(client) {
				return client, nil
			}
		}
	}
	return client, nil
}

func (a *Auth) isTrusted(addr netip.Addr) bool {
	for _, p := range a.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// cutLast cuts the last entry off a list.
func cutLast(list string) (rest, entry string, more bool) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return list[:i], list[i+1:], true
	}
	return "", list, false
}

// parseHop reads one entry: an address, or an address and port.
func parseHop(entry string) (netip.Addr, error) {
	entry = strings.Trim(entry, " \t")
	addr, err := netip.ParseAddr(entry)
	if err != nil {
		withPort, err := parseAddrPort(entry)
		if err != nil {
			return netip.Addr{}, ErrClientAddress
		}
		addr = withPort.Addr()
	}
	return normalAddr(addr), nil
}

// parseAddrPort is netip's, which takes a bracket for part of a zone: [::%]]:80.
func parseAddrPort(s string) (netip.AddrPort, error) {
	if strings.Count(s, "[") > 1 || strings.Count(s, "]") > 1 {
		return netip.AddrPort{}, ErrClientAddress
	}
	return netip.ParseAddrPort(s)
}

func normalAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
