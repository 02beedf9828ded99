package apitoken_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// S1.17, S2.17, P16: a name is required, of at most 256 characters.
func TestNameIsValid(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"plain":                  "ci",
		"256 letters":            strings.Repeat("x", 256),
		"256 characters, 1024 B": strings.Repeat("😀", 256),
		"other scripts":          "für Größe: 本番 مفتاح",
		"emoji of several runes": "👩‍💻 deploy",
		"quotes and markup":      `<b>"x"</b> & '; --`,
		"U+FFFD itself":          "\ufffd",
	} {
		require.NoError(t, apitoken.Validate("name", s), name)
	}
	for name, s := range map[string]string{
		"empty":                         "",
		"blank":                         "   ",
		"blank of other scripts":        "\u3000\u00a0\u2003",
		"nothing that can be seen":      "\u200b\u200d\ufeff",
		"257 letters":                   strings.Repeat("x", 257),
		"257 characters":                strings.Repeat("😀", 257),
		"much too long":                 strings.Repeat("x", 1<<20),
		"not UTF-8":                     "ci\xff",
		"half a character":              "ci\xe2\x82",
		"surrogate":                     "ci\xed\xa0\x80",
		"line break":                    "ci\nname: evil",
		"carriage return":               "ci\r",
		"tab":                           "ci\t",
		"NUL":                           "ci\x00",
		"escape":                        "ci\x1b[31m",
		"delete":                        "ci\x7f",
		"C1 control":                    "ci\u0085",
		"right-to-left override":        "ci\u202etxt.exe",
		"left-to-right embedding":       "ci\u202a",
		"pop directional formatting":    "ci\u202c",
		"right-to-left isolate":         "ci\u2067",
		"pop directional isolate":       "ci\u2069",
		"right-to-left mark":            "ci\u200f",
		"Arabic letter mark":            "ci\u061c",
		"line separator":                "ci\u2028",
		"paragraph separator":           "ci\u2029",
		"only a control character":      "\x01",
		"blank and a bidirectional one": " \u202e",
	} {
		err := apitoken.Validate("name", s)
		require.ErrorIs(t, err, apitoken.ErrInvalid, name)
		require.Len(t, apitoken.Fields(err), 1, name)
		require.Equal(t, "name", apitoken.Fields(err)[0].Field, name)
		require.Less(t, len(err.Error()), 200, name)
	}
}

// S2.17, P16: a description is optional, may have lines, 4,096 characters.
func TestDescriptionIsValid(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "one\ntwo\r\n\tthree", strings.Repeat("😀", 4096)} {
		require.NoError(t, apitoken.Validate("text", s))
	}
	for _, s := range []string{strings.Repeat("x", 4097), strings.Repeat("😀", 4097), "\x00", "\u202e", "\u2028", "\xff", "\x1b"} {
		require.ErrorIs(t, apitoken.Validate("text", s), apitoken.ErrInvalid)
	}
}

func TestIdentifierIsValid(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "ann@example.com", "urn:uuid:1", "日本", strings.Repeat("x", 256)} {
		require.NoError(t, apitoken.Validate("identifier", s))
	}
	for _, s := range []string{strings.Repeat("x", 257), strings.Repeat("日", 86), "a\nb", "a\tb", "a\x00", "\xff", "a\u202eb"} {
		require.ErrorIs(t, apitoken.Validate("identifier", s), apitoken.ErrInvalid, "%q", s)
	}
}

func TestMetadataIsValid(t *testing.T) {
	t.Parallel()
	pairs := func(n int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("k%02d", i)] = "v"
		}
		return m
	}
	for name, m := range map[string]map[string]string{
		"nil":                  nil,
		"empty":                {},
		"16 pairs":             pairs(16),
		"4,096 bytes":          {"k": strings.Repeat("v", 4095)},
		"lines in a value":     {"k": "a\nb"},
		"empty value":          {"k": ""},
		"other scripts in key": {"größe": "本"},
	} {
		require.NoError(t, apitoken.ValidateMetadata(m), name)
	}
	for name, m := range map[string]map[string]string{
		"17 pairs":                 pairs(17),
		"100,000 pairs":            pairs(100_000),
		"4,097 bytes":              {"k": strings.Repeat("v", 4096)},
		"no key":                   {"": "v"},
		"line break in a key":      {"a\nb": "v"},
		"control in a value":       {"k": "\x00"},
		"bidirectional in a value": {"k": "\u202e"},
		"key is not UTF-8":         {"\xff": "v"},
		"value is not UTF-8":       {"k": "\xff"},
	} {
		err := apitoken.ValidateMetadata(m)
		require.Len(t, apitoken.Fields(err), 1, name)
		require.Equal(t, "metadata", apitoken.Fields(err)[0].Field, name)
	}
	bad := map[string]string{"a": "\x00", "b": "\x00", "c": "\x00", "d": "\x00"}
	first := apitoken.ValidateMetadata(bad)
	require.Len(t, apitoken.Fields(first), 4)
	for range 20 {
		require.EqualError(t, apitoken.ValidateMetadata(bad), first.Error(), "the same request has the same answer")
	}
}

// S1.20: a percentage is an integer from 1 to 100.
func TestShareIsValid(t *testing.T) {
	t.Parallel()
	for percent := -1; percent <= 102; percent++ {
		err := apitoken.ValidateShare(percent)
		require.Equal(t, percent >= 1 && percent <= 100, err == nil, "%d: %v", percent, err)
	}
}

// What a caller wrote is clipped in messages, never inside a character.
func TestClip(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "short", strings.Repeat("x", 64), strings.Repeat("😀", 64)} {
		require.Equal(t, s, apitoken.Clip(s))
	}
	require.Equal(t, strings.Repeat("x", 64)+"…", apitoken.Clip(strings.Repeat("x", 65)))
	require.Equal(t, strings.Repeat("😀", 64)+"…", apitoken.Clip(strings.Repeat("😀", 1000)))
	for n := range 300 {
		got := apitoken.Clip(strings.Repeat("x", n%5) + strings.Repeat("€", n))
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, utf8.RuneCountInString(got), 65)
	}
	require.LessOrEqual(t, len(apitoken.Clip(strings.Repeat("\xff", 1<<20))), 400)
}
