package apitoken_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/tokenry/apitoken"
)

// Hashes of other implementations: of the reference code of argon2 and of
// crypt_blowfish.
const (
	referenceArgon  = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4" // "password"
	referenceBcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"                         // "U*U"
)

func TestHashesOfOthers(t *testing.T) {
	t.Parallel()
	require.True(t, apitoken.ArgonMatches(referenceArgon, "password"))
	require.False(t, apitoken.ArgonMatches(referenceArgon, "passwore"))
	own := apitoken.NewArgonHash(weak)
	require.True(t, apitoken.ArgonMatches(own, weak))
	require.False(t, apitoken.ArgonMatches(own, weak+"x"))
	require.True(t, strings.HasPrefix(own, "$argon2id$v=19$m=19456,t=2,p=1$"))
	require.NotEqual(t, own, apitoken.NewArgonHash(weak), "each has its own salt")
	for _, minor := range []string{"a", "b", "y"} { // y is PHP's
		text := "$2" + minor + referenceBcrypt[3:]
		require.NoError(t, apitoken.CheckBcrypt(text))
		require.NoError(t, bcrypt.CompareHashAndPassword([]byte(text), []byte("U*U")))
	}
}

func TestParseArgonHash(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string {
		require.Contains(t, referenceArgon, old)
		return strings.Replace(referenceArgon, old, new, 1)
	}
	for _, c := range []struct{ name, text, problem string }{
		{"good", referenceArgon, ""},
		{"what RFC 9106 recommends second", with("m=256,t=2,p=1", "m=65536,t=3,p=4"), ""},
		{"empty", "", "form"},
		{"argon2i", with("argon2id", "argon2i"), "form"},
		{"argon2d", with("argon2id", "argon2d"), "form"},
		{"no version", with("$v=19", ""), "form"},
		{"old version", with("v=19", "v=16"), "form"},
		{"more behind it", referenceArgon + "$", "form"},
		{"before it", "x" + referenceArgon, "form"},
		{"a parameter too many", with("p=1", "p=1,keyid=x"), "parameters"},
		{"a parameter too few", with(",p=1", ""), "parameters"},
		{"another order", with("m=256,t=2", "t=2,m=256"), "numbers"},
		{"a sign", with("t=2", "t=+2"), "numbers"},
		{"negative", with("t=2", "t=-2"), "numbers"},
		{"hexadecimal", with("m=256", "m=0x100"), "numbers"},
		{"leading zero", with("t=2", "t=02"), "numbers"},
		{"overflow", with("m=256", "m=99999999999999999999"), "numbers"},
		{"wraps to a small product", with("m=256,t=2", "m=65536,t=65536"), "costs too much"},
		{"no pass", with("t=2", "t=0"), "bounds"},
		{"no thread", with("p=1", "p=0"), "bounds"},
		{"many threads", with("p=1", "p=17"), "bounds"},
		{"threads beyond a byte", with("p=1", "p=257"), "bounds"},
		{"no memory", with("m=256", "m=7"), "bounds"},
		{"more memory", with("m=256", "m=65537"), "costs too much"},
		{"all memory", with("m=256", "m=4194304"), "costs too much"},
		{"more passes", with("m=256,t=2", "m=65536,t=5"), "costs too much"},
		{"short salt", with("c29tZXNhbHQ", "c29tZXNhbA"), "salt"},
		{"padded salt", with("c29tZXNhbHQ", "c29tZXNhbHQ="), "salt"},
		{"salt with loose bits", with("c29tZXNhbHQ", "c29tZXNhbHR"), "salt"},
		{"salt with a line break", with("c29tZXNhbHQ", "c29tZX\nNhbHQ"), "salt"},
		{"short hash", referenceArgon[:strings.LastIndex(referenceArgon, "$")+16], "hash"},
		{"no hash", referenceArgon[:strings.LastIndex(referenceArgon, "$")+1], "hash"},
		{"long hash", with("nf65EOgL", strings.Repeat("AAAA", 20)), "hash"},
		{"longer than any", with("$c29t", "$"+strings.Repeat("c29t", 64)), "longer than 256"},
	} {
		_, _, _, _, _, again, err := apitoken.ParseArgonHash(c.text)
		if c.problem == "" {
			require.NoError(t, err, c.name)
			require.Equal(t, c.text, again, c.name)
			continue
		}
		require.ErrorContains(t, err, c.problem, c.name)
		require.NotContains(t, err.Error(), "c29t", c.name)
		require.NotContains(t, err.Error(), "nf65", c.name)
	}
}

func TestCheckBcrypt(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "short": referenceBcrypt[:59], "long": referenceBcrypt + "W", "no dollar": "x" + referenceBcrypt[1:],
		"of another kind": "$5" + referenceBcrypt[2:], "of an unknown minor": "$2z" + referenceBcrypt[3:], "of the faulty minor": "$2x" + referenceBcrypt[3:],
		"a cost that is none": strings.Replace(referenceBcrypt, "05", "+5", 1), "too cheap": strings.Replace(referenceBcrypt, "05", "03", 1),
		"too dear": strings.Replace(referenceBcrypt, "05", "15", 1), "of days": strings.Replace(referenceBcrypt, "05", "31", 1),
		"another letter": referenceBcrypt[:59] + "=", "a line break": referenceBcrypt[:59] + "\n",
	} {
		err := apitoken.CheckBcrypt(text)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "CCCC", name)
	}
}

