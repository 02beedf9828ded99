package sqlengine

import (
	"context"
	"errors"

	"github.com/tokenry/apitoken"
)

// Create implements [apitoken.Store].
func (e *Engine) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	add, err := e.creation(rec, events)
	if err != nil {
		return e.outage("create", err)
	}
	return e.writeUnique(ctx, "create",
		func(c Conn) error { return add(ctx, c) },
		func(c Conn) (*apitoken.DuplicateError, error) { return e.taken(ctx, c, rec, events) })
}

// Get implements [apitoken.Store].
func (e *Engine) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if !id.Valid() {
		return nil, apitoken.ErrNotFound
	}
	return e.one(ctx, "get", e.st.get, string(id))
}

// GetByAlias implements [apitoken.Store].
func (e *Engine) GetByAlias(ctx context.Context, alias string) (*apitoken.Record, error) {
	if alias == "" || !storable(alias, maxIdentifier) {
		return nil, apitoken.ErrNotFound // it comes from a request, and no token can have it
	}
	return e.one(ctx, "get by alias", e.st.getByAlias, alias)
}

// one reads one token.
func (e *Engine) one(ctx context.Context, what string, st *Statement, key string) (*apitoken.Record, error) {
	c, err := e.reader(ctx)
	if err != nil {
		return nil, err
	}
	var rec *apitoken.Record
	err = each(ctx, c, st, []any{key}, func(rows Rows) (err error) {
		rec, err = scanToken(rows)
		return err
	})
	switch {
	case err != nil:
		return nil, e.outage(what, err)
	case rec == nil:
		return nil, apitoken.ErrNotFound
	}
	return rec, nil
}

// Swap implements [apitoken.Store].
func (e *Engine) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	change, err := e.exchange(rec, guard)
	if err != nil {
		return e.outage("swap", err)
	}
	lines, err := e.lines(events)
	if err != nil {
		return e.outage("swap", err)
	}
	return e.writeUnique(ctx, "swap",
		func(c Conn) error {
			if err := change(ctx, c); err != nil {
				return err
			}
			return lines(ctx, c)
		},
		func(c Conn) (*apitoken.DuplicateError, error) { return e.aliasTaken(ctx, c, rec) })
}

// Replace implements [apitoken.Store].
func (e *Engine) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	change, err := e.exchange(old, guard)
	if err != nil {
		return e.outage("replace", err)
	}
	add, err := e.creation(rec, events)
	if err != nil {
		return e.outage("replace", err)
	}
	return e.writeUnique(ctx, "replace",
		func(c Conn) error {
			if err := change(ctx, c); err != nil {
				return err
			}
			return add(ctx, c)
		},
		func(c Conn) (*apitoken.DuplicateError, error) {
			dup, err := e.aliasTaken(ctx, c, old)
			if dup != nil || err != nil {
				return dup, err
			}
			if dup, err = e.taken(ctx, c, rec, events); dup != nil || err != nil {
				return dup, err
			}
			if rec.Alias != "" && rec.Alias == old.Alias {
				return &apitoken.DuplicateError{Field: "alias", Existing: old.Token.ID}, nil
			}
			return nil, nil
		})
}

// Delete implements [apitoken.Store].
func (e *Engine) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	if !id.Valid() {
		return apitoken.ErrNotFound
	}
	lines, err := e.lines(events)
	if err != nil {
		return e.outage("delete", err)
	}
	return e.write(ctx, "delete", func(c Conn) error {
		n, err := c.Exec(ctx, e.st.remove, string(id), version, latest(guard))
		if err != nil {
			return err
		}
		if n == 0 {
			return e.refused(ctx, c, id)
		}
		return lines(ctx, c)
	})
}

var errNoID = errors.New("the ID is not one of a token")

// step is a part of a write, ready to be made, several times if need be.
type step func(ctx context.Context, c Conn) error

