package httpauth_test

import (
	"fmt"
	"net/http/httptest"
	"net/netip"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// Behind a balancer the client's address is the last one that no proxy of ours
// has. What stands left of it was written by the client.
func ExampleAuth_ClientAddr() {
	tokens, _ := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	})

	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:4711"
	r.Header.Add("X-Forwarded-For", "192.168.0.1, 198.51.100.7")
	r.Header.Add("X-Forwarded-For", "10.0.0.2")
	fmt.Println(auth.ClientAddr(r))

	r.RemoteAddr = "203.0.113.1:4711" // past the balancer
	fmt.Println(auth.ClientAddr(r))
	// Output:
	// 198.51.100.7 <nil>
	// 203.0.113.1 <nil>
}

// A list that trusts everybody would let every client choose its address, and is
// refused.
func ExampleOptions_Check() {
	opts := httpauth.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		Headers:        []string{"Cookie"},
	}
	fmt.Println(opts.Check())
	// Output:
	// httpauth: Options.Headers[0] "Cookie" cannot carry a token: name a header of your own
	// httpauth: Options.TrustedProxies[0] 0.0.0.0/0 trusts everybody, so that every client could choose its address: name the proxies
}
