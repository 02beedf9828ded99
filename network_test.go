package apitoken_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

func prefixes(t *testing.T, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		require.NoError(t, err)
		out = append(out, p)
	}
	return out
}

// S2.24: single addresses and prefixes of both families.
func TestParseNetworksForms(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"192.0.2.7":             "192.0.2.7/32",
		"192.0.2.7/32":          "192.0.2.7/32",
		"192.0.2.0/24":          "192.0.2.0/24",
		"0.0.0.0/0":             "0.0.0.0/0",
		"255.255.255.255":       "255.255.255.255/32",
		"2001:db8::7":           "2001:db8::7/128",
		"2001:DB8::7":           "2001:db8::7/128",
		"2001:0db8:0:0:0:0:0:7": "2001:db8::7/128",
		"2001:db8::/32":         "2001:db8::/32",
		"::/0":                  "::/0",
		"::1":                   "::1/128",
		"::ffff:192.0.2.7":      "192.0.2.7/32",
		"::ffff:c000:207":       "192.0.2.7/32",
		"::ffff:192.0.2.7/128":  "192.0.2.7/32",
		"::ffff:192.0.2.0/120":  "192.0.2.0/24",
		"::ffff:0.0.0.0/96":     "0.0.0.0/0",
	} {
		got, err := apitoken.ParseNetworks(in)
		require.NoError(t, err, in)
		require.Equal(t, prefixes(t, want), got, in)
	}
}

// S2.26: each bad entry is reported by itself as an invalid IP address.
func TestParseNetworksRefuses(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"host bits set":                  "192.0.2.7/24",
		"host bits set, IPv6":            "2001:db8::7/32",
		"host bits set, 4-in-6":          "::ffff:192.0.2.7/120",
		"zone":                           "fe80::1%eth0",
		"zone with prefix":               "fe80::%eth0/64",
		"port":                           "192.0.2.7:443",
		"port, IPv6":                     "[2001:db8::7]:443",
		"brackets":                       "[2001:db8::7]",
		"range":                          "192.0.2.1-192.0.2.9",
		"octal":                          "010.0.0.1",
		"octal at the end":               "192.0.2.007",
		"hexadecimal":                    "0xc0.0.2.7",
		"one number":                     "3221225991",
		"short":                          "192.0.2",
		"short with prefix":              "10/8",
		"too long":                       "192.0.2.7.1",
		"number too large":               "192.0.2.256",
		"negative":                       "192.0.2.-1",
		"empty number":                   "192.0..7",
		"prefix too long":                "192.0.2.0/33",
		"prefix too long, IPv6":          "2001:db8::/129",
		"prefix with zeros":              "192.0.2.0/024",
		"prefix with a sign":             "192.0.2.0/+24",
		"negative prefix":                "192.0.2.0/-1",
		"no prefix length":               "192.0.2.0/",
		"no address":                     "/24",
		"mask for a prefix":              "192.0.2.0/255.255.255.0",
		"two prefixes":                   "192.0.2.0/24/24",
		"prefix across IPv4 and IPv6":    "::ffff:0.0.0.0/95",
		"4-in-6 network of all families": "::ffff:0:0/0",
		"wildcard":                       "192.0.2.*",
		"any":                            "any",
		"host name":                      "localhost",
		"URL":                            "https://192.0.2.7",
		"two double colons":              "2001::db8::7",
		"five digits":                    "2001:db8::12345",
		"other digits":                   "１９２.0.2.7",
		"no-break space":                 "192.0.2.7\u00a0",
		"NUL":                            "192.0.2.7\x00",
		"not UTF-8":                      "192.0.2.7\xff",
		"one slash":                      "/",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := apitoken.ParseNetworks("198.51.100.1", in, "2001:db8::1")
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			require.Len(t, apitoken.Fields(err), 1)
			require.Equal(t, "networks[1]", apitoken.Fields(err)[0].Field)
			require.Contains(t, apitoken.Fields(err)[0].Problem, fmt.Sprintf("invalid IP address %q", in))
			require.Equal(t, prefixes(t, "198.51.100.1/32", "2001:db8::1/128"), got, "the good ones stand beside the error")
		})
	}
}