func TestDecodeDigest(t *testing.T) {
	t.Parallel()
	raw := []byte(strings.Repeat("\xfb\xff\xfe\x01", 8))
	good := map[string]string{
		"hex": hex.EncodeToString(raw), "HEX": strings.ToUpper(hex.EncodeToString(raw)),
		"base64": base64.StdEncoding.EncodeToString(raw), "unpadded": base64.RawStdEncoding.EncodeToString(raw),
		"of URLs": base64.URLEncoding.EncodeToString(raw), "of URLs, unpadded": base64.RawURLEncoding.EncodeToString(raw),
	}
	for name, text := range good {
		got, ok := apitoken.DecodeDigest(text, 32)
		require.True(t, ok, name)
		require.Equal(t, raw, got, name)
		for _, bad := range []string{text[1:], text + "A", " " + text, text + "\n", text[:8] + "\r\n" + text[8:], text + text, strings.Repeat(text, 100)} {
			_, ok := apitoken.DecodeDigest(bad, 32)
			require.False(t, ok, "%s: %q", name, bad)
		}
		_, ok = apitoken.DecodeDigest(text, 64)
		require.False(t, ok, name)
	}
	_, ok := apitoken.DecodeDigest("", 32)
	require.False(t, ok)
}

// Slow hashes are computed only so many at once; some requests wait, the rest is
// refused, and a wait ends with its context. Nobody who knows no ID or handle
// makes the server compute one.
func TestSlowHashesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newImportWorld(t, func(o *apitoken.Options) { o.SlowHashes = 1 })
		w.importOne(row(func(r *apitoken.ImportRow) {
			r.Format, r.Handle, r.Digest = "slow", slowKey[:12], bcryptOf(slowKey)
		}))
		release := w.Service.HoldSlowHash()
		for _, unknown := range []string{"sk_z9z9z9z9_secretsecret", oldKey} {
			_, err := w.present("", unknown)
			require.ErrorIs(t, err, apitoken.ErrUnknownToken, "is refused without a place")
		}
		ended, cancel := context.WithCancel(t.Context())
		answers := make(chan error, 17)
		ask := func(ctx context.Context) {
			_, err := w.Service.Verify(ctx, apitoken.VerifyRequest{Token: slowKey})
			answers <- err
		}
		go ask(ended)
		for range 15 {
			go ask(t.Context())
		}
		synctest.Wait()
		_, err := w.present("", slowKey)
		oneFamily(t, err, apitoken.ErrUnavailable)
		require.NotContains(t, err.Error(), "sk_")
		_, err = w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: slowKey}})
		oneFamily(t, err, apitoken.ErrUnavailable)
		cancel()
		synctest.Wait()
		oneFamily(t, <-answers, apitoken.ErrUnavailable)
		release()
		for range 15 {
			require.NoError(t, <-answers)
		}
		release = w.Service.HoldSlowHash()
		for range 16 {
			go ask(t.Context())
		}
		synctest.Wait()
		require.Empty(t, answers, "those who waited before left their places in the queue")
		release()
		for range 16 {
			require.NoError(t, <-answers)
		}
		_, err = w.Service.Verify(ended, apitoken.VerifyRequest{Token: slowKey})
		oneFamily(t, err, apitoken.ErrUnavailable)
	})
}

// What is accepted is within the bounds, is the one text of its hash, and can be
// computed; what is refused is refused without a panic and repeats nothing.
func FuzzParseArgonHash(f *testing.F) {
	for _, seed := range []string{
		referenceArgon, "", "$argon2id$v=19$m=65536,t=4,p=16$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg", "$argon2id$v=19$m=4294967295,t=4294967295,p=255$c29tZXNhbHQ$nf65",
		"$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", referenceBcrypt, "$$$$$", "$argon2id$v=19$m=,t=,p=$$",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		memory, passes, threads, salt, sum, again, err := apitoken.ParseArgonHash(text)
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 200)
			if len(text) > 64 { // longer than any piece of the messages
				require.NotContains(t, err.Error(), text)
			}
			return
		}
		require.Equal(t, text, again)
		require.True(t, memory >= 8 && memory <= apitoken.MaxArgonMemory && passes >= 1 && threads >= 1 && threads <= 16)
		require.LessOrEqual(t, uint64(memory)*uint64(passes), uint64(apitoken.MaxArgonWork))
		require.True(t, len(salt) >= 8 && len(salt) <= 64 && len(sum) >= 16 && len(sum) <= 64)
		if uint64(memory)*uint64(passes) <= 1024 {
			require.False(t, apitoken.ArgonMatches(text, "not this one"))
		}
	})
}
