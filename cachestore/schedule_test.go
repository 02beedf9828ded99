package cachestore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/memstore"
)

// TestSchedules lets reads, writes here and elsewhere, hints, outages, slow reads and
// time follow each other at random, and holds every answer against what the store
// held. FuzzSchedules looks for schedules of its own.
func TestSchedules(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 4))
			steps := make([]byte, 600)
			for i := range steps {
				steps[i] = byte(rnd.Uint32())
			}
			synctest.Test(t, func(t *testing.T) { runSchedule(t, steps) })
		})
	}
}

func FuzzSchedules(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23})
	f.Add([]byte{3, 0, 0, 6, 0, 0, 255, 0, 0, 5, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 600 {
			steps = steps[:600]
		}
		synctest.Test(t, func(t *testing.T) { runSchedule(t, steps) })
	})
}

const scheduled = 3 // tokens

// schedule is a cache, the database behind it, and all that the database ever held.
type schedule struct {
	t     *testing.T
	cache *cachestore.Store
	db    *spy
	inner *observed
	rnd   int

	mu      sync.Mutex
	past    [scheduled][]state
	seen    [scheduled]int // reads that begin now see this state or a later one
	failing []string       // methods
	faults  int            // how often that changed
	holds   []*hold
	reads   sync.WaitGroup
}

// state is what the database held of a token: op "" = nothing.
type state struct {
	op    string
	until time.Time // zero = it still does
}

// hold keeps one read of the database waiting.
type hold struct {
	once  sync.Once
	after bool
	open  chan struct{}
}

type holdKey struct{}

func runSchedule(t *testing.T, steps []byte) {
	s := &schedule{t: t, db: &spy{Store: memstore.New()}}
	s.inner = &observed{spy: s.db}
	s.db.hooks(s.before, s.after)
	arg := func(n int) int {
		if len(steps) == 0 {
			return 0
		}
		v := int(steps[0]) % n
		steps = steps[1:]
		return v
	}
	var inner apitoken.Store = s.inner
	if arg(2) == 0 {
		inner = struct{ apitoken.Store }{s.inner}
	}
	entries := []int{1, 2, 100}[arg(3)]
	s.cache = newCache(t, inner, func(o *cachestore.Options) { o.MaxEntries = entries })
	ctx, cancel := context.WithCancel(t.Context())
	defer func() {
		for len(s.holds) > 0 {
			s.release()
		}
		cancel()
		s.reads.Wait()
	}()
	if arg(2) == 0 {
		s.reads.Go(func() { _ = s.cache.Run(ctx) })
	}
	for i := range scheduled {
		s.past[i] = []state{{}}
		s.write(i, false, false)
	}
	for len(steps) > 0 && !t.Failed() {
		s.step(arg(20), arg(scheduled), arg(256))
		synctest.Wait()
		st := s.cache.CacheStats()
		require.LessOrEqual(t, st.Entries, entries)
		require.LessOrEqual(t, st.Unknown, max(1, entries/8))
		require.Less(t, st.Age, maxStale)
	}
}

func (s *schedule) step(what, i, arg int) {
	switch what {
	case 0, 1, 2, 3:
		s.read(i, nil, 0)
	case 4:
		s.read(i, &hold{open: make(chan struct{})}, 0)
	case 5, 6:
		s.read(i, &hold{open: make(chan struct{}), after: true}, 0)
	case 7:
		s.read(i, &hold{open: make(chan struct{}), after: arg%2 == 0}, time.Duration(arg+1)*maxStale/100)
	case 8, 9:
		s.release()
	case 10, 11, 12:
		time.Sleep(time.Duration(arg) * maxStale / 400)
	case 13:
		time.Sleep(maxStale)
	case 14:
		s.write(i, false, arg%3 == 0)
	case 15:
		s.write(i, true, arg%3 == 0)
	case 16:
		var store apitoken.Store = s.db.Store
		if arg%2 == 0 {
			store = s.cache
		}
		require.NoError(s.t, store.Touch(s.t.Context(), []apitoken.Use{{ID: idOf(i), Count: 1, LastUsed: time.Now()}}))
	case 17:
		if arg%4 > 0 {
			s.cache.Forget(idOf(i))
			s.sees(i)
			return
		}
		s.cache.ForgetAll()
		for i := range scheduled {
			s.sees(i)
		}
	case 18:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failing = [][]string{nil, nil, {"Revisions"}, {"Get", "Revisions"}}[arg%4]
		s.faults++
	case 19:
		if _, err := s.cache.Get(s.t.Context(), idOf(i)); !errors.Is(err, errOutage) {
			s.sees(i)
		}
	}
}

