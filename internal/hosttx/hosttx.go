// Package hosttx carries a transaction of the host's own in a context, from the
// package that knows its type (sqlstore, pgxstore) through the Manager and any
// decorators to the store that runs its statements in it.
package hosttx

import "context"

type key struct{}

// With returns a context that carries tx.
func With(ctx context.Context, tx any) context.Context {
	return context.WithValue(ctx, key{}, tx)
}

// From returns what ctx carries, nil if nothing. Whoever gets something must
// neither cache what it reads with ctx, since it may never be committed, nor answer
// from a cache, since the transaction may have changed it.
func From(ctx context.Context) any { return ctx.Value(key{}) }
