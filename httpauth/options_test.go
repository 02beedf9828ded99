package httpauth_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/httpauth"
)

func TestOptionsCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts httpauth.Options
		want []string // nil = fine; else what the joined errors say, one each
	}{
		{name: "zero"},
		{name: "everything", opts: httpauth.Options{
			Headers: []string{"X-WallarmApi-Token", "x-api-key"}, LegacyIDHeader: "X-UUID", LegacySecretHeader: "X-Secret",
			TrustedProxies: prefixes("10.0.0.0/8", "2001:db8::/32", "::ffff:10.0.0.0/104", "192.0.2.7/32"),
			FailedAttempts: httpauth.FailedAttempts{Limit: 5, Window: time.Hour, MaxAddresses: 2}, Realm: "Acme API, v2",
		}},
		{name: "header with a space", opts: httpauth.Options{Headers: []string{"X Token"}}, want: []string{`Headers[0] "X Token" is no header name`}},
		{name: "header with a colon", opts: httpauth.Options{Headers: []string{"X-Token:"}}, want: []string{"Headers[0]"}},
		{name: "header not ASCII", opts: httpauth.Options{Headers: []string{"X-Tökén"}}, want: []string{"Headers[0]"}},
		{name: "header empty", opts: httpauth.Options{Headers: []string{"X-Token", ""}}, want: []string{"Headers[1]"}},
		{name: "header twice", opts: httpauth.Options{Headers: []string{"X-Token", "x-token"}}, want: []string{"Headers[1] \"x-token\" is named twice"}},
		{name: "Authorization", opts: httpauth.Options{Headers: []string{"authorization"}}, want: []string{"cannot carry a token"}},
		{name: "cookie", opts: httpauth.Options{Headers: []string{"Cookie"}}, want: []string{"cannot carry a token"}},
		{name: "forwarded", opts: httpauth.Options{LegacyIDHeader: "X-Forwarded-For", LegacySecretHeader: "X-Secret"}, want: []string{"LegacyIDHeader"}},
		{name: "ID without secret", opts: httpauth.Options{LegacyIDHeader: "X-UUID"}, want: []string{"needed together"}},
		{name: "secret without ID", opts: httpauth.Options{LegacySecretHeader: "X-Secret"}, want: []string{"needed together"}},
		{name: "ID is secret", opts: httpauth.Options{LegacyIDHeader: "X-A", LegacySecretHeader: "X-A"}, want: []string{"LegacySecretHeader"}},
		{name: "secret is a token header", opts: httpauth.Options{
			Headers: []string{"X-Secret"}, LegacyIDHeader: "X-UUID", LegacySecretHeader: "X-Secret",
		}, want: []string{"LegacySecretHeader"}},
		{name: "no prefix", opts: httpauth.Options{TrustedProxies: []netip.Prefix{{}}}, want: []string{"TrustedProxies[0] is no prefix"}},
		{name: "everybody of IPv4", opts: httpauth.Options{TrustedProxies: prefixes("0.0.0.0/0")}, want: []string{"trusts everybody"}},
		{name: "everybody of IPv6", opts: httpauth.Options{TrustedProxies: prefixes("10.0.0.0/8", "::/0")}, want: []string{"TrustedProxies[1]"}},
		{name: "everybody of IPv4 written as IPv6", opts: httpauth.Options{TrustedProxies: prefixes("::ffff:0.0.0.0/96")}, want: []string{"trusts everybody"}},
		{name: "mixed", opts: httpauth.Options{TrustedProxies: prefixes("::ffff:0.0.0.0/90")}, want: []string{"mixes IPv4 and IPv6"}},
		{name: "realm with a quote", opts: httpauth.Options{Realm: `a"b`}, want: []string{"Realm"}},
		{name: "realm with a newline", opts: httpauth.Options{Realm: "a\r\nSet-Cookie: b"}, want: []string{"Realm"}},
		{name: "realm too long", opts: httpauth.Options{Realm: strings.Repeat("a", 129)}, want: []string{"Realm has 129 bytes"}},
		{name: "negative attempts", opts: httpauth.Options{
			FailedAttempts: httpauth.FailedAttempts{Limit: -1, Window: -1, MaxAddresses: -1},
		}, want: []string{"FailedAttempts.Limit", "FailedAttempts.Window", "FailedAttempts.MaxAddresses"}},
		{name: "one address", opts: httpauth.Options{
			FailedAttempts: httpauth.FailedAttempts{Limit: 1, MaxAddresses: 1},
		}, want: []string{"at least 2"}},
		{name: "all at once", opts: httpauth.Options{
			Headers: []string{""}, LegacyIDHeader: "X-UUID", TrustedProxies: prefixes("::/0"), Realm: `\`,
		}, want: []string{"Headers[0]", "LegacyIDHeader", "TrustedProxies[0]", "Realm"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.opts.Check()
			if tc.want == nil {
				require.NoError(t, err)
				httpauth.New(new(fakeVerifier), tc.opts)
				return
			}
			faults := strings.Split(err.Error(), "\n")
			require.Len(t, faults, len(tc.want), "%v", err)
			for i, want := range tc.want {
				require.Contains(t, faults[i], "httpauth: Options.")
				require.Contains(t, faults[i], want)
			}
		})
	}
}