func TestParseNetworksSaysWhatIsMeant(t *testing.T) {
	t.Parallel()
	_, err := apitoken.ParseNetworks("192.0.2.7/24")
	require.ErrorContains(t, err, "write 192.0.2.0/24, or the address alone")
	_, err = apitoken.ParseNetworks("fe80::1%eth0")
	require.ErrorContains(t, err, "remove the zone")
	_, err = apitoken.ParseNetworks(strings.Repeat("1", 100_000))
	require.Less(t, len(err.Error()), 400, "what was typed is clipped")
}

// S2.25: spaces, commas, semicolons and newlines between entries, also several.
func TestParseNetworksSeparators(t *testing.T) {
	t.Parallel()
	want := prefixes(t, "192.0.2.1/32", "192.0.2.2/32", "2001:db8::/32")
	for _, in := range []string{
		"192.0.2.1 192.0.2.2 2001:db8::/32",
		"192.0.2.1,192.0.2.2,2001:db8::/32",
		"192.0.2.1;192.0.2.2;2001:db8::/32",
		"192.0.2.1\n192.0.2.2\n2001:db8::/32\n",
		"192.0.2.1\r\n192.0.2.2\r\n2001:db8::/32\r\n",
		"\t192.0.2.1\t192.0.2.2\t2001:db8::/32",
		" , ;192.0.2.1 ,;, \n 192.0.2.2;;;2001:db8::/32 ,",
	} {
		got, err := apitoken.ParseNetworks(in)
		require.NoError(t, err, "%q", in)
		require.Equal(t, want, got, "%q", in)
	}
	got, err := apitoken.ParseNetworks("192.0.2.1", "", "192.0.2.2;2001:db8::/32")
	require.NoError(t, err)
	require.Equal(t, want, got, "several strings are one list")
}

// S2.26: every bad entry by itself, numbered through all the strings.
func TestParseNetworksReportsEachBadEntry(t *testing.T) {
	t.Parallel()
	got, err := apitoken.ParseNetworks("192.0.2.1, bad1", "192.0.2.300;192.0.2.2\n192.0.2.7/8")
	require.Equal(t, prefixes(t, "192.0.2.1/32", "192.0.2.2/32"), got)
	var fields []string
	for _, f := range apitoken.Fields(err) {
		fields = append(fields, f.Field)
	}
	require.Equal(t, []string{"networks[1]", "networks[2]", "networks[4]"}, fields)
}

// S2.27: duplicates are ignored, compared after normalising; an entry within
// another is no duplicate.
func TestParseNetworksDuplicates(t *testing.T) {
	t.Parallel()
	got, err := apitoken.ParseNetworks("192.0.2.7 192.0.2.7/32 ::ffff:192.0.2.7 192.0.2.0/24", "192.0.2.7 2001:db8:: 2001:0DB8::0/128")
	require.NoError(t, err)
	require.Equal(t, prefixes(t, "192.0.2.7/32", "192.0.2.0/24", "2001:db8::/128"), got)
}

// A list that was typed but holds nothing is an error, never 'any'.
func TestParseNetworksOfNothing(t *testing.T) {
	t.Parallel()
	for _, lists := range [][]string{nil, {}, {""}, {"", ""}} {
		got, err := apitoken.ParseNetworks(lists...)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	for _, lists := range [][]string{{" "}, {",;\n"}, {"", " "}, {" ", ","}} {
		_, err := apitoken.ParseNetworks(lists...)
		require.Len(t, apitoken.Fields(err), 1, "%q", lists)
		require.ErrorContains(t, err, "holds no address")
	}
	for _, lists := range [][]string{{" ", "192.0.2.7"}, {"192.0.2.7", " "}} {
		got, err := apitoken.ParseNetworks(lists...)
		require.NoError(t, err, "%q: the order of the strings does not matter", lists)
		require.Len(t, got, 1)
	}
}

// P16: 256 entries, counted as typed.
func TestParseNetworksIsBounded(t *testing.T) {
	t.Parallel()
	entries := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "10.0.%d.%d ", i/256, i%256)
		}
		return b.String()
	}
	got, err := apitoken.ParseNetworks(entries(256))
	require.NoError(t, err)
	require.Len(t, got, 256)
	_, err = apitoken.ParseNetworks(entries(257))
	require.ErrorContains(t, err, "more than 256 entries")
	_, err = apitoken.ParseNetworks(strings.Repeat("bad ", 100_000))
	require.Len(t, apitoken.Fields(err), 257, "one for each of the first 256, one for the rest")
}

