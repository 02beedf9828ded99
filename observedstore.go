package apitoken

import (
	"context"
	"errors"
	"time"
)

// observedStore tells an Observer of the calls that fail.
type observedStore struct {
	Store
	tell func(ctx context.Context, f StoreFailure)
}

// Unwrap keeps what the store offers beside reachable.
func (o *observedStore) Unwrap() Store { return o.Store }

// failed tells of an error unless it is an answer, or the caller's own going away.
func failed(ctx context.Context, tell func(context.Context, StoreFailure), call string, err error) {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || ctx.Err() != nil {
		return
	}
	tell(ctx, StoreFailure{Call: call, Err: err})
}

func observed[T any](ctx context.Context, o *observedStore, call string, out T, err error) (T, error) {
	failed(ctx, o.tell, call, err)
	return out, err
}

func (o *observedStore) exec(ctx context.Context, call string, err error) error {
	failed(ctx, o.tell, call, err)
	return err
}

func (o *observedStore) Create(ctx context.Context, rec *Record, events []Event) error {
	return o.exec(ctx, "Create", o.Store.Create(ctx, rec, events))
}

func (o *observedStore) Get(ctx context.Context, id ID) (*Record, error) {
	rec, err := o.Store.Get(ctx, id)
	return observed(ctx, o, "Get", rec, err)
}

func (o *observedStore) GetByAlias(ctx context.Context, alias string) (*Record, error) {
	rec, err := o.Store.GetByAlias(ctx, alias)
	return observed(ctx, o, "GetByAlias", rec, err)
}

func (o *observedStore) Swap(ctx context.Context, rec *Record, guard Guard, events []Event) error {
	return o.exec(ctx, "Swap", o.Store.Swap(ctx, rec, guard, events))
}

func (o *observedStore) Replace(ctx context.Context, rec, old *Record, guard Guard, events []Event) error {
	return o.exec(ctx, "Replace", o.Store.Replace(ctx, rec, old, guard, events))
}

func (o *observedStore) Delete(ctx context.Context, id ID, version int64, guard Guard, events []Event) error {
	return o.exec(ctx, "Delete", o.Store.Delete(ctx, id, version, guard, events))
}

func (o *observedStore) Touch(ctx context.Context, uses []Use) error {
	return o.exec(ctx, "Touch", o.Store.Touch(ctx, uses))
}

func (o *observedStore) List(ctx context.Context, query StoreQuery) ([]*Record, error) {
	list, err := o.Store.List(ctx, query)
	return observed(ctx, o, "List", list, err)
}

func (o *observedStore) Counts(ctx context.Context, query StoreQuery) (map[Kind]int, error) {
	counts, err := o.Store.Counts(ctx, query)
	return observed(ctx, o, "Counts", counts, err)
}

func (o *observedStore) Due(ctx context.Context, before time.Time, after DuePosition, limit int) ([]*Record, error) {
	list, err := o.Store.Due(ctx, before, after, limit)
	return observed(ctx, o, "Due", list, err)
}

func (o *observedStore) Events(ctx context.Context, tenant string, token ID, after string, limit int) ([]Event, error) {
	list, err := o.Store.Events(ctx, tenant, token, after, limit)
	return observed(ctx, o, "Events", list, err)
}

func (o *observedStore) Claim(ctx context.Context, lease Lease, limit int) ([]Delivery, error) {
	list, err := o.Store.Claim(ctx, lease, limit)
	return observed(ctx, o, "Claim", list, err)
}

func (o *observedStore) Settle(ctx context.Context, lease string, settled []Settlement) error {
	return o.exec(ctx, "Settle", o.Store.Settle(ctx, lease, settled))
}

func (o *observedStore) Settings(ctx context.Context, tenant string) (Settings, error) {
	settings, err := o.Store.Settings(ctx, tenant)
	return observed(ctx, o, "Settings", settings, err)
}

func (o *observedStore) SwapSettings(ctx context.Context, settings Settings, events []Event) error {
	return o.exec(ctx, "SwapSettings", o.Store.SwapSettings(ctx, settings, events))
}

func (o *observedStore) Stats(ctx context.Context, now time.Time) (Stats, error) {
	stats, err := o.Store.Stats(ctx, now)
	return observed(ctx, o, "Stats", stats, err)
}

// observedRecords is observedStore for shared records.
type observedRecords struct {
	Records
	tell func(ctx context.Context, f StoreFailure)
}

func (o observedRecords) Record(ctx context.Context, id ID) (*Record, error) {
	rec, err := o.Records.Record(ctx, id)
	failed(ctx, o.tell, "Record", err)
	return rec, err
}
