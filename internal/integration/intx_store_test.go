package integration_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/storetest"
)

// TestStoreInTx holds the store to its contract where each call is one of a
// transaction of the host's; with -levels at every level.
func TestStoreInTx(t *testing.T) {
	t.Parallel()
	for _, e := range hostEngines() {
		if skipsLevel(e.name) {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t, 0)
			store := db.store(t)
			storetest.Run(t, func(t *testing.T) apitoken.Store {
				for _, table := range []string{"tokens", "events", "outbox", "settings", "replays"} {
					require.NoError(t, db.exec(t.Context(), "DELETE FROM apitoken_"+table))
				}
				return transacted{store, db, new(sync.Mutex)}
			})
		})
	}
}

// transacted makes each call in a transaction of the host's.
type transacted struct {
	store apitoken.Store
	db    hostDB
	// claim is held by who claims. A claim passes over what another transaction has
	// locked, which above READ COMMITTED is more than it takes, and the suite takes a
	// claim of nothing for the end.
	claim *sync.Mutex
}

// maxTransactions bounds how often a host begins anew.
const maxTransactions = 200

// in runs call in a transaction, and does what a host should: it commits whatever
// the call answers, since one that fails leaves nothing, and begins anew where the
// database gave the transaction up for another's sake.
func (x transacted) in(ctx context.Context, call func(ctx context.Context) error) error {
	var err error
	for range maxTransactions {
		var again bool
		if again, err = x.once(ctx, call); !again {
			break
		}
	}
	return err
}

func (x transacted) once(ctx context.Context, call func(ctx context.Context) error) (again bool, err error) {
	tx, err := x.db.begin(ctx)
	if err != nil {
		return false, err
	}
	err = call(tx.in(ctx))
	if errors.Is(err, apitoken.ErrUnavailable) {
		return true, errors.Join(err, tx.rollback(context.WithoutCancel(ctx)))
	}
	failed := tx.commit(context.WithoutCancel(ctx))
	var state interface{ SQLState() string }
	if errors.As(failed, &state) && state.SQLState() == "40001" {
		return true, failed
	}
	return false, errors.Join(err, failed)
}

// asked is in for a call that answers.
func asked[T any](ctx context.Context, x transacted, call func(ctx context.Context) (T, error)) (answer T, err error) {
	err = x.in(ctx, func(ctx context.Context) error {
		answer, err = call(ctx)
		return err
	})
	return answer, err
}

func (x transacted) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.Create(ctx, rec, events) })
}

func (x transacted) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	return asked(ctx, x, func(ctx context.Context) (*apitoken.Record, error) { return x.store.Get(ctx, id) })
}

func (x transacted) GetByAlias(ctx context.Context, alias string) (*apitoken.Record, error) {
	return asked(ctx, x, func(ctx context.Context) (*apitoken.Record, error) { return x.store.GetByAlias(ctx, alias) })
}

func (x transacted) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.Swap(ctx, rec, guard, events) })
}

func (x transacted) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.Replace(ctx, rec, old, guard, events) })
}

func (x transacted) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.Delete(ctx, id, version, guard, events) })
}

func (x transacted) Touch(ctx context.Context, uses []apitoken.Use) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.Touch(ctx, uses) })
}

func (x transacted) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	return asked(ctx, x, func(ctx context.Context) ([]*apitoken.Record, error) { return x.store.List(ctx, query) })
}

func (x transacted) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	return asked(ctx, x, func(ctx context.Context) (map[apitoken.Kind]int, error) { return x.store.Counts(ctx, query) })
}

func (x transacted) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	return asked(ctx, x, func(ctx context.Context) ([]*apitoken.Record, error) { return x.store.Due(ctx, before, after, limit) })
}

func (x transacted) Events(ctx context.Context, tenant string, token apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	return asked(ctx, x, func(ctx context.Context) ([]apitoken.Event, error) {
		return x.store.Events(ctx, tenant, token, after, limit)
	})
}

func (x transacted) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	x.claim.Lock()
	defer x.claim.Unlock()
	return asked(ctx, x, func(ctx context.Context) ([]apitoken.Delivery, error) { return x.store.Claim(ctx, lease, limit) })
}

func (x transacted) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.Settle(ctx, lease, settled) })
}

func (x transacted) Settings(ctx context.Context, tenant string) (apitoken.Settings, error) {
	return asked(ctx, x, func(ctx context.Context) (apitoken.Settings, error) { return x.store.Settings(ctx, tenant) })
}

func (x transacted) SwapSettings(ctx context.Context, settings apitoken.Settings, events []apitoken.Event) error {
	return x.in(ctx, func(ctx context.Context) error { return x.store.SwapSettings(ctx, settings, events) })
}

func (x transacted) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	return asked(ctx, x, func(ctx context.Context) (apitoken.Stats, error) { return x.store.Stats(ctx, now) })
}

// Revisions implements [apitoken.Revisions].
func (x transacted) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	return asked(ctx, x, func(ctx context.Context) ([]apitoken.Revision, error) {
		return x.store.(apitoken.Revisions).Revisions(ctx, ids)
	})
}
