package sqlengine_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/internal/sqlengine"
)

func TestTextsAreCutWithoutAParser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want []string // nil = left to the parser
	}{
		{`["devices:view"]`, []string{"devices:view"}},
		{`["devices:view","devices:manage","ü"]`, []string{"devices:view", "devices:manage", "ü"}},
		{`[""]`, []string{""}},
		{`["","",","]`, []string{"", "", ","}},
		{`["a","b\"c"]`, nil},
		{`["a\u003c"]`, nil},
		{`["a", "b"]`, nil},
		{`["a" ,"b"]`, nil},
		{`["a",1,"b"]`, nil},
		{`[ "a"]`, nil},
		{`["a"] `, nil},
		{`["]`, nil},
		{`["a`, nil},
		{`"a"]`, nil},
		{`[]`, nil},
		{``, nil},
	} {
		got, ok := sqlengine.CutTexts(c.text)
		require.Equal(t, c.want != nil, ok, c.text)
		if ok {
			require.Equal(t, c.want, got, c.text)
		}
	}
}

// What is cut is what a parser would read.
func FuzzTexts(f *testing.F) {
	for _, seed := range []string{`["a","b"]`, `[""]`, `["a", "b"]`, `["\""]`, `["a","","c"]`, `["[\"a\"]"]`, `["]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := sqlengine.CutTexts(text)
		if !ok || !utf8.ValidString(text) || !json.Valid([]byte(text)) {
			return
		}
		var want []string
		require.NoError(t, json.Unmarshal([]byte(text), &want))
		require.Equal(t, want, got)
	})
}
