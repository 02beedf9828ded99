package apitoken_test

import (
	"encoding/hex"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// goldenTokens guard the format: tokens that were issued must be read for ever.
// A change that breaks this table needs a new format beside the old one, not new
// lines here. The checksums were computed with zlib's crc32 outside this module.
var goldenTokens = []struct {
	prefix string
	id     apitoken.ID
	secret string
	token  string
}{
	{"token", "0000000000000000000000", "0000000000000000000000000000000000000000000",
		"token_000000000000000000000000000000000000000000000000000000000000000001wQaJv"},
	{"acme", "zzzzzzzzzzzzzzzzzzzzzz", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
		"acme_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz4bpHAz"},
	{"acme_live", "4fXk2QpWmR7tYc9BvN1sHd", "Zk3vQ8xLw5RtY1nMb7CfD2gHjK9pS4aE6uV0iXoWqTz",
		"acme_live_4fXk2QpWmR7tYc9BvN1sHdZk3vQ8xLw5RtY1nMb7CfD2gHjK9pS4aE6uV0iXoWqTz17cyN1"},
	{"a", "ABCDEFGHIJKLMNOPQRSTUV", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg",
		"a_ABCDEFGHIJKLMNOPQRSTUV0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1riAJ3"},
	{strings.Repeat("a", 64), "4fXk2QpWmR7tYc9BvN1sHd", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_4fXk2QpWmR7tYc9BvN1sHd0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0lodiy"},
	{"x2_4_y", "0000000000000000000000", "Zk3vQ8xLw5RtY1nMb7CfD2gHjK9pS4aE6uV0iXoWqTz",
		"x2_4_y_0000000000000000000000Zk3vQ8xLw5RtY1nMb7CfD2gHjK9pS4aE6uV0iXoWqTz1gR9tG"},
	{"acme", "0000000000000000000403", "0000000000000000000000000000000000000000000",
		"acme_0000000000000000000403000000000000000000000000000000000000000000000mnMJ"}, // a checksum with leading zeros
}

func TestTokenStringIsGolden(t *testing.T) {
	t.Parallel()
	for _, g := range goldenTokens {
		t.Run(g.token, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, g.token, apitoken.FormatToken(g.prefix, g.id, g.secret))
			prefix, id, secret, ok := apitoken.ParseToken(g.token)
			require.True(t, ok)
			require.Equal(t, []string{g.prefix, string(g.id), g.secret}, []string{prefix, string(id), secret})
			require.LessOrEqual(t, len(g.token), apitoken.MaxTokenLength)
		})
	}
}

// What is stored must be recomputed for ever, too. The digests were computed
// with Python's hashlib.
func TestDigestsAreGolden(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{
		"0000000000000000000000000000000000000000000": "dba41aeed3e60b60849129f4faaca13d4bdac77f47715f7f83d058d33cbb79a3",
		"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz": "b374b111440437d7ef982f8e7caccd0ba2ea381a2eefdd5c8f882d9dd5202f7a",
		"Zk3vQ8xLw5RtY1nMb7CfD2gHjK9pS4aE6uV0iXoWqTz": "e35bd7ad41ceb5289acb036a00aa10eb5a32c2e777b0fe34831c4b41683b259f",
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg": "b7039cf323c8df8b009eec8a1c4342227c519e9d3052d3615da9276bcd36dc0c",
	} {
		sum := apitoken.DigestSecret(secret)
		require.Equal(t, want, hex.EncodeToString(sum[:]), secret)
	}
	sum := apitoken.DigestLegacy("uuid-1", "secret-of-twenty-bytes")
	require.Equal(t, "8178e2d8b3d3e993aecb0774c47ae285e9f3d1afe862bcf2dbddbb96c95d2540", hex.EncodeToString(sum[:]))
	require.NotEqual(t, sum, apitoken.DigestLegacy("uuid-1s", "ecret-of-twenty-bytes"), "the border between ID and secret counts")
}