func FuzzParseNetworks(f *testing.F) {
	for _, s := range []string{
		"", " ", "192.0.2.7", "192.0.2.0/24,2001:db8::/32", "::ffff:192.0.2.0/120;fe80::1%eth0", "010.0.0.1\n1.2.3.4/8",
		"::ffff:0:0/95", "0.0.0.0/0 ::/0", "1.2.3.4:80 [::1]", "\xff", "192.0.2.7/32 192.0.2.7",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := apitoken.ParseNetworks(s)
		entries := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" ,;\n\r\t", r) })
		var want []netip.Prefix
		bad := 0
		for _, e := range entries[:min(len(entries), 256)] {
			if p, ok := networkOracle(e); !ok {
				bad++
			} else if !slices.Contains(want, p) {
				want = append(want, p)
			}
		}
		if len(entries) > 256 || len(entries) == 0 && s != "" {
			bad++
		}
		if !slices.Equal(want, got) {
			t.Fatalf("%q: %v, not %v", s, got, want)
		}
		if n := len(apitoken.Fields(err)); n != bad || (err == nil) != (bad == 0) {
			t.Fatalf("%q: %d faults, not %d: %v", s, n, bad, err)
		}
		again, err := apitoken.ParseNetworks(fmt.Sprint(strings.Trim(fmt.Sprint(got), "[]")))
		if err != nil || !slices.Equal(again, got) {
			t.Fatalf("%v is read back as %v, %v", got, again, err)
		}
	})
}

// networkOracle reads one entry by what netip says of it.
func networkOracle(s string) (netip.Prefix, bool) {
	addr, length, isPrefix := strings.Cut(s, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	bits := a.BitLen()
	if isPrefix {
		p, err := netip.ParsePrefix("::/" + length)
		if err != nil || p.Bits() > bits {
			return netip.Prefix{}, false
		}
		bits = p.Bits()
	}
	if a.Is4In6() {
		a, bits = a.Unmap(), bits-96
	}
	p, err := a.Prefix(bits)
	return p, err == nil && p.Addr() == a
}

// The sorted ranges answer as a walk through the list does.
func TestNetworkSetContains(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		// Few distinct high bits and random lengths make entries lie within and
		// beside each other.
		address := func() netip.Addr {
			if r.IntN(2) == 0 {
				return netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256))})
			}
			b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(r.IntN(4)), 15: byte(r.IntN(256))}
			b[8] = byte(r.IntN(256))
			return netip.AddrFrom16(b)
		}
		var list []netip.Prefix
		for range 1 + r.IntN(40) {
			a := address()
			p, err := a.Prefix(r.IntN(a.BitLen() + 1))
			if r.IntN(3) > 0 {
				p, err = a.Prefix(a.BitLen() - r.IntN(20))
			}
			require.NoError(t, err)
			list = append(list, p)
		}
		contains := apitoken.NetworkSet(list)
		probe := func(a netip.Addr) {
			want := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
			if contains(a) != want {
				t.Fatalf("seed %d: %s in %v: %t", seed, a, list, !want)
			}
		}
		for range 200 {
			probe(address())
		}
		for _, p := range list { // the edges and what is beside them
			for a := range edges(p) {
				probe(a)
			}
		}
	}
}

// edges yields the first and last address of a prefix and their neighbours.
func edges(p netip.Prefix) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		b := p.Addr().AsSlice()
		for i := p.Bits(); i < 8*len(b); i++ {
			b[i/8] |= 1 << (7 - i%8)
		}
		last, _ := netip.AddrFromSlice(b)
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), p.Addr().Next(), last, last.Prev(), last.Next()} {
			if a.IsValid() && !yield(a) {
				return
			}
		}
	}
}