// write changes a token, through the cache or past it; if ends, it deletes it. What
// was deleted is made again. Now and then the answer is lost, or the token is read
// before the commit.
func (s *schedule) write(i int, here, ends bool) {
	ctx := s.t.Context()
	var store apitoken.Store = s.db.Store
	if here {
		store = s.cache
		s.inner.lost = s.rnd%4 == 0
		if s.rnd%3 == 0 {
			s.inner.before = func() {
				s.read(i, nil, 0)
				synctest.Wait()
			}
		}
	}
	s.rnd++
	rec, err := s.db.Store.Get(ctx, idOf(i))
	op := fmt.Sprint("op", s.rnd)
	switch {
	case err != nil:
		rec = recordOf(i)
		rec.Op = op
		err = store.Create(ctx, rec, nil)
	case ends:
		op = ""
		err = store.Delete(ctx, idOf(i), rec.Token.Version, apitoken.Guard{}, nil)
	default:
		rec = next(rec)
		rec.Op = op
		err = store.Swap(ctx, rec, apitoken.Guard{}, nil)
	}
	require.True(s.t, err == nil || s.inner.lost)
	s.inner.lost, s.inner.before = false, nil
	s.mu.Lock()
	s.past[i][len(s.past[i])-1].until = time.Now()
	s.past[i] = append(s.past[i], state{op: op})
	s.mu.Unlock()
	if here {
		s.sees(i)
	}
}

// sees notes that reads which begin from now on may not return what was before.
func (s *schedule) sees(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[i] = len(s.past[i]) - 1
}

// read asks the cache, and holds the answer against the past. If the read reaches
// the database it is held up there.
func (s *schedule) read(i int, h *hold, patience time.Duration) {
	ctx, cancel := s.t.Context(), context.CancelFunc(func() {})
	if patience > 0 {
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	if h != nil {
		s.holds = append(s.holds, h)
		ctx = context.WithValue(ctx, holdKey{}, h)
	}
	s.mu.Lock()
	began, least, faults, failing := time.Now(), s.seen[i], s.faults, s.failing != nil
	s.mu.Unlock()
	s.reads.Go(func() {
		defer cancel()
		rec, err := s.cache.Record(ctx, idOf(i))
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case errors.Is(err, errOutage):
			if !failing && faults == s.faults {
				s.t.Errorf("token %d: an outage that was none", i)
			}
		case errors.Is(err, context.DeadlineExceeded):
			if patience == 0 || time.Since(began) < patience {
				s.t.Errorf("token %d: %v after %s", i, err, time.Since(began))
			}
		default:
			op := ""
			if err == nil {
				op = rec.Op
			}
			for _, st := range s.past[i][least:] {
				if st.op == op && (st.until.IsZero() || began.Sub(st.until) < maxStale) {
					return
				}
			}
			s.t.Errorf("token %d: answered %q, %v; asked at %s, past %v from %d on", i, op, err, began, s.past[i], least)
		}
	})
}

// release lets the read that was held up first go on.
func (s *schedule) release() {
	if len(s.holds) > 0 {
		close(s.holds[0].open)
		s.holds = s.holds[1:]
	}
}

func (s *schedule) before(ctx context.Context, method string, _ []apitoken.ID) error {
	if err := s.wait(ctx, false); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.failing {
		if m == method {
			return errOutage
		}
	}
	return nil
}

func (s *schedule) after(ctx context.Context, _ string, _ []apitoken.ID) error {
	return s.wait(ctx, true)
}

func (s *schedule) wait(ctx context.Context, after bool) (err error) {
	h, _ := ctx.Value(holdKey{}).(*hold)
	if h != nil && h.after == after {
		h.once.Do(func() {
			select {
			case <-h.open:
			case <-ctx.Done():
				err = ctx.Err()
			}
		})
	}
	return err
}
