package cachestore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/memstore"
)

const maxStale = 5 * time.Second

var (
	madeAt    = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	errOutage = errors.New("the database is gone")
)

// idOf returns the ID of the i-th token.
func idOf(i int) apitoken.ID {
	n := fmt.Sprint(i)
	return apitoken.ID(strings.Repeat("z", 22-len(n)) + n)
}

func recordOf(i int) *apitoken.Record {
	return &apitoken.Record{
		Token: apitoken.Token{
			ID: idOf(i), Version: 1, Tenant: "acme", Kind: apitoken.DefaultKind, Name: "ci", Owner: "ann", Creator: "ann",
			State: apitoken.StateActive, StateAt: madeAt, Share: 100, CreatedAt: madeAt, UpdatedAt: madeAt,
		},
		Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: []byte{1, 2, 3}},
		Op:      "op1",
	}
}

// next returns rec as it is written next.
func next(rec *apitoken.Record) *apitoken.Record {
	n := rec.Clone()
	n.Token.Version++
	n.Op = fmt.Sprint("op", n.Token.Version)
	return n
}

// spy is a database: it counts what is asked of it, and lets a test hold a read up,
// before or after it was answered, or let it fail.
type spy struct {
	*memstore.Store
	mu      sync.Mutex
	gets    int
	batches [][]apitoken.ID
	before  func(ctx context.Context, method string, ids []apitoken.ID) error
	after   func(ctx context.Context, method string, ids []apitoken.ID) error
}

func (s *spy) asked(ctx context.Context, method string, ids ...apitoken.ID) error {
	s.mu.Lock()
	if method == "Revisions" {
		s.batches = append(s.batches, ids)
	} else {
		s.gets++
	}
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, method, ids)
}

func (s *spy) answered(ctx context.Context, method string, ids ...apitoken.ID) error {
	s.mu.Lock()
	after := s.after
	s.mu.Unlock()
	if after == nil {
		return nil
	}
	return after(ctx, method, ids)
}

func (s *spy) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if err := s.asked(ctx, "Get", id); err != nil {
		return nil, err
	}
	rec, err := s.Store.Get(ctx, id)
	if lost := s.answered(ctx, "Get", id); lost != nil {
		return nil, lost
	}
	return rec, err
}

func (s *spy) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	if err := s.asked(ctx, "Revisions", ids...); err != nil {
		return nil, err
	}
	out, err := s.Store.Revisions(ctx, ids)
	if lost := s.answered(ctx, "Revisions", ids...); lost != nil {
		return nil, lost
	}
	return out, err
}

// hooks sets what happens before and after each read.
func (s *spy) hooks(before, after func(ctx context.Context, method string, ids []apitoken.ID) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// fail lets the named methods fail, all without a name; fail(nil) ends it.
func (s *spy) fail(err error, methods ...string) {
	s.hooks(func(_ context.Context, method string, _ []apitoken.ID) error {
		if len(methods) == 0 || strings.Contains(strings.Join(methods, " "), method) {
			return err
		}
		return nil
	}, nil)
}

// take returns how many single reads there were since the last call, and how large
// the batches were.
func (s *spy) take() (gets int, batches []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gets = s.gets
	for _, b := range s.batches {
		batches = append(batches, len(b))
	}
	s.gets, s.batches = 0, nil
	return gets, batches
}

// bed is a cache before a spied-on store with n tokens.
type bed struct {
	*cachestore.Store
	t     *testing.T
	inner *spy
	clock *apitokentest.Clock
}

func newBed(t *testing.T, n int, change ...func(*cachestore.Options)) *bed {
	t.Helper()
	b := &bed{t: t, inner: &spy{Store: memstore.New()}, clock: apitokentest.NewClock(madeAt)}
	for i := range n {
		require.NoError(t, b.inner.Create(t.Context(), recordOf(i), nil))
	}
	b.Store = newCache(t, b.inner, append([]func(*cachestore.Options){func(o *cachestore.Options) { o.Clock = b.clock }}, change...)...)
	return b
}

func newCache(t testing.TB, inner apitoken.Store, change ...func(*cachestore.Options)) *cachestore.Store {
	t.Helper()
	var opts cachestore.Options
	for _, f := range change {
		f(&opts)
	}
	s, err := cachestore.New(inner, opts)
	require.NoError(t, err)
	return s
}

// record reads the i-th token as verification does.
func (b *bed) record(i int) *apitoken.Record {
	b.t.Helper()
	rec, err := b.Record(b.t.Context(), idOf(i))
	require.NoError(b.t, err)
	return rec
}

// absent demands that the i-th token is not found.
func (b *bed) absent(i int) {
	b.t.Helper()
	_, err := b.Record(b.t.Context(), idOf(i))
	require.ErrorIs(b.t, err, apitoken.ErrNotFound)
}

// elsewhere changes the i-th token past the cache, as another node does.
func (b *bed) elsewhere(i int) {
	b.t.Helper()
	change(b.t, b.inner, i)
}

// here changes it through the cache.
func (b *bed) here(i int) {
	b.t.Helper()
	change(b.t, b.Store, i)
}

func change(t *testing.T, s apitoken.Store, i int) {
	t.Helper()
	rec, err := s.Get(t.Context(), idOf(i))
	require.NoError(t, err)
	require.NoError(t, s.Swap(t.Context(), next(rec), apitoken.Guard{}, nil))
}

// reads demands what was asked of the store since the last call.
func (b *bed) reads(gets int, batches ...int) {
	b.t.Helper()
	g, sizes := b.inner.take()
	require.Equal(b.t, gets, g, "single reads")
	require.Equal(b.t, batches, sizes, "batches")
}

// unsafeID is an ID that shares its bytes with a buffer.
func unsafeID(buffer []byte) apitoken.ID {
	return apitoken.ID(unsafe.String(&buffer[0], len(buffer)))
}
