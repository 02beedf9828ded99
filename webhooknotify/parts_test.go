package webhooknotify_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/webhooknotify"
)

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		want bool
		all  string
	}{
		{"public", true, "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 " +
			"172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 2000:: 2606:4700::1111 2a00:1450::1 64:ff9b::808:808"},
		{"this host", false, "0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.255 :: ::1"},
		{"private", false, "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 fc00::1 fd12::1 fec0::1"},
		{"link-local, with cloud metadata", false, "169.254.0.0 169.254.169.254 169.254.255.255 fe80::1 fe80::1%eth0 febf::1"},
		{"shared", false, "100.64.0.0 100.100.100.200 100.127.255.255"},
		{"multicast", false, "224.0.0.1 239.255.255.255 ff02::1 ff0e::1"},
		{"reserved", false, "192.0.0.8 192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 192.88.99.1 240.0.0.1 255.255.255.255 2001:db8::1 3fff::1 4000::1 100::1"},
		{"IPv4 in IPv6", false, "::ffff:8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 2002:7f00:1:: 2001:0:7f00:1::"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for text := range strings.FieldsSeq(tt.all) {
				require.Equal(t, tt.want, webhooknotify.Public(netip.MustParseAddr(text)), text)
			}
		})
	}
	require.False(t, webhooknotify.Public(netip.Addr{}))
}

// The vector that the standard's own library is tested with.
func TestSignVector(t *testing.T) {
	t.Parallel()
	key, problem := webhooknotify.ParseSecret(secret)
	require.Empty(t, problem)
	body := []byte(`{"test": 2432232314}`)
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	require.Equal(t, want, webhooknotify.Sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body))
	require.Equal(t, want+" "+want, webhooknotify.Sign([][]byte{key, key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body))
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, secret, want string }{
		{"24 bytes", "whsec_" + strings.Repeat("AAAA", 8), ""},
		{"64 bytes", "whsec_" + strings.Repeat("AAAA", 21) + "AA==", ""},
		{"23 bytes", "whsec_" + strings.Repeat("AAAA", 7) + "AAA=", "has 23 bytes"},
		{"65 bytes", "whsec_" + strings.Repeat("AAAA", 21) + "AAA=", "has 65 bytes"},
		{"none", "", "does not begin"},
		{"no prefix", strings.Repeat("AAAA", 8), "does not begin"},
		{"a private key of the asymmetric scheme", "whsk_" + strings.Repeat("AAAA", 8), "does not begin"},
		{"not base64", "whsec_" + strings.Repeat("****", 8), "is not base64"},
		{"unpadded", "whsec_" + strings.Repeat("AAAA", 8) + "AA", "is not base64"},
		{"a line break around", "whsec_" + strings.Repeat("AAAA", 8) + " ", "is not base64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key, problem := webhooknotify.ParseSecret(apitoken.NewSecret(tt.secret))
			if tt.want == "" {
				require.Empty(t, problem)
				return
			}
			require.Contains(t, problem, tt.want)
			require.Nil(t, key)
		})
	}
}

func TestNewSecret(t *testing.T) {
	t.Parallel()
	a, b := webhooknotify.NewSecret(), webhooknotify.NewSecret()
	require.NotEqual(t, a.Reveal(), b.Reveal())
	key, problem := webhooknotify.ParseSecret(a)
	require.Empty(t, problem)
	require.Len(t, key, 32)
}

// An event's ID may hold a tenant's name, and always has full stops; the
// message's is made of characters that no header and no signed text minds.
func TestMessageID(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, id := range []string{"", "a.1.0", "a.1.1", "tenant:ac.me\r\nX: y.1.0", "tenant:Ä.1.0", strings.Repeat("x", 1000)} {
		got := webhooknotify.MessageID(id)
		require.Regexp(t, `^evt_[0-9a-f]{32}$`, got)
		require.False(t, seen[got])
		require.Equal(t, got, webhooknotify.MessageID(id))
		seen[got] = true
	}
}

// The oldest are forgotten, and no more is kept than is said.
func TestMemory(t *testing.T) {
	t.Parallel()
	var m webhooknotify.Memory
	name := func(i int) string { return time.Duration(i).String() }
	for i := range webhooknotify.MaxRemembered {
		m.Add(name(i), "to")
	}
	m.Add(name(0), "to") // known already: nothing is pushed out
	require.True(t, m.Has(name(0), "to"))
	require.False(t, m.Has(name(0), "elsewhere"))
	m.Add("new", "to")
	require.True(t, m.Has("new", "to"))
	require.False(t, m.Has(name(0), "to"))
	require.True(t, m.Has(name(1), "to"))
	for i := range 2 * webhooknotify.MaxRemembered {
		m.Add(name(-i-1), "to")
	}
	require.False(t, m.Has("new", "to"))
	m.Add("a", "bc")
	require.False(t, m.Has("ab", "c"))
}

// What is signed here, the standard's library takes, whatever the body; and no
// other body under the same signature.
func FuzzSign(f *testing.F) {
	f.Add("id.1.0", []byte("{}"))
	f.Add("", []byte(nil))
	f.Add("tenant:a.b", []byte("\x00.\n"))
	lib, err := standardwebhooks.NewWebhook(secret.Reveal())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, id string, body []byte) {
		key, _ := webhooknotify.ParseSecret(secret)
		message := webhooknotify.MessageID(id)
		header := map[string][]string{
			"Webhook-Id": {message}, "Webhook-Timestamp": {"1803902400"},
			"Webhook-Signature": {webhooknotify.Sign([][]byte{key}, message, start.Unix(), body)},
		}
		require.NoError(t, lib.VerifyIgnoringTimestamp(body, header))
		require.Error(t, lib.VerifyIgnoringTimestamp(append(body, 0), header))
	})
}