// creation adds a token with its events.
func (e *Engine) creation(rec *apitoken.Record, events []apitoken.Event) (step, error) {
	args, err := written((*columns).token, rec)
	if err != nil {
		return nil, err
	}
	if !rec.Token.ID.Valid() {
		return nil, errNoID
	}
	lines, err := e.lines(events)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, c Conn) error {
		if _, err := c.Exec(ctx, e.st.create, args...); err != nil {
			return err
		}
		return lines(ctx, c)
	}, nil
}

// exchange swaps a token.
func (e *Engine) exchange(rec *apitoken.Record, guard apitoken.Guard) (step, error) {
	id := rec.Token.ID
	args, err := written((*columns).changing, rec)
	if err != nil {
		return nil, err
	}
	args = append(args, string(id), rec.Token.Version-1, latest(guard))
	return func(ctx context.Context, c Conn) error {
		if !id.Valid() {
			return apitoken.ErrNotFound
		}
		n, err := c.Exec(ctx, e.st.swap, args...)
		if err == nil && n == 0 {
			return e.refused(ctx, c, id)
		}
		return err
	}, nil
}

// latest is the latest last use with which a guard lets a write pass.
func latest(guard apitoken.Guard) int64 {
	switch {
	case guard.NeverUsed:
		return 0
	case guard.NotUsedAfter.IsZero():
		return never
	}
	return guard.NotUsedAfter.UnixMicro()
}

// refused says why a guarded write changed no row.
func (e *Engine) refused(ctx context.Context, c Conn, id apitoken.ID) error {
	var version int64
	there, err := e.first(ctx, c, e.st.version, []any{string(id)}, &version)
	switch {
	case err != nil:
		return err
	case !there:
		return apitoken.ErrNotFound
	}
	return apitoken.ErrConflict
}

// taken says what of a token that could not be added is another's. An ID whose
// events are there was used, its token deleted or not.
func (e *Engine) taken(ctx context.Context, c Conn, rec *apitoken.Record, events []apitoken.Event) (*apitoken.DuplicateError, error) {
	t := &rec.Token
	if rec.IdempotencyKey != "" {
		var existing string
		there, err := e.first(ctx, c, e.st.idOfKey, []any{t.Tenant, rec.IdempotencyKey}, &existing)
		if err != nil {
			return nil, err
		}
		if there {
			return &apitoken.DuplicateError{Field: "idempotency key", Existing: apitoken.ID(existing)}, nil
		}
	}
	var version int64
	there, err := e.first(ctx, c, e.st.version, []any{string(t.ID)}, &version)
	if err != nil {
		return nil, err
	}
	if there {
		return &apitoken.DuplicateError{Field: "id", Existing: t.ID}, nil
	}
	if dup, err := e.aliasTaken(ctx, c, rec); dup != nil || err != nil {
		return dup, err
	}
	for i := range events {
		var id string
		there, err := e.first(ctx, c, e.st.idOfEvent, []any{events[i].ID}, &id)
		if err != nil {
			return nil, err
		}
		if there {
			return &apitoken.DuplicateError{Field: "id", Existing: t.ID}, nil
		}
	}
	return nil, nil
}

// aliasTaken reports an alias that another token has.
func (e *Engine) aliasTaken(ctx context.Context, c Conn, rec *apitoken.Record) (*apitoken.DuplicateError, error) {
	if rec.Alias == "" {
		return nil, nil
	}
	var id string
	there, err := e.first(ctx, c, e.st.idOfAlias, []any{rec.Alias}, &id)
	if err != nil || !there || id == string(rec.Token.ID) {
		return nil, err
	}
	return &apitoken.DuplicateError{Field: "alias", Existing: apitoken.ID(id)}, nil
}

// first reads the first row, and reports whether there is one.
func (e *Engine) first(ctx context.Context, c Conn, st *Statement, args []any, dest ...any) (there bool, err error) {
	err = each(ctx, c, st, args, func(rows Rows) error {
		there = true
		return rows.Scan(dest...)
	})
	return there, err
}