func TestParseTokenRefuses(t *testing.T) {
	t.Parallel()
	good := goldenTokens[2].token
	id, secret := goldenTokens[2].id, goldenTokens[2].secret
	for name, s := range map[string]string{
		"empty":                            "",
		"underscore":                       "_",
		"body without prefix":              apitoken.FormatToken("", id, secret),
		"prefix of 65 bytes":               apitoken.FormatToken(strings.Repeat("a", 65), id, secret),
		"no underscore":                    strings.ReplaceAll(good, "_", ""),
		"hyphen for the last underscore":   good[:9] + "-" + good[10:],
		"space before":                     " " + good,
		"space after":                      good + " ",
		"newline after":                    good + "\n",
		"quoted":                           `"` + good + `"`,
		"twice":                            good + good,
		"short ID, right checksum":         apitoken.FormatToken("acme", id[1:], secret),
		"short secret, right checksum":     apitoken.FormatToken("acme", id, secret[1:]),
		"long secret, right checksum":      apitoken.FormatToken("acme", id, secret+"0"),
		"underscore in ID, right checksum": apitoken.FormatToken("acme", "_"+id[1:], secret),
		"hyphen in secret, right checksum": apitoken.FormatToken("acme", id, "-"+secret[1:]),
		"NUL in secret, right checksum":    apitoken.FormatToken("acme", id, "\x00"+secret[1:]),
		"high byte in ID, right checksum":  apitoken.FormatToken("acme", "\xff"+id[1:], secret),
		"fullwidth digit, right checksum":  apitoken.FormatToken("acme", id, "\uff10"+secret[3:]),
		"checksum in upper case":           good[:len(good)-6] + strings.ToUpper(good[len(good)-6:]),
		"checksum of another token":        good[:len(good)-6] + "4bpHAz",
		"checksum of zeros":                good[:len(good)-6] + "000000",
		"prefix of another kind":           "acme_test" + good[9:],
		"prefix in upper case":             "ACME_live" + good[9:],
		"ID and secret exchanged":          good[:10] + secret + string(id) + good[len(good)-6:],
		"longer than a credential can be":  strings.Repeat("a", apitoken.MaxTokenLength+1),
		"prefix as long as a request":      strings.Repeat("a", 1<<20) + "_" + good,
		"another library's, with base64":   "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",
		"a JWT":                            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
		"underscores only":                 strings.Repeat("_", len(good)),
		"not UTF-8":                        strings.Repeat("\xc3\x28", len(good)/2),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, _, ok := apitoken.ParseToken(s)
			require.False(t, ok, "%q", s)
		})
	}
}

// untouchable is a store that must not be asked: it has no methods.
type untouchable struct{ apitoken.Store }

// P8: a damaged token is refused before any store call, whatever the damage. The
// checksum has 32 bits, so one of 4e9 random strings passes; none of these does.
func TestDamagedTokensAreRefusedUnasked(t *testing.T) {
	t.Parallel()
	s, err := apitoken.New(untouchable{}, apitoken.Options{Prefix: "acme", OldPrefixes: []string{"token", "a", "acme_live"}})
	require.NoError(t, err)
	const mutations = 1_000_000
	r := rand.New(rand.NewPCG(1, 2))
	ctx := t.Context()
	done := 0
	for done < mutations {
		good := goldenTokens[r.IntN(4)].token
		bad := mutate(r, good)
		if bad == good {
			continue
		}
		done++
		if _, _, _, ok := apitoken.ParseToken(bad); ok {
			t.Fatalf("accepted %q, made from %q", bad, good)
		}
		if bad == "" {
			continue // no credential at all
		}
		if _, err := s.Verify(ctx, apitoken.VerifyRequest{Token: bad}); err != apitoken.ErrMalformedToken {
			t.Fatalf("%q: %v", bad, err)
		}
	}
}

