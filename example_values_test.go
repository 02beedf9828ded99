package apitoken_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// A Secret shows its text to nobody who does not ask for it by name.
func ExampleSecret() {
	secret := apitoken.NewSecret("acme_do-not-print-me")
	fmt.Println(secret)
	fmt.Printf("%+v %#v %x\n", struct{ key apitoken.Secret }{secret}.key, secret, secret)
	b, _ := json.Marshal(map[string]any{"token": secret})
	fmt.Println(string(b))
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	log.Info("issued", "secret", secret)
	// Output:
	// [redacted]
	// [redacted] [redacted] [redacted]
	// {"token":"[redacted]"}
	// level=INFO msg=issued secret=[redacted]
}

// Reveal is the one way to the text: easy to find in a review.
func ExampleSecret_Reveal() {
	secret := apitoken.NewSecret("acme_shown-once")
	fmt.Println(secret.Reveal())
	// Output: acme_shown-once
}

// What people type into a form comes with all sorts of separators. Each bad
// entry is reported by itself, and the good ones are there beside it.
func ExampleParseNetworks() {
	networks, err := apitoken.ParseNetworks("192.0.2.0/24, 198.51.100.7; 198.51.100.300\n2001:db8::/32 192.0.2.9/24")
	fmt.Println(networks)
	for _, fault := range apitoken.Fields(err) {
		fmt.Printf("%s: %s\n", fault.Field, fault.Problem)
	}
	// Output:
	// [192.0.2.0/24 198.51.100.7/32 2001:db8::/32]
	// networks[2]: invalid IP address "198.51.100.300": write one address such as 192.0.2.7 or 2001:db8::7, or a prefix such as 192.0.2.0/24
	// networks[4]: invalid IP address "192.0.2.9/24": bits are set after the prefix: write 192.0.2.0/24, or the address alone
}

// An IPv4 address written as IPv6 is the IPv4 address.
func ExampleParseNetworks_normalised() {
	networks, err := apitoken.ParseNetworks("::ffff:192.0.2.7", "192.0.2.7/32")
	fmt.Println(networks, err)
	fmt.Println(networks[0].Contains(netip.MustParseAddr("192.0.2.7")))
	// Output:
	// [192.0.2.7/32] <nil>
	// true
}

// The ways to say when a token expires. The zero Expiry leaves it to the kind's
// policy, which here is never.
func ExampleExpiry() {
	now := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{Clock: apitoken.ClockFunc(func() time.Time { return now })})
	if err != nil {
		panic(err)
	}
	for _, e := range []apitoken.Expiry{
		{},
		apitoken.NeverExpires(),
		apitoken.ExpiresOn("2027-12-31"),
		apitoken.ExpiresAt(now.Add(90 * time.Minute)),
		apitoken.ExpiresIn(36 * time.Hour),
		apitoken.ExpiresAfter(apitoken.Period{Years: 1}),
		apitoken.ExpiresOn("31.12.2027"),
	} {
		issued, err := tokens.Issue(context.Background(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "nightly", Expiry: e})
		switch {
		case err != nil:
			fmt.Println(err)
		case issued.Token.ExpiresAt.IsZero():
			fmt.Println("never")
		default:
			fmt.Println(issued.Token.ExpiresAt.Format(time.DateTime))
		}
	}
	// Output:
	// never
	// never
	// 2027-12-31 00:00:00
	// 2027-03-01 13:30:00
	// 2027-03-03 00:00:00
	// 2028-03-01 12:00:00
	// apitoken: expiry: "31.12.2027" is no date: write YYYY-MM-DD, such as 2027-01-31
}

func ExamplePeriod() {
	for _, p := range []apitoken.Period{{Days: 90}, {Years: 1}, {Years: 1, Days: 1}} {
		fmt.Println(p)
	}
	// Output:
	// 90 days
	// 1 year
	// 1 year and 1 day
}

// A new token of the sliding family has half of each limit, never nothing.
func ExampleLimit_Share() {
	fmt.Println(apitoken.Limit{Quota: 600, Window: time.Minute}.Share(50).Quota)
	fmt.Println(apitoken.Limit{Quota: 1, Window: time.Minute}.Share(50).Quota)
	fmt.Println(apitoken.Limit{Quota: 0, Window: time.Minute}.Share(50).Quota)
	// Output:
	// 300
	// 1
	// 0
}

// A caller needs to know the families only; the reason is for logs and metrics.
func ExampleReasonOf() {
	err := fmt.Errorf("GET /devices: %w", apitoken.ErrDisabled)
	fmt.Println(errors.Is(err, apitoken.ErrUnauthenticated), apitoken.ReasonOf(err))
	// Output: true disabled
}

// New tells everything that is wrong with its options at once.
func ExampleNew_faults() {
	_, err := apitoken.New(nil, apitoken.Options{
		Prefix: "Acme",
		Kinds:  map[apitoken.Kind]apitoken.Policy{"personal": {Share: 150, Grant: apitoken.GrantLive}},
	})
	for _, fault := range apitoken.Fields(err) {
		fmt.Println(fault.Field)
	}
	// Output:
	// store
	// Prefix
	// Kinds["personal"].Share
	// Kinds["personal"].Grant
}

// Colours for a list: green was used lately, red ends soon.
func ExampleHealth() {
	now := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	token := apitoken.View{Token: apitoken.Token{State: apitoken.StateActive}}
	fmt.Println(apitoken.Health(token, now))
	token.Usage.LastUsed = now.Add(-time.Hour)
	fmt.Println(apitoken.Health(token, now))
	token.ExpiresAt = now.AddDate(0, 0, 7)
	fmt.Println(apitoken.Health(token, now))
	token.Suspicious = true
	fmt.Println(apitoken.Health(token, now))
	// Output:
	// grey
	// green
	// red
	// yellow
}