func TestNetworkSetEdges(t *testing.T) {
	t.Parallel()
	contains := apitoken.NetworkSet(prefixes(t, "192.0.2.0/24", "2001:db8::/32", "fe80::/10"))
	for addr, want := range map[string]bool{
		"192.0.2.0":         true,
		"192.0.2.255":       true,
		"192.0.1.255":       false,
		"192.0.3.0":         false,
		"::ffff:192.0.2.7":  true,
		"::ffff:192.0.3.7":  false,
		"::192.0.2.7":       false,
		"2001:db8::1":       true,
		"2001:db9::":        false,
		"fe80::1%eth0":      true,
		"fe80::1":           true,
		"fec0::1%eth0":      false,
		"255.255.255.255":   false,
		"0.0.0.0":           false,
		"::":                false,
		"ffff:ffff:ffff::1": false,
	} {
		require.Equal(t, want, contains(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, contains(netip.Addr{}), "no address is in no list")

	only4 := apitoken.NetworkSet(prefixes(t, "0.0.0.0/0"))
	require.True(t, only4(netip.MustParseAddr("::ffff:1.2.3.4")))
	require.False(t, only4(netip.MustParseAddr("::1")))
	require.False(t, only4(netip.Addr{}))
	only6 := apitoken.NetworkSet(prefixes(t, "::/0"))
	require.False(t, only6(netip.MustParseAddr("1.2.3.4")))
	require.False(t, only6(netip.MustParseAddr("::ffff:1.2.3.4")), "it is an IPv4 address")
	require.False(t, only6(netip.Addr{}))

	damaged := apitoken.NetworkSet([]netip.Prefix{{}})
	require.False(t, damaged(netip.MustParseAddr("1.2.3.4")), "a damaged list lets nobody in")
	require.False(t, damaged(netip.Addr{}))
}

func TestNetworkSetContainsAllocatesNothing(t *testing.T) {
	contains := apitoken.NetworkSet(prefixes(t, "192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"))
	v4, v6 := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if !contains(v4) || !contains(v6) {
			t.Error("not found")
		}
	}))
}

func TestSeenNetwork(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.7":             "192.0.2.0/24",
		"::ffff:192.0.2.7":      "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6":  "2001:db8:1::/48",
		"fe80::1%eth0":          "fe80::/48",
		"255.255.255.255":       "255.255.255.0/24",
		"::ffff:192.0.2.7%eth0": "192.0.2.0/24",
	} {
		require.Equal(t, netip.MustParsePrefix(want), apitoken.SeenNetwork(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, apitoken.SeenNetwork(netip.Addr{}).IsValid())
}

// S1.1: origins are compared as browsers write them.
func TestParseOrigin(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://app.example.com":           "https://app.example.com",
		"HTTPS://App.Example.COM":           "https://app.example.com",
		"https://app.example.com:443":       "https://app.example.com",
		"http://app.example.com:80":         "http://app.example.com",
		"http://app.example.com:443":        "http://app.example.com:443",
		"https://app.example.com:80":        "https://app.example.com:80",
		"https://app.example.com:8443":      "https://app.example.com:8443",
		"https://app.example.com:":          "https://app.example.com",
		"http://localhost:3000":             "http://localhost:3000",
		"http://127.0.0.1:3000":             "http://127.0.0.1:3000",
		"http://[::1]:3000":                 "http://[::1]:3000",
		"http://[::1]":                      "http://[::1]",
		"https://[2001:DB8:0::0:1]:443":     "https://[2001:db8::1]",
		"https://xn--bcher-kva.example":     "https://xn--bcher-kva.example",
		"https://under_score.example":       "https://under_score.example",
		"https://example.com.":              "https://example.com.",
		"https://example.com:65535":         "https://example.com:65535",
		"chrome-extension://abcdefghijklmn": "chrome-extension://abcdefghijklmn",
		"capacitor://localhost":             "capacitor://localhost",
	} {
		got, ok := apitoken.ParseOrigin(in)
		require.True(t, ok, in)
		require.Equal(t, want, got, in)
		again, ok := apitoken.ParseOrigin(got)
		require.True(t, ok && again == got, "%s is not stable", got)
	}
	for name, in := range map[string]string{
		"empty":                       "",
		"null":                        "null",
		"NULL":                        "NULL",
		"host only":                   "app.example.com",
		"host and port":               "app.example.com:443",
		"no scheme":                   "//app.example.com",
		"scheme only":                 "https:",
		"no host":                     "https://",
		"port without host":           "https://:443",
		"path":                        "https://app.example.com/",
		"longer path":                 "https://app.example.com/api",
		"query":                       "https://app.example.com?x",
		"empty query":                 "https://app.example.com?",
		"fragment":                    "https://app.example.com#x",
		"empty fragment":              "https://app.example.com#",
		"user":                        "https://ann@app.example.com",
		"user and password":           "https://ann:pw@app.example.com",
		"empty user":                  "https://@app.example.com",
		"wildcard":                    "https://*.example.com",
		"star":                        "*",
		"backslash":                   `https://app.example.com\`,
		"slash for two":               "https:/app.example.com",
		"file":                        "file:///etc/passwd",
		"opaque":                      "mailto:ann@example.com",
		"data":                        "data:text/html,x",
		"space within":                "https://app.example.com https://b.example.com",
		"two with comma":              "https://app.example.com,https://b.example.com",
		"two hosts with comma":        "https://a.example.com,b.example.com",
		"line break":                  "https://app.example.com\n",
		"NUL":                         "https://app.example.com\x00",
		"port 0":                      "https://app.example.com:0",
		"port with zeros":             "https://app.example.com:0443",
		"port too large":              "https://app.example.com:65536",
		"port much too large":         "https://app.example.com:99999999999999999999",
		"port in words":               "https://app.example.com:https",
		"negative port":               "https://app.example.com:-1",
		"percent-encoded":             "https://app%2eexample.com",
		"zone":                        "http://[fe80::1%25eth0]",
		"IPv4 in brackets":            "http://[127.0.0.1]",
		"IPv6 without brackets":       "http://::1",
		"unclosed bracket":            "http://[::1",
		"name in brackets":            "http://[localhost]",
		"not ASCII":                   "https://bücher.example",
		"letter that lowers into k":   "https://\u212Aelvin.example",
		"full stop of another script": "https://example\u3002com",
		"quotes":                      `https://"app".example.com`,
		"angle brackets":              "https://<script>",
		"too long":                    "https://" + strings.Repeat("a", 250),
		"bidirectional override":      "https://\u202eapp.example.com",
		"scheme that begins with a 1": "1https://app.example.com",
		"header injection":            "https://app.example.com\r\nX: y",
		"semicolon":                   "https://app.example.com;b.example.com",
		"leading space":               " https://app.example.com",
	} {
		got, ok := apitoken.ParseOrigin(in)
		require.False(t, ok, "%s: %q gives %q", name, in, got)
		require.Empty(t, got, name)
	}
}

