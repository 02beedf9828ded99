package apitoken_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// The faults of formats come with the others of the options, each with what to do.
func TestLegacyOptions(t *testing.T) {
	t.Parallel()
	good := apitoken.LegacyFormat{Name: "old", MinLength: 30, MaxLength: 30}
	for _, c := range []struct {
		name   string
		change func(*apitoken.Options, *apitoken.LegacyFormat)
		want   []string
	}{
		{"good", func(*apitoken.Options, *apitoken.LegacyFormat) {}, nil},
		{"no import key", func(o *apitoken.Options, _ *apitoken.LegacyFormat) { o.ImportKey = apitoken.Secret{} }, []string{"ImportKey"}},
		{"short import key", func(o *apitoken.Options, _ *apitoken.LegacyFormat) { o.ImportKey = apitoken.NewSecret(long(31)) }, []string{"ImportKey"}},
		{"no name", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Name = "" }, []string{"Legacy[0].Name"}},
		{"a name twice", func(o *apitoken.Options, f *apitoken.LegacyFormat) { o.Legacy = append(o.Legacy, *f) }, []string{"Legacy[1].Name"}},
		{"too many", func(o *apitoken.Options, f *apitoken.LegacyFormat) {
			for i := range 16 {
				g := *f
				g.Name = fmt.Sprint(i)
				o.Legacy = append(o.Legacy, g)
			}
		}, []string{"Legacy"}},
		{"unknown kind", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Kind = "odd" }, []string{"Legacy[0].Kind"}},
		{"unknown digest", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Digest = "md5" }, []string{"Legacy[0].Digest"}},
		{"no lengths", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.MinLength, f.MaxLength = 0, 0 }, []string{"Legacy[0].Handle", "Legacy[0].MinLength"}},
		{"lengths the wrong way round", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.MaxLength = 29 }, []string{"Legacy[0].MinLength"}},
		{"longer than any header", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.MaxLength = 513 }, []string{"Legacy[0].MinLength"}},
		{"longer than bcrypt reads", func(_ *apitoken.Options, f *apitoken.LegacyFormat) {
			f.Digest, f.Handle, f.MaxLength = apitoken.LegacyBcrypt, 8, 73
		}, []string{"Legacy[0].MinLength"}},
		{"a pair's secret too long", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Pair, f.MaxLength = true, 257 }, []string{"Legacy[0].MinLength"}},
		{"alphabet beyond ASCII", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Alphabet = "abcä" }, []string{"Legacy[0].Alphabet"}},
		{"slow and nothing to find it by", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Digest = apitoken.LegacyArgon2id }, []string{"Legacy[0].Handle"}},
		{"guessable and nothing to find it by", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Guessable = true }, []string{"Legacy[0].Handle"}},
		{"short and nothing to find it by", func(_ *apitoken.Options, f *apitoken.LegacyFormat) { f.Prefix = "old_prefix_" }, []string{"Legacy[0].Handle"}},
		{"a handle that shows all", func(_ *apitoken.Options, f *apitoken.LegacyFormat) {
			f.Digest, f.Handle = apitoken.LegacyBcrypt, 30
		}, []string{"Legacy[0].Handle"}},
		{"a handle for a fast digest", func(_ *apitoken.Options, f *apitoken.LegacyFormat) {
			f.Digest, f.Handle = apitoken.LegacySHA256, 8
		}, []string{"Legacy[0].Handle"}},
		{"slow hashes", func(o *apitoken.Options, _ *apitoken.LegacyFormat) { o.SlowHashes = -1 }, []string{"SlowHashes"}},
		{"fallback for nothing", func(o *apitoken.Options, _ *apitoken.LegacyFormat) {
			o.Legacy = nil
			o.Fallback = func(context.Context, apitoken.LegacyKey) (apitoken.ImportRow, error) {
				return apitoken.ImportRow{}, nil
			}
		}, []string{"Fallback"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := good
			o := apitoken.Options{ImportKey: importKey, Legacy: []apitoken.LegacyFormat{good}}
			c.change(&o, &f)
			if len(o.Legacy) > 0 {
				o.Legacy[0] = f
			}
			_, err := apitoken.New(newWorld(t).Store, o)
			require.Equal(t, c.want, wrongFields(err))
		})
	}
}
