package httpauth_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func forwarded(peer string, lines ...string) *http.Request {
	r := request()
	r.RemoteAddr = peer
	for _, line := range lines {
		r.Header.Add("X-Forwarded-For", line)
	}
	return r
}

func TestClientAddr(t *testing.T) {
	t.Parallel()
	trusted := prefixes("10.0.0.0/8", "2001:db8:ffff::/48", "::ffff:192.0.2.0/120")
	for _, tc := range []struct {
		name    string
		trusted []netip.Prefix
		peer    string
		lines   []string
		want    string // "" = the zero Addr
		err     error
	}{
		{name: "peer", peer: "198.51.100.7:4711", want: "198.51.100.7"},
		{name: "peer of IPv6", peer: "[2001:db8::7]:4711", want: "2001:db8::7"},
		{name: "peer of IPv4 written as IPv6", peer: "[::ffff:198.51.100.7]:4711", want: "198.51.100.7"},
		{name: "peer with zone", peer: "[fe80::1%eth0]:4711", want: "fe80::1"},
		{name: "Unix socket", peer: "@"},
		{name: "no peer", peer: ""},
		{name: "peer rewritten by other middleware", peer: "198.51.100.7"},

		{name: "no list: header not read", peer: "10.0.0.1:1", lines: []string{"198.51.100.7"}, want: "10.0.0.1"},
		{name: "no list: nonsense not read", peer: "10.0.0.1:1", lines: []string{"nonsense"}, want: "10.0.0.1"},
		{name: "peer not trusted", trusted: trusted, peer: "203.0.113.1:1", lines: []string{"198.51.100.7"}, want: "203.0.113.1"},
		{name: "peer not trusted, nonsense", trusted: trusted, peer: "203.0.113.1:1", lines: []string{"nonsense"}, want: "203.0.113.1"},
		{name: "Unix socket with a list", trusted: trusted, peer: "@", lines: []string{"198.51.100.7"}},

		{name: "one proxy", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7"}, want: "198.51.100.7"},
		{name: "two proxies", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7, 10.0.0.2"}, want: "198.51.100.7"},
		{name: "proxy of IPv6", trusted: trusted, peer: "[2001:db8:ffff::1]:1", lines: []string{"2001:db8::7"}, want: "2001:db8::7"},
		{name: "proxy with zone", trusted: trusted, peer: "[2001:db8:ffff::1%eth0]:1", lines: []string{"2001:db8::7"}, want: "2001:db8::7"},
		{name: "proxy of IPv4 written as IPv6", trusted: trusted, peer: "[::ffff:10.0.0.1]:1", lines: []string{"198.51.100.7"}, want: "198.51.100.7"},
		{name: "list of IPv4 written as IPv6", trusted: trusted, peer: "192.0.2.9:1", lines: []string{"198.51.100.7"}, want: "198.51.100.7"},
		{name: "client of IPv4 written as IPv6", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"::ffff:198.51.100.7"}, want: "198.51.100.7"},
		{name: "client with zone", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"fe80::7%eth0"}, want: "fe80::7"},

		{name: "client wrote an address before", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"192.168.0.1, 198.51.100.7"}, want: "198.51.100.7"},
		{name: "client wrote a proxy's address before", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"10.0.0.3, 198.51.100.7"}, want: "198.51.100.7"},
		{name: "client wrote nonsense before", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"<script>,, 198.51.100.7"}, want: "198.51.100.7"},
		{name: "client wrote a line of its own", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"192.168.0.1", "198.51.100.7"}, want: "198.51.100.7"},
		{name: "lines are read as one list", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"192.168.0.1, 198.51.100.7", "10.0.0.3", "10.0.0.2"}, want: "198.51.100.7"},
		{name: "client wrote an empty line", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"", "198.51.100.7"}, want: "198.51.100.7"},

		{name: "all are proxies: the left-most", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"10.0.0.3, 10.0.0.2"}, want: "10.0.0.3"},
		{name: "proxy asks for itself", trusted: trusted, peer: "10.0.0.1:1", want: "10.0.0.1"},

		{name: "port", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7:4711"}, want: "198.51.100.7"},
		{name: "port of IPv6", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"[2001:db8::7]:4711"}, want: "2001:db8::7"},
		{name: "proxy with a port", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7, 10.0.0.2:80"}, want: "198.51.100.7"},
		{name: "tabs", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7\t,\t10.0.0.2\t"}, want: "198.51.100.7"},

		{name: "nonsense", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"nonsense"}, err: httpauth.ErrClientAddress},
		{name: "unknown", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"unknown"}, err: httpauth.ErrClientAddress},
		{name: "name of a host", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"client.example"}, err: httpauth.ErrClientAddress},
		{name: "octal", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.051.100.7"}, err: httpauth.ErrClientAddress},
		{name: "short form", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.7"}, err: httpauth.ErrClientAddress},
		{name: "prefix", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.0/24"}, err: httpauth.ErrClientAddress},
		{name: "port out of range", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7:65536"}, err: httpauth.ErrClientAddress},
		{name: "brackets without port", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"[2001:db8::7]"}, err: httpauth.ErrClientAddress},
		{name: "empty line", trusted: trusted, peer: "10.0.0.1:1", lines: []string{""}, err: httpauth.ErrClientAddress},
		{name: "empty entry", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7,,10.0.0.2"}, err: httpauth.ErrClientAddress},
		{name: "comma at the end", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"198.51.100.7,"}, err: httpauth.ErrClientAddress},
		{name: "nonsense behind a proxy", trusted: trusted, peer: "10.0.0.1:1", lines: []string{"nonsense, 10.0.0.2"}, err: httpauth.ErrClientAddress},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			auth := httpauth.New(new(fakeVerifier), httpauth.Options{TrustedProxies: tc.trusted})
			got, err := auth.ClientAddr(forwarded(tc.peer, tc.lines...))
			require.Equal(t, tc.err, err)
			var want netip.Addr
			if tc.want != "" {
				want = netip.MustParseAddr(tc.want)
			}
			require.Equal(t, want, got)
		})
	}
}