// S1.1: each bad origin is named, duplicates after normalising are dropped.
func TestOriginLists(t *testing.T) {
	t.Parallel()
	got, err := apitoken.ValidateOrigins(" https://App.example.com ", "https://app.example.com:443", "http://localhost:3000")
	require.NoError(t, err)
	require.Equal(t, []string{"https://app.example.com", "http://localhost:3000"}, got)

	_, err = apitoken.ValidateOrigins("https://app.example.com", "null", "https://app.example.com/x")
	var fields []string
	for _, f := range apitoken.Fields(err) {
		fields = append(fields, f.Field)
		require.Contains(t, f.Problem, "scheme://host")
	}
	require.Equal(t, []string{"origins[1]", "origins[2]"}, fields)

	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("https://h%d.example", i)
	}
	got, err = apitoken.ValidateOrigins(many[:64]...)
	require.NoError(t, err)
	require.Len(t, got, 64)
	_, err = apitoken.ValidateOrigins(many...)
	require.ErrorContains(t, err, "at most 64")
}

func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{"https://app.example.com:443", "http://[::1]:80", "null", "HTTP://A_b.C:8080", "https://a/b", "x://%61", "http://[::ffff:1.2.3.4]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := apitoken.ParseOrigin(s)
		if !ok {
			if o != "" {
				t.Fatalf("%q is refused and gives %q", s, o)
			}
			return
		}
		scheme, host, found := strings.Cut(o, "://")
		if !found || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@\\ ,;%*\"<>'") || strings.ToLower(o) != o {
			t.Fatalf("%q gives %q", s, o)
		}
		for i := range len(o) {
			if o[i] <= ' ' || o[i] > '~' {
				t.Fatalf("%q gives %q", s, o)
			}
		}
		if strings.HasSuffix(o, ":80") && scheme == "http" || strings.HasSuffix(o, ":443") && scheme == "https" {
			t.Fatalf("%q keeps a default port: %q", s, o)
		}
		if again, ok := apitoken.ParseOrigin(o); !ok || again != o {
			t.Fatalf("%q is read back as %q, %t", o, again, ok)
		}
	})
}
