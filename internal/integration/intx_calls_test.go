package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

var inTxCalls = []scenario{
	{"commits", nil, inTxCommits},
	{"rolls back", nil, inTxRollsBack},
	{"goes on", nil, inTxGoesOn},
	{"is known at once", nil, inTxIsKnownAtOnce},
	{"revokes", nil, inTxRevokes},
	{"keeps nobody waiting", several, inTxKeepsNobodyWaiting},
}

// everything makes a call of each sort in tx: on a new token, on a token that is
// there, on the tenant's settings. It returns the new one's value and how many rows
// that makes.
func everything(s *site, tx hostTx, ann apitoken.Actor, there apitoken.ID) (now apitoken.Issued, rows map[string]int) {
	s.t.Helper()
	ctx, name := tx.in(s.ctx()), "renamed"
	first := s.issue(ctx, ann, apitoken.IssueRequest{IdempotencyKey: "once", Legacy: apitoken.LegacyCredential{
		ID: "old-" + ann.Tenant, Secret: apitoken.NewSecret("an older secret of this host"),
	}})
	id := first.Token.ID
	_, err := s.tokens.Edit(ctx, ann, id, apitoken.EditRequest{Name: &name, IfVersion: 1})
	require.NoError(s.t, err)
	now, err = s.tokens.Rotate(ctx, ann, id, apitoken.RotateRequest{IfVersion: 2})
	require.NoError(s.t, err)
	_, err = s.tokens.Disable(ctx, ann, there, "on leave")
	require.NoError(s.t, err)
	_, err = s.tokens.EditOrigins(ctx, ann, apitoken.OriginsRequest{Origins: []string{"https://acme.example"}})
	require.NoError(s.t, err)
	gone := s.issue(ctx, ann, apitoken.IssueRequest{})
	require.NoError(s.t, s.tokens.Delete(ctx, ann, gone.Token.ID, "a mistake"))
	return now, map[string]int{"apitoken_tokens": 1, "apitoken_events": 7, "apitoken_outbox": 7, "apitoken_settings": 1}
}

// drain delivers what earlier calls left.
func (s *site) drain() int {
	s.t.Helper()
	n, err := s.other.Deliver(s.ctx())
	require.NoError(s.t, err)
	return n
}

// undelivered is what Deliver could deliver now.
func (s *site) undelivered() int {
	s.t.Helper()
	status, err := s.other.Status(s.ctx())
	require.NoError(s.t, err)
	return status.OutboxEvents
}

var (
	existing = apitoken.IssueRequest{Name: "there before"}
	written  = []string{"token.created", "token.edited", "token.rotated"}
)

func inTxCommits(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	s.drain()
	s.notified.Take()
	before := s.rows()
	tx := s.begin()
	row := s.add(tx)
	issued, made := everything(s, tx, ann, there.Token.ID)
	id := issued.Token.ID

	ctx := tx.in(s.ctx())
	require.Equal(t, written, s.history(ctx, ann, id), "what the transaction sees of itself")
	page, err := s.tokens.List(ctx, ann, apitoken.ListQuery{})
	require.NoError(t, err)
	require.Len(t, page.Tokens, 2)
	require.NoError(t, s.verify(ctx, s.tokens, issued.Secret))
	require.ErrorIs(t, s.verify(ctx, s.tokens, there.Secret), apitoken.ErrDisabled)

	require.Equal(t, before, s.rows(), "what others see of a transaction that is open")
	require.Zero(t, s.undelivered())
	if s.dialect != sqlstore.SQLite { // where it would wait for the one writer
		require.Zero(t, s.drain(), "events of a transaction that is open")
	}
	require.ErrorIs(t, s.verify(s.ctx(), s.other, issued.Secret), apitoken.ErrUnknownToken)
	require.NoError(t, s.verify(s.ctx(), s.other, there.Secret))
	require.Empty(t, s.notified.Take())

	require.NoError(t, tx.commit(s.ctx()))
	made["customers"] = 1
	for table, n := range before {
		made[table] += n
	}
	require.Equal(t, made, s.rows())
	n, err := s.db.count(s.ctx(), row)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, written, s.history(s.ctx(), ann, id))
	require.NoError(t, s.verify(s.ctx(), s.other, issued.Secret))
	require.ErrorIs(t, s.verify(s.ctx(), s.other, there.Secret), apitoken.ErrDisabled)
	require.Equal(t, 7, s.drain())
	require.Len(t, s.notified.Take(), 7)
}