// Other headers that name a client are nobody's word for anything (P20).
func TestClientAddrReadsNoOtherHeader(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(new(fakeVerifier), httpauth.Options{TrustedProxies: prefixes("10.0.0.0/8")})
	r := forwarded("10.0.0.1:1", "198.51.100.7")
	for _, name := range []string{"X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "X-Cluster-Client-IP"} {
		r.Header.Set(name, "192.168.0.1")
	}
	got, err := auth.ClientAddr(r)
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddr("198.51.100.7"), got)
}

// The Verifier gets the address that ClientAddr finds, and is not asked when none
// can be read.
func TestVerifierGetsTheClientAddr(t *testing.T) {
	t.Parallel()
	opts := httpauth.Options{TrustedProxies: prefixes("10.0.0.0/8")}
	r := forwarded("10.0.0.1:1", "198.51.100.7")
	r.Header.Set("Authorization", "Bearer acme_1")
	got, err := present(opts, r)
	require.NoError(t, err)
	require.Equal(t, netip.MustParseAddr("198.51.100.7"), got.Address)

	r.Header.Set("X-Forwarded-For", "unknown")
	got, err = present(opts, r)
	require.Nil(t, got)
	require.ErrorIs(t, err, httpauth.ErrClientAddress)
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.Equal(t, "client_address", apitoken.ReasonOf(err))
}

// FuzzClientAddr holds ClientAddr to a plain reading of its rule, and to the
// promise behind it: nothing that a client writes changes its address (P20).
func FuzzClientAddr(f *testing.F) {
	f.Add("10.0.0.1:1", "198.51.100.7")
	f.Add("10.0.0.1:1", "192.168.0.1, 198.51.100.7\n10.0.0.2")
	f.Add("[2001:db8:ffff::1%eth0]:1", "[2001:db8::7]:80,10.0.0.2")
	f.Add("[::ffff:10.0.0.1]:1", "::ffff:198.51.100.7")
	f.Add("203.0.113.1:1", "10.0.0.1")
	f.Add("@", "10.0.0.1")
	f.Add("[::%]]:0", "0") // netip takes the bracket for a zone
	f.Add("10.0.0.1:1", "[::%[]:0")
	f.Add("10.0.0.1:1", ",,\n unknown\n198.51.100.7:99999")
	trusted := prefixes("10.0.0.0/8", "2001:db8:ffff::/48")
	auth := httpauth.New(new(fakeVerifier), httpauth.Options{TrustedProxies: trusted})
	f.Fuzz(func(t *testing.T, peer, written string) {
		lines := strings.Split(written, "\n")

		got, err := auth.ClientAddr(forwarded(peer, lines...))
		want, wantErr := plainClientAddr(trusted, peer, lines)
		require.Equal(t, wantErr, err != nil, "%v", err)
		require.Equal(t, want, got)

		// An untrusted peer: its own word counts for nothing.
		got, err = auth.ClientAddr(forwarded("203.0.113.1:1", lines...))
		require.NoError(t, err)
		require.Equal(t, netip.MustParseAddr("203.0.113.1"), got)

		// A trusted proxy appends whom it heard from, to the last line or as one of its own.
		client := netip.MustParseAddr("198.51.100.7")
		for _, appended := range [][]string{
			append(slices.Clone(lines), client.String()),
			append(slices.Clone(lines[:len(lines)-1]), lines[len(lines)-1]+", "+client.String()),
			append(slices.Clone(lines), client.String()+", 10.0.0.2"),
		} {
			got, err = auth.ClientAddr(forwarded("10.0.0.1:1", appended...))
			require.NoError(t, err)
			require.Equal(t, client, got)
		}
	})
}

// plainClientAddr is the oracle: the whole list, read from the right with package
// net's parsers.
func plainClientAddr(trusted []netip.Prefix, peer string, lines []string) (client netip.Addr, failed bool) {
	client, err := plainHostPort(peer)
	if err != nil {
		return netip.Addr{}, false
	}
	entries := strings.Split(strings.Join(lines, ","), ",")
	for len(entries) > 0 && slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(client) }) {
		last := strings.Trim(entries[len(entries)-1], " \t")
		entries = entries[:len(entries)-1]
		if client, err = plainAddr(last); err != nil {
			client, err = plainHostPort(last)
		}
		if err != nil {
			return netip.Addr{}, true
		}
	}
	return client, false
}

func plainHostPort(s string) (netip.Addr, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.Addr{}, err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return netip.Addr{}, err
	}
	if strings.HasPrefix(s, "[") != strings.Contains(host, ":") {
		return netip.Addr{}, errors.New("brackets are for IPv6")
	}
	return plainAddr(host)
}

func plainAddr(s string) (netip.Addr, error) {
	host, zone, zoned := strings.Cut(s, "%")
	ip := net.ParseIP(host)
	if ip == nil || zoned && (zone == "" || !strings.Contains(host, ":")) {
		return netip.Addr{}, errors.New("no address")
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap(), nil
}
