package cachestore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
)

// A change made elsewhere is seen within MaxStale, whatever it is.
func TestChangesElsewhere(t *testing.T) {
	t.Parallel()
	for _, revisions := range []bool{true, false} {
		for _, tt := range []struct {
			name   string
			change func(ctx context.Context, s apitoken.Store) error
			seen   func(rec *apitoken.Record, err error) bool
		}{
			{"Swap", func(ctx context.Context, s apitoken.Store) error {
				return s.Swap(ctx, next(recordOf(0)), apitoken.Guard{}, nil)
			}, func(rec *apitoken.Record, err error) bool { return err == nil && rec.Token.Version == 2 }},
			{"Swap without a new mark", func(ctx context.Context, s apitoken.Store) error {
				rec := next(recordOf(0))
				rec.Op = recordOf(0).Op
				return s.Swap(ctx, rec, apitoken.Guard{}, nil)
			}, func(rec *apitoken.Record, err error) bool { return err == nil && rec.Token.Version == 2 }},
			{"Delete", func(ctx context.Context, s apitoken.Store) error {
				return s.Delete(ctx, idOf(0), 1, apitoken.Guard{}, nil)
			}, func(_ *apitoken.Record, err error) bool { return err == apitoken.ErrNotFound }},
			{"Touch", func(ctx context.Context, s apitoken.Store) error {
				return s.Touch(ctx, []apitoken.Use{{ID: idOf(0), Count: 1, LastUsed: madeAt.Add(time.Hour)}})
			}, func(rec *apitoken.Record, err error) bool { return err == nil && rec.Token.Usage.Uses == 1 }},
			{"the same version, written anew", func(ctx context.Context, s apitoken.Store) error {
				if err := s.Delete(ctx, idOf(0), 1, apitoken.Guard{}, nil); err != nil {
					return err
				}
				rec := recordOf(0)
				rec.Op = "another"
				return s.Create(ctx, rec, nil)
			}, func(rec *apitoken.Record, err error) bool { return err == nil && rec.Op == "another" }},
		} {
			t.Run(fmt.Sprintf("%s, revisions %t", tt.name, revisions), func(t *testing.T) {
				t.Parallel()
				b := newBed(t, 2)
				if !revisions {
					b.Store = newCache(t, struct{ apitoken.Store }{b.inner}, func(o *cachestore.Options) { o.Clock = b.clock })
				}
				old, other := b.record(0), b.record(1)
				require.NoError(t, tt.change(t.Context(), b.inner))
				b.clock.Advance(maxStale - 1)
				require.Same(t, old, b.record(0))
				b.clock.Advance(1)
				require.True(t, tt.seen(b.Record(t.Context(), idOf(0))))
				require.Same(t, other, b.record(1))
			})
		}
	}
}

// A change made here counts when the call returns, with the cache warm, cold, or
// knowing that there is no such token, and also if the call fails.
func TestChangesHere(t *testing.T) {
	t.Parallel()
	for _, tt := range changes {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, its answer lost %t", tt.name, lost), func(t *testing.T) {
				t.Parallel()
				b := newBed(t, 1)
				b.Store = newCache(t, &observed{spy: b.inner, lost: lost}, func(o *cachestore.Options) { o.Clock = b.clock })
				b.record(0)
				b.absent(9)
				err := tt.change(t.Context(), b.Store)
				require.Equal(t, lost, err != nil)
				for i, want := range map[int]int64{0: tt.want[0], 9: tt.want[1]} {
					if want == 0 {
						b.absent(i)
					} else {
						require.Equal(t, want, b.record(i).Token.Version)
					}
				}
			})
		}
	}
}

// While a change is on its way, nothing from before it is answered from memory, since
// it may be committed already; and what is read meanwhile does not stay, since it may
// not be committed yet.
func TestChangeUnderWay(t *testing.T) {
	t.Parallel()
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1)
			under := &observed{spy: b.inner}
			b.Store = newCache(t, under, func(o *cachestore.Options) { o.Clock = b.clock })
			versions := func() (out [2]int64) {
				for i, id := range []apitoken.ID{idOf(0), idOf(9)} {
					if rec, err := b.Record(t.Context(), id); err == nil {
						out[i] = rec.Token.Version
					}
				}
				return out
			}
			require.Equal(t, [2]int64{1, 0}, versions())
			looked := 0
			under.before = func() {
				looked++
				require.Equal(t, [2]int64{1, 0}, versions())
			}
			require.NoError(t, tt.change(t.Context(), b.Store))
			require.Equal(t, tt.want, versions(), "after reads before the commit")
			require.Equal(t, 1, looked)

			b = newBed(t, 1)
			under = &observed{spy: b.inner}
			b.Store = newCache(t, under, func(o *cachestore.Options) { o.Clock = b.clock })
			require.Equal(t, [2]int64{1, 0}, versions())
			under.after = func() {
				looked++
				require.Equal(t, tt.want, versions(), "committed, and not answered yet")
			}
			require.NoError(t, tt.change(t.Context(), b.Store))
			require.Equal(t, 2, looked)
		})
	}
}

// changes are what a store does to the tokens 0, which there is, and 9, which there
// is not; want are their versions then, 0 = none.
var changes = []struct {
	name   string
	change func(ctx context.Context, s apitoken.Store) error
	want   [2]int64
}{
	{"Create", func(ctx context.Context, s apitoken.Store) error { return s.Create(ctx, recordOf(9), nil) }, [2]int64{1, 1}},
	{"Swap", func(ctx context.Context, s apitoken.Store) error {
		return s.Swap(ctx, next(recordOf(0)), apitoken.Guard{}, nil)
	}, [2]int64{2, 0}},
	{"Replace", func(ctx context.Context, s apitoken.Store) error {
		return s.Replace(ctx, recordOf(9), next(recordOf(0)), apitoken.Guard{}, nil)
	}, [2]int64{2, 1}},
	{"Delete", func(ctx context.Context, s apitoken.Store) error {
		return s.Delete(ctx, idOf(0), 1, apitoken.Guard{}, nil)
	}, [2]int64{0, 0}},
}

// observed lets a test look before a write is committed, or while its answer is on
// the way; or it loses the answer.
type observed struct {
	*spy
	before, after func()
	lost          bool
}

func (o *observed) write(commit func() error) error {
	if o.before != nil {
		o.before()
	}
	err := commit()
	if o.after != nil {
		o.after()
	}
	if o.lost && err == nil {
		return errOutage
	}
	return err
}

func (o *observed) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	return o.write(func() error { return o.spy.Create(ctx, rec, events) })
}

func (o *observed) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return o.write(func() error { return o.spy.Swap(ctx, rec, guard, events) })
}

func (o *observed) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return o.write(func() error { return o.spy.Replace(ctx, rec, old, guard, events) })
}

func (o *observed) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	return o.write(func() error { return o.spy.Delete(ctx, id, version, guard, events) })
}