func inTxRollsBack(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	require.NoError(t, s.verify(s.ctx(), s.tokens, there.Secret)) // and is cached
	s.drain()
	s.notified.Take()
	before := s.rows()
	tx := s.begin()
	s.add(tx)
	issued, _ := everything(s, tx, ann, there.Token.ID)
	id := issued.Token.ID
	ctx := tx.in(s.ctx())
	require.NoError(t, s.verify(ctx, s.tokens, issued.Secret))
	require.ErrorIs(t, s.verify(ctx, s.tokens, there.Secret), apitoken.ErrDisabled)
	require.NoError(t, tx.rollback(s.ctx()))

	require.Equal(t, before, s.rows())
	require.ErrorIs(t, s.verify(s.ctx(), s.tokens, issued.Secret), apitoken.ErrUnknownToken, "nothing of it is cached")
	require.NoError(t, s.verify(s.ctx(), s.tokens, there.Secret), "nothing of it is cached")
	_, err := s.tokens.Get(s.ctx(), ann, id)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	events, err := s.raw.Events(s.ctx(), ann.Tenant, id, "", 10)
	require.NoError(t, err)
	require.Empty(t, events)
	require.Equal(t, []string{"token.created"}, s.history(s.ctx(), ann, there.Token.ID))
	set, err := s.tokens.Origins(s.ctx(), ann)
	require.NoError(t, err)
	require.Zero(t, set.Version)
	require.Zero(t, s.drain())
	require.Empty(t, s.notified.Take())

	// What the transaction took is free.
	tx = s.begin()
	again, _ := everything(s, tx, ann, there.Token.ID)
	require.NoError(t, tx.commit(s.ctx()))
	require.NoError(t, s.verify(s.ctx(), s.other, again.Secret))
}

