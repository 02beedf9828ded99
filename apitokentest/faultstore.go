package apitokentest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tokenry/apitoken"
)

// Call is one call of a method of a [FaultStore].
type Call struct {
	N      int    // counted from 1 since the last Reset
	Method string // "Get", "Swap", ...
	// Done is false before the call reaches the store, true when it took effect
	// and its answer is on the way back.
	Done bool
}

// FaultStore decorates a Store so that a test can let it fail, lose an answer,
// or do something else between two calls. It is safe for concurrent use; make
// it with [NewFaultStore].
type FaultStore struct {
	inner apitoken.Store

	mu    sync.Mutex
	hook  func(Call) error
	calls []string
}

// ErrFault is what an injected fault answers. It is of no error family, like
// the error of a database driver.
var ErrFault = errors.New("apitokentest: injected fault")

// NewFaultStore returns a store that hands everything to inner, until told
// otherwise.
func NewFaultStore(inner apitoken.Store) *FaultStore { return &FaultStore{inner: inner} }

// On calls hook before and after every call. An error of the hook becomes the
// answer: before, the call does not reach the store; after, it took effect and
// the caller does not learn of it. The hook may use the store itself through
// Unwrap. nil removes it.
func (f *FaultStore) On(hook func(Call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// FailCall resets the count and lets the n-th call fail, counted from 1; 0 lets
// all of them fail.
func (f *FaultStore) FailCall(n int) { f.failWhen(n, false) }

// LoseAnswer resets the count and lets the n-th call take effect but answer with
// an error, as a commit does whose acknowledgement is lost.
func (f *FaultStore) LoseAnswer(n int) { f.failWhen(n, true) }

func (f *FaultStore) failWhen(n int, done bool) {
	f.Reset()
	f.On(func(c Call) error {
		if c.Done == done && (n == 0 || c.N == n) {
			return ErrFault
		}
		return nil
	})
}

// Reset forgets the calls and removes the hook.
func (f *FaultStore) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook, f.calls = nil, nil
}

// Calls returns the methods called since the last Reset, in order.
func (f *FaultStore) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

// Unwrap returns the decorated store.
func (f *FaultStore) Unwrap() apitoken.Store { return f.inner }

// call runs one call with the hook around it, without a lock held.
func call[T any](f *FaultStore, method string, do func() (T, error)) (T, error) {
	f.mu.Lock()
	f.calls = append(f.calls, method)
	c, hook := Call{N: len(f.calls), Method: method}, f.hook
	f.mu.Unlock()
	var zero T
	if hook == nil {
		return do()
	}
	if err := hook(c); err != nil {
		return zero, err
	}
	out, err := do()
	c.Done = true
	if lost := hook(c); lost != nil {
		return zero, lost
	}
	return out, err
}

// exec is call for methods that answer with an error only.
func exec(f *FaultStore, method string, do func() error) error {
	_, err := call(f, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// Record implements [apitoken.Records]: shared records where the decorated store
// has them, else fresh ones.
func (f *FaultStore) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	return call(f, "Record", func() (*apitoken.Record, error) {
		if r, ok := f.inner.(apitoken.Records); ok {
			return r.Record(ctx, id)
		}
		return f.inner.Get(ctx, id)
	})
}

// Revisions implements [apitoken.Revisions]: those of the decorated store where it
// has them, else those of what Get returns.
func (f *FaultStore) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	return call(f, "Revisions", func() ([]apitoken.Revision, error) {
		if r, ok := f.inner.(apitoken.Revisions); ok {
			return r.Revisions(ctx, ids)
		}
		var out []apitoken.Revision
		for _, id := range ids {
			rec, err := f.inner.Get(ctx, id)
			switch {
			case err == nil:
				out = append(out, apitoken.Revision{ID: id, Version: rec.Token.Version, Op: rec.Op, LastUsed: rec.Token.Usage.LastUsed, Uses: rec.Token.Usage.Uses})
			case !errors.Is(err, apitoken.ErrNotFound):
				return nil, err
			}
		}
		return out, nil
	})
}

// Create implements [apitoken.Store].
func (f *FaultStore) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	return exec(f, "Create", func() error { return f.inner.Create(ctx, rec, events) })
}

// Get implements [apitoken.Store].
func (f *FaultStore) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	return call(f, "Get", func() (*apitoken.Record, error) { return f.inner.Get(ctx, id) })
}

// GetByAlias implements [apitoken.Store].
func (f *FaultStore) GetByAlias(ctx context.Context, alias string) (*apitoken.Record, error) {
	return call(f, "GetByAlias", func() (*apitoken.Record, error) { return f.inner.GetByAlias(ctx, alias) })
}

// Swap implements [apitoken.Store].
func (f *FaultStore) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return exec(f, "Swap", func() error { return f.inner.Swap(ctx, rec, guard, events) })
}

// Replace implements [apitoken.Store].
func (f *FaultStore) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return exec(f, "Replace", func() error { return f.inner.Replace(ctx, rec, old, guard, events) })
}

// Delete implements [apitoken.Store].
func (f *FaultStore) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	return exec(f, "Delete", func() error { return f.inner.Delete(ctx, id, version, guard, events) })
}

// Touch implements [apitoken.Store].
func (f *FaultStore) Touch(ctx context.Context, uses []apitoken.Use) error {
	return exec(f, "Touch", func() error { return f.inner.Touch(ctx, uses) })
}

// List implements [apitoken.Store].
func (f *FaultStore) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	return call(f, "List", func() ([]*apitoken.Record, error) { return f.inner.List(ctx, query) })
}

// Counts implements [apitoken.Store].
func (f *FaultStore) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	return call(f, "Counts", func() (map[apitoken.Kind]int, error) { return f.inner.Counts(ctx, query) })
}

// Due implements [apitoken.Store].
func (f *FaultStore) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	return call(f, "Due", func() ([]*apitoken.Record, error) { return f.inner.Due(ctx, before, after, limit) })
}

// Events implements [apitoken.Store].
func (f *FaultStore) Events(ctx context.Context, tenant string, token apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	return call(f, "Events", func() ([]apitoken.Event, error) { return f.inner.Events(ctx, tenant, token, after, limit) })
}

// Claim implements [apitoken.Store].
func (f *FaultStore) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	return call(f, "Claim", func() ([]apitoken.Delivery, error) { return f.inner.Claim(ctx, lease, limit) })
}

// Settle implements [apitoken.Store].
func (f *FaultStore) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	return exec(f, "Settle", func() error { return f.inner.Settle(ctx, lease, settled) })
}

// Settings implements [apitoken.Store].
func (f *FaultStore) Settings(ctx context.Context, tenant string) (apitoken.Settings, error) {
	return call(f, "Settings", func() (apitoken.Settings, error) { return f.inner.Settings(ctx, tenant) })
}

// SwapSettings implements [apitoken.Store].
func (f *FaultStore) SwapSettings(ctx context.Context, settings apitoken.Settings, events []apitoken.Event) error {
	return exec(f, "SwapSettings", func() error { return f.inner.SwapSettings(ctx, settings, events) })
}

// Stats implements [apitoken.Store].
func (f *FaultStore) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	return call(f, "Stats", func() (apitoken.Stats, error) { return f.inner.Stats(ctx, now) })
}

var (
	_ apitoken.Store     = (*FaultStore)(nil)
	_ apitoken.Records   = (*FaultStore)(nil)
	_ apitoken.Revisions = (*FaultStore)(nil)
	_ apitoken.Unwrapper = (*FaultStore)(nil)
)