func mutate(r *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + r.IntN(3) {
		if len(b) == 0 {
			return ""
		}
		i, j := r.IntN(len(b)), r.IntN(len(b))
		switch r.IntN(10) {
		case 0: // one bit
			b[i] ^= 1 << r.IntN(8)
		case 1: // one byte
			b[i] = byte(r.IntN(256))
		case 2: // one character for another
			b[i] = apitoken.Base62[r.IntN(62)]
		case 3: // cut off at the end
			b = b[:i]
		case 4: // cut off at the beginning
			b = b[i:]
		case 5: // more at the end
			b = append(b, apitoken.Base62[r.IntN(62)])
		case 6: // one more in the middle
			b = append(b[:i], append([]byte{apitoken.Base62[r.IntN(62)]}, b[i:]...)...)
		case 7: // one less in the middle
			b = append(b[:i], b[i+1:]...)
		case 8: // two exchanged
			b[i], b[j] = b[j], b[i]
		case 9: // the other case
			b[i] ^= 0x20
		}
	}
	return string(b)
}

var tokenForm = regexp.MustCompile(`^(?s)(.{1,64})_([0-9A-Za-z]{22})([0-9A-Za-z]{43})([0-9A-Za-z]{6})$`)

// isToken says the same as the parser in another way: a regular expression over
// bytes and a checksum that is decoded instead of encoded.
func isToken(s string) bool {
	latin := make([]rune, 0, len(s)) // so that '.' is one byte
	for i := range len(s) {
		latin = append(latin, rune(s[i]))
	}
	m := tokenForm.FindStringSubmatch(string(latin))
	if m == nil {
		return false
	}
	var sum uint64
	for _, c := range m[4] {
		sum = sum*62 + uint64(strings.IndexRune(apitoken.Base62, c))
	}
	return sum == uint64(crc32.ChecksumIEEE([]byte(s[:len(s)-6])))
}

func FuzzParseToken(f *testing.F) {
	for _, g := range goldenTokens {
		f.Add(g.token)
		f.Add(g.token[1:])
		f.Add(strings.ToUpper(g.token))
	}
	f.Add(apitoken.FormatToken("\xff\x00", goldenTokens[0].id, goldenTokens[0].secret))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		prefix, id, secret, ok := apitoken.ParseToken(s)
		if ok != isToken(s) {
			t.Fatalf("%q: the parser says %t", s, ok)
		}
		if !ok {
			if prefix != "" || id != "" || secret != "" {
				t.Fatalf("%q: parts of a refused string got out", s)
			}
			return
		}
		if !id.Valid() || len(secret) != apitoken.SecretLength {
			t.Fatalf("%q: parts %q %q", s, id, secret)
		}
		if again := apitoken.FormatToken(prefix, id, secret); again != s {
			t.Fatalf("%q comes back as %q: two strings would open one token", s, again)
		}
	})
}

// P16: reading a token and digesting its secret is free of allocation, whether
// the string is good or bad.
func TestParseTokenAllocatesNothing(t *testing.T) {
	good := goldenTokens[2].token
	bad := good[:len(good)-1] + "0"
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, _, secret, ok := apitoken.ParseToken(good)
		sum := apitoken.DigestSecret(secret)
		if !ok || sum[0] == 0 && sum[1] == 0 && sum[2] == 0 {
			t.Error("unexpected")
		}
		if _, _, _, ok := apitoken.ParseToken(bad); ok {
			t.Error("unexpected")
		}
	}))
}

// P7: no bias. With 62 characters the statistic has 61 degrees of freedom; a
// fair source exceeds 160 less often than once in a thousand million runs.
// Taking bytes modulo 62 gives about 24,000.
func TestRandomTextIsUnbiased(t *testing.T) {
	t.Parallel()
	const texts = 25_000
	var counts [256]int
	for range texts {
		s := apitoken.RandomBase62(apitoken.SecretLength)
		require.Len(t, s, apitoken.SecretLength)
		for i := range len(s) {
			counts[s[i]]++
		}
	}
	total := 0
	want := float64(texts*apitoken.SecretLength) / 62
	chi2 := 0.0
	for i := range len(apitoken.Base62) {
		n := counts[apitoken.Base62[i]]
		total += n
		chi2 += (float64(n) - want) * (float64(n) - want) / want
	}
	require.Equal(t, texts*apitoken.SecretLength, total, "characters outside of base62")
	require.Less(t, chi2, 160.0)
	require.Greater(t, chi2, 10.0, "too even to be random")
}