// inTxGoesOn: a call that fails leaves nothing of itself, and the transaction
// goes on. PostgreSQL would end it at the first error of a statement.
func inTxGoesOn(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	old := apitoken.LegacyCredential{ID: "old-" + ann.Tenant, Secret: apitoken.NewSecret("an older secret of this host")}
	taken := s.issue(s.ctx(), ann, apitoken.IssueRequest{IdempotencyKey: "taken", Legacy: old})
	read, err := s.raw.Get(s.ctx(), there.Token.ID)
	require.NoError(t, err)
	s.drain()
	want := s.rows()
	tx := s.begin()
	ctx := tx.in(s.ctx())
	s.issue(ctx, ann, apitoken.IssueRequest{IdempotencyKey: "mine"})

	// A swap succeeds, and what belongs to it fails.
	swapped := read.Clone()
	swapped.Token.Version++
	swapped.Token.State, swapped.Op = apitoken.StateRevoked, "swapped"
	event := apitoken.Event{ID: string(there.Token.ID) + ".1.0", Type: apitoken.EventRevoked, Tenant: ann.Tenant, Version: 2, Deliver: true}
	rival := taken.Token.ID
	second, err := s.raw.Get(s.ctx(), rival)
	require.NoError(t, err)
	stale := read.Clone()
	stale.Token.Version += 5

	name := "renamed"
	var already *apitoken.AlreadyIssuedError
	for what, fails := range map[string]struct {
		call func() error
		want error
	}{
		"another's idempotency key": {func() error {
			_, err := s.tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "ci", IdempotencyKey: "taken"})
			return err
		}, apitoken.ErrInvalid},
		"the same request again": {func() error {
			_, err := s.tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "ci", IdempotencyKey: "mine"})
			require.ErrorAs(t, err, &already)
			return err
		}, apitoken.ErrConflict},
		"another's alias": {func() error {
			_, err := s.tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "ci", Legacy: old})
			return err
		}, apitoken.ErrInvalid},
		"an old version": {func() error {
			_, err := s.tokens.Edit(ctx, ann, there.Token.ID, apitoken.EditRequest{Name: &name, IfVersion: 9})
			return err
		}, apitoken.ErrVersion},
		"a swap of another version": {func() error { return s.raw.Swap(ctx, stale.Clone(), apitoken.Guard{}, nil) }, apitoken.ErrConflict},
		"a swap with an event that is there": {func() error {
			err := s.raw.Swap(ctx, swapped.Clone(), apitoken.Guard{}, []apitoken.Event{event})
			require.Error(t, err)
			require.NotErrorIs(t, err, apitoken.ErrConflict)
			return apitoken.ErrUnavailable // what of it the contract does not name
		}, apitoken.ErrUnavailable},
		"a replacement whose token is there": {func() error {
			return s.raw.Replace(ctx, second.Clone(), swapped.Clone(), apitoken.Guard{}, nil)
		}, apitoken.ErrConflict},
		"a token that is not there": {func() error {
			return s.tokens.Revoke(ctx, ann, apitoken.ID("A23456789012345678901z"), "")
		}, apitoken.ErrNotFound},
		"a text that cannot be stored": {func() error {
			bad := read.Clone()
			bad.Token.Version++
			bad.Token.Name = "\xff"
			require.Error(t, s.raw.Swap(ctx, bad, apitoken.Guard{}, nil))
			return apitoken.ErrUnavailable
		}, apitoken.ErrUnavailable},
	} {
		require.ErrorIs(t, fails.call(), fails.want, what)
		now, err := s.raw.Get(ctx, there.Token.ID)
		require.NoError(t, err, what)
		require.Equal(t, read.Op, now.Op, what)
	}
	row := s.add(tx)
	s.issue(ctx, ann, apitoken.IssueRequest{})
	require.NoError(t, tx.commit(s.ctx()))

	for table, n := range map[string]int{"customers": 1, "apitoken_tokens": 2, "apitoken_events": 2, "apitoken_outbox": 2} {
		want[table] += n
	}
	require.Equal(t, want, s.rows())
	n, err := s.db.count(s.ctx(), row)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, s.verify(s.ctx(), s.other, there.Secret))
}

// inTxIsKnownAtOnce: nobody knows a token before the commit, and everybody
// afterwards, a cache that was asked for it too early after a second.
func inTxIsKnownAtOnce(t *testing.T, s *site, ann apitoken.Actor) {
	tx := s.begin()
	asked := s.issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{})
	unasked := s.issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{})
	hinted := s.issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{})
	for _, early := range []apitoken.Issued{asked, hinted} {
		require.ErrorIs(t, s.verify(s.ctx(), s.tokens, early.Secret), apitoken.ErrUnknownToken)
		require.ErrorIs(t, s.verify(s.ctx(), s.other, early.Secret), apitoken.ErrUnknownToken)
	}
	require.NoError(t, tx.commit(s.ctx()))
	for _, issued := range []apitoken.Issued{asked, unasked, hinted} {
		require.NoError(t, s.verify(s.ctx(), s.other, issued.Secret))
	}
	require.NoError(t, s.verify(s.ctx(), s.tokens, unasked.Secret))
	if s.cache != nil {
		s.cache.Forget(hinted.Token.ID)
		require.ErrorIs(t, s.verify(s.ctx(), s.tokens, asked.Secret), apitoken.ErrUnknownToken, "this is what waits for the second")
		s.clock.Advance(time.Second)
	}
	require.NoError(t, s.verify(s.ctx(), s.tokens, hinted.Secret))
	require.NoError(t, s.verify(s.ctx(), s.tokens, asked.Secret))
}

