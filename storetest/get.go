package storetest

import (
	"strings"
	"testing"

	"github.com/tokenry/apitoken"
)

func testGet(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	rec := plain("get")
	rec.Alias = "0b1f-alias"
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")

	got, err := s.GetByAlias(ctx, "0b1f-alias")
	aliasReturns.ok(t, err, "GetByAlias of a stored alias")
	aliasReturns.same(t, got, rec, "the token read by its alias")

	for _, alias := range []string{"", "0B1F-ALIAS", "0b1f-alias ", string(rec.Token.ID), "%"} {
		_, err := s.GetByAlias(ctx, alias)
		aliasReturns.is(t, err, apitoken.ErrNotFound, "GetByAlias of an alias no token has")
	}
	unknown := newID()
	for _, id := range []apitoken.ID{unknown, apitoken.ID(strings.ToLower(string(rec.Token.ID)))} {
		absent(t, s, id, getReturns, "Get of an ID no token has")
	}
}

// stored reads a token that must be there.
func stored(t *testing.T, s apitoken.Store, id apitoken.ID) *apitoken.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	getReturns.ok(t, err, "Get of a stored token")
	return rec
}

// absent demands that there is no such token.
func absent(t *testing.T, s apitoken.Store, id apitoken.ID, c clause, what string) {
	t.Helper()
	_, err := s.Get(t.Context(), id)
	c.is(t, err, apitoken.ErrNotFound, what)
}
