package apitoken_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// S3.18: the older credential's last use is kept apart, and says when the old way
// can be closed.
func TestReadyToCutOver(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	start := w.Clock.Now()
	w.issue(plain)
	ready := func(actor apitoken.Actor, since time.Time) apitoken.CutOver {
		return must(w.Service.ReadyToCutOver(t.Context(), actor, since))
	}
	require.Equal(t, apitoken.CutOver{Ready: true}, ready(ann, time.Time{}))
	var ids []apitoken.ID
	for i := range 3 {
		key := fmt.Sprintf("old_%026d", i)
		ids = append(ids, w.importOne(row(func(r *apitoken.ImportRow) {
			r.ID, r.Digest, r.LastUsed = fmt.Sprint(i), hexOf256(key), start.Add(-time.Duration(i)*day)
		})).Token)
	}
	require.False(t, ready(ann, time.Time{}).Ready)
	require.Equal(t, 2, ready(ann, start.Add(-day)).Used)
	w.Clock.Advance(day)
	got := ready(ann, start.Add(time.Nanosecond))
	require.Equal(t, apitoken.CutOver{Ready: true, Open: 3}, got)
	must(w.present("", fmt.Sprintf("old_%026d", 1)))
	got = ready(ann, start.Add(time.Nanosecond))
	require.False(t, got.Ready)
	require.Equal(t, []apitoken.ID{ids[1]}, []apitoken.ID{got.Tokens[0].ID}, "with what is not written yet")
	require.True(t, ready(zoe, time.Time{}).Ready, "another tenant's are not seen")
	value := w.rotate(ann, ids[1], 0)
	require.NoError(t, w.verify(value.Secret))
	require.Equal(t, apitoken.CutOver{Ready: true, Open: 2}, ready(ann, start.Add(time.Nanosecond)))
	require.Equal(t, start.Add(day), w.get(ids[1]).Usage.Legacy)
	w.Store.FailCall(0)
	_, err := w.Service.ReadyToCutOver(t.Context(), ann, start)
	oneFamily(t, err, apitoken.ErrUnavailable)
}

// More tokens than one page of the store's.
func TestReadyToCutOverPages(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	var rows []apitoken.ImportRow
	for i := range 1203 {
		rows = append(rows, row(func(r *apitoken.ImportRow) {
			r.ID, r.Digest, r.LastUsed = fmt.Sprint(i), hexOf256(fmt.Sprint(i)), w.Clock.Now()
		}))
	}
	w.imports(rows...)
	got := must(w.Service.ReadyToCutOver(t.Context(), ann, w.Clock.Now()))
	require.Equal(t, 1203, got.Used)
	require.Len(t, got.Tokens, 1000)
}
