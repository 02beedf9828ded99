package cachestore_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/internal/hosttx"
)

// Changed is told of each token that was changed, once for each write, also when
// its outcome is unclear; not of reads and uses, and of nothing that is not
// committed.
func TestChanged(t *testing.T) {
	t.Parallel()
	var told [][]apitoken.ID
	b := newBed(t, 3, func(o *cachestore.Options) {
		o.Changed = func(ids ...apitoken.ID) { told = append(told, ids) }
	})
	ctx := t.Context()
	read := func(ctx context.Context, i int) *apitoken.Record {
		rec, err := b.Get(ctx, idOf(i))
		require.NoError(t, err)
		return next(rec)
	}
	for _, c := range []struct {
		name string
		do   func(ctx context.Context) error
		want [][]apitoken.ID
	}{
		{"get", func(ctx context.Context) error { _, err := b.Get(ctx, idOf(0)); return err }, nil},
		{"touch", func(ctx context.Context) error {
			return b.Touch(ctx, []apitoken.Use{{ID: idOf(0), Count: 1, LastUsed: madeAt}})
		}, nil},
		{"swap", func(ctx context.Context) error { return b.Swap(ctx, read(ctx, 0), apitoken.Guard{}, nil) }, [][]apitoken.ID{{idOf(0)}}},
		{"create", func(ctx context.Context) error { return b.Create(ctx, recordOf(7), nil) }, [][]apitoken.ID{{idOf(7)}}},
		{"replace", func(ctx context.Context) error {
			return b.Replace(ctx, recordOf(8), read(ctx, 0), apitoken.Guard{}, nil)
		}, [][]apitoken.ID{{idOf(0), idOf(8)}}},
		{"delete", func(ctx context.Context) error { return b.Delete(ctx, idOf(8), 1, apitoken.Guard{}, nil) }, [][]apitoken.ID{{idOf(8)}}},
		{"in the host's transaction", func(ctx context.Context) error {
			return b.Swap(hosttx.With(ctx, "a transaction"), read(ctx, 1), apitoken.Guard{}, nil)
		}, nil},
	} {
		told = nil
		require.NoError(t, c.do(ctx), c.name)
		require.Equal(t, c.want, told, c.name)
	}
	told = nil
	stale := recordOf(0)
	require.ErrorIs(t, b.Swap(ctx, next(stale), apitoken.Guard{}, nil), apitoken.ErrConflict)
	require.Equal(t, [][]apitoken.ID{{idOf(0)}}, told, "a write that failed")
}
