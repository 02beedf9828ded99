package apitoken_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// P9: an import shows values once and repeats neither keys nor hashes: not in the
// store, the log, an event, an error, a report or anything printed.
func TestImportLeaksNothing(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	old := newOldTable()
	w := newImportWorld(t, func(o *apitoken.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Fallback = old.find
	})
	var canaries []string
	show := func(v ...any) {
		for _, x := range v {
			fmt.Fprintf(&out, "%v %+v %#v %s\n", x, x, x, x)
			w.Options.Logger.Debug("debug", "value", x)
		}
	}
	canaries = append(canaries, importKey.Reveal())
	for i := range 40 {
		key, pair := fmt.Sprintf("old_%026d", 7_000_000+i), fmt.Sprintf("pair secret canary %d", 8_000_000+i)
		digest := hexOf256(key)
		canaries = append(canaries, key, pair, digest.Reveal())
		rows := []apitoken.ImportRow{
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest, r.NewValue = fmt.Sprint(i), digest, true }),
			{ID: fmt.Sprint(i), Format: "pair", PairID: fmt.Sprint("pair-", i), Secret: apitoken.NewSecret(pair), Owner: "ann", NewValue: true},
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest, r.Format = "bad", digest, "old512" }),
			row(func(r *apitoken.ImportRow) { r.ID, r.Secret, r.Format = "bad", apitoken.NewSecret(key), "pin" }),
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest, r.Format = "bad", apitoken.NewSecret(key), "slow" }),
			row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "other", digest }),
		}
		show(rows, &rows[0])
		report, err := w.Service.Import(t.Context(), system, rowsOf(rows...), func(im apitoken.Imported) error {
			show(im, im.Err)
			if !im.Secret.IsZero() {
				value := im.Secret.Reveal()
				canaries = append(canaries, value[len(value)-49:len(value)-6])
			}
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, 2, report.New)
		show(report, report.Faults)
		for _, near := range []string{key, key + "x", key[:29] + "z"} {
			p, err := w.present("", near)
			show(p, err)
			show(w.Service.FindBySecret(t.Context(), ann, near))
			show(apitoken.LegacyKey{Format: "old", Secret: apitoken.NewSecret(near)})
			p, err = w.present(fmt.Sprint("pair-", i), pair+near[29:])
			show(p, err)
		}
		old.err = errors.New("down")
		_, err = w.present("", key[:29]+"y")
		show(err)
		old.err = nil
	}
	require.Len(t, canaries, 1+40*5)
	show(w.Service, w.Options)
	text := out.b.String() + w.dump()
	require.Contains(t, text, "token.imported")
	for _, canary := range canaries {
		require.NotContains(t, text, canary)
		require.NotContains(t, text, hex.EncodeToString([]byte(canary)))
	}
}