// P7: no duplicate in a million; APITOKEN_DRAWS=10000000 looks at ten million.
func TestRandomTextsAreDistinct(t *testing.T) {
	t.Parallel()
	draws := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("APITOKEN_DRAWS")); err == nil {
		draws = n
	}
	seen := make(map[[16]byte]struct{}, draws) // already 16 of the 43 characters never repeat
	for range draws {
		seen[[16]byte([]byte(apitoken.RandomBase62(apitoken.SecretLength)))] = struct{}{}
	}
	require.Len(t, seen, draws)
}

func TestRandomTextHasAnyLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 22, 43, 63, 64, 65, 1000} {
		require.Len(t, apitoken.RandomBase62(n), n)
	}
	// 256 bits: 43 characters of log2(62) bits are the fewest that hold them.
	require.Equal(t, 43, apitoken.SecretLength)
}

func TestIDIsValid(t *testing.T) {
	t.Parallel()
	for id, want := range map[apitoken.ID]bool{
		"4fXk2QpWmR7tYc9BvN1sHd":     true,
		"0000000000000000000000":     true,
		"":                           false,
		"4fXk2QpWmR7tYc9BvN1sH":      false,
		"4fXk2QpWmR7tYc9BvN1sHdd":    false,
		"4fXk2QpWmR7tYc9BvN1sH_":     false,
		"4fXk2QpWmR7tYc9BvN1sH\x00":  false,
		"4fXk2QpWmR7tYc9BvN1s\u00e4": false,
		"../../../etc/passwd000":     false,
	} {
		require.Equal(t, want, id.Valid(), "%q", id)
	}
}

func TestPrefixIsValid(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]bool{
		"a":                     true,
		"acme":                  true,
		"acme_live":             true,
		"x2_4_y":                true,
		strings.Repeat("a", 64): true,
		strings.Repeat("a", 65): false,
		"":                      false,
		"2acme":                 false,
		"_acme":                 false,
		"acme_":                 false,
		"acme__live":            false,
		"Acme":                  false,
		"acme-live":             false,
		"acme live":             false,
		"acmé":                  false,
		"acme\x00":              false,
		"acme.":                 false,
	} {
		require.Equal(t, want, apitoken.ValidPrefix(prefix), "%q", prefix)
	}
}

func TestHintShowsNoSecret(t *testing.T) {
	t.Parallel()
	g := goldenTokens[2]
	hint := apitoken.HintOf(g.prefix, g.id)
	require.Equal(t, "acme_live_4fXk…", hint)
	require.True(t, strings.HasPrefix(g.token, strings.TrimSuffix(hint, "…")), "a saved token is found by its hint")
}

func TestTokenExpired(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 5, 1, 0, 0, 0, 0, time.UTC)
	tok := apitoken.Token{ExpiresAt: at}
	require.False(t, tok.Expired(at.Add(-1)))
	require.True(t, tok.Expired(at))
	require.True(t, tok.Expired(at.Add(1)))
	require.True(t, tok.Expired(at.In(time.FixedZone("", 3600))), "the instant counts, not its zone")
	require.False(t, new(apitoken.Token).Expired(at), "zero is never")
}

func TestResourcesHas(t *testing.T) {
	t.Parallel()
	require.False(t, apitoken.Resources{}.Has("eu"), "the zero value is no group at all")
	require.False(t, apitoken.Resources{}.Has(""))
	require.True(t, apitoken.Resources{All: true}.Has("eu"))
	r := apitoken.Resources{Groups: []string{"eu", "us"}}
	require.True(t, r.Has("us"))
	require.False(t, r.Has("EU"))
	require.False(t, r.Has(""))
}