// inTxRevokes: a revoke counts from the commit on, behind a cache within its
// bound.
func inTxRevokes(t *testing.T, s *site, ann apitoken.Actor) {
	issued := s.issue(s.ctx(), ann, existing)
	hinted := s.issue(s.ctx(), ann, existing)
	both := []apitoken.Issued{issued, hinted}
	for _, commits := range []bool{false, true} {
		tx := s.begin()
		ctx := tx.in(s.ctx())
		for _, token := range both {
			require.NoError(t, s.verify(s.ctx(), s.tokens, token.Secret))
			require.NoError(t, s.tokens.Revoke(ctx, ann, token.Token.ID, "left"))
			require.ErrorIs(t, s.verify(ctx, s.tokens, token.Secret), apitoken.ErrRevoked)
			require.NoError(t, s.verify(s.ctx(), s.tokens, token.Secret))
			require.NoError(t, s.verify(s.ctx(), s.other, token.Secret))
		}
		if !commits {
			require.NoError(t, tx.rollback(s.ctx()))
			for _, token := range both {
				require.NoError(t, s.verify(s.ctx(), s.tokens, token.Secret))
				require.NoError(t, s.verify(s.ctx(), s.other, token.Secret))
			}
			continue
		}
		require.NoError(t, tx.commit(s.ctx()))
	}
	require.ErrorIs(t, s.verify(s.ctx(), s.other, issued.Secret), apitoken.ErrRevoked)
	if s.cache != nil {
		s.cache.Forget(hinted.Token.ID)
		require.NoError(t, s.verify(s.ctx(), s.tokens, issued.Secret), "this is what waits for the bound")
		require.ErrorIs(t, s.verify(s.ctx(), s.tokens, hinted.Secret), apitoken.ErrRevoked)
		s.clock.Advance(5 * time.Second)
	}
	require.ErrorIs(t, s.verify(s.ctx(), s.tokens, issued.Secret), apitoken.ErrRevoked)
	require.ErrorIs(t, s.verify(s.ctx(), s.tokens, hinted.Secret), apitoken.ErrRevoked)
}

// inTxKeepsNobodyWaiting: while a transaction of the host's is open, events of
// other tokens are delivered and uses of other tokens are written. SQLite has one
// writer at a time.
func inTxKeepsNobodyWaiting(t *testing.T, s *site, ann apitoken.Actor) {
	there, used := s.issue(s.ctx(), ann, existing), s.issue(s.ctx(), ann, existing)
	tx := s.begin()
	everything(s, tx, ann, there.Token.ID)
	require.Equal(t, 2, s.drain())
	require.NoError(t, s.verify(s.ctx(), s.other, used.Secret))
	require.NoError(t, s.other.Flush(s.ctx()))
	rec, err := s.raw.Get(s.ctx(), used.Token.ID)
	require.NoError(t, err)
	require.EqualValues(t, 1, rec.Token.Usage.Uses)
	s.issue(s.ctx(), ann, apitoken.IssueRequest{IdempotencyKey: "another"})
	require.NoError(t, s.tokens.Revoke(s.ctx(), ann, used.Token.ID, ""))
	_, err = s.other.Sweep(s.ctx())
	require.NoError(t, err)
	require.NoError(t, tx.commit(s.ctx()))
	require.Equal(t, 9, s.drain())
}

// TestInTxNeedsOneConnection: nothing of a call runs beside the transaction, or it
// would wait for a connection for ever.
func TestInTxNeedsOneConnection(t *testing.T) {
	t.Parallel()
	for _, e := range hostEngines() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t, 1)
			raw := db.store(t)
			require.NoError(t, db.exec(t.Context(), customers))
			s, ann := newSite(t, e, db, raw, true), apitoken.Actor{ID: "ann", Tenant: "acme"}
			there := s.issue(s.ctx(), ann, existing) // by now statements are prepared
			tx := s.begin()
			s.add(tx)
			issued, _ := everything(s, tx, ann, there.Token.ID)
			require.NoError(t, s.verify(tx.in(s.ctx()), s.tokens, issued.Secret))
			require.NoError(t, tx.commit(s.ctx()))
			require.NoError(t, s.verify(s.ctx(), s.tokens, issued.Secret))
		})
	}
}
