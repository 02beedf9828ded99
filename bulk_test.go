package apitoken_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// operator is the host's, after a leak or the restore of a backup.
var operator = apitoken.DangerouslyCrossTenant("operator")

// bulk runs a request to its end and adds up what became of it.
func bulk(ctx context.Context, s *apitoken.Service, actor apitoken.Actor, req apitoken.BulkRequest) (sum apitoken.BulkProgress, batches int, err error) {
	for p, e := range s.Bulk(ctx, actor, req) {
		batches++
		err = e
		sum.Changed += p.Changed
		sum.Unchanged += p.Unchanged
		sum.Skipped = append(sum.Skipped, p.Skipped...)
		sum.Failed = append(sum.Failed, p.Failed...)
		sum.Cursor = p.Cursor
	}
	return sum, batches, err
}

func (w *world) bulk(actor apitoken.Actor, req apitoken.BulkRequest) apitoken.BulkProgress {
	w.t.Helper()
	sum, _, err := bulk(w.t.Context(), w.Service, actor, req)
	require.NoError(w.t, err)
	require.Empty(w.t, sum.Cursor, "the last batch has none")
	return sum
}

// working names the tokens that still work, of those given.
func (w *world) working(tokens map[string]apitoken.Issued) []string {
	w.t.Helper()
	var names []string
	for name, i := range tokens {
		if w.stored(i.Token.ID).Token.State == apitoken.StateActive {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestBulkSelects(t *testing.T) {
	t.Parallel()
	leaked := apitokentest.Start.Add(2 * day)
	for _, c := range []struct {
		name  string
		actor apitoken.Actor
		req   apitoken.BulkRequest
		left  []string // active afterwards
	}{
		{"owner", ann, apitoken.BulkRequest{Owner: "bob"}, []string{"ann1", "ann2", "node", "zoe"}},
		{"kind", ann, apitoken.BulkRequest{Kinds: []apitoken.Kind{node}}, []string{"ann1", "ann2", "bob1", "bob2", "zoe"}},
		{"kinds", ann, apitoken.BulkRequest{Kinds: []apitoken.Kind{node, plain}}, []string{"ann1", "ann2", "bob1", "zoe"}},
		{"owner and kind", ann, apitoken.BulkRequest{Owner: "bob", Kinds: []apitoken.Kind{plain}}, []string{"ann1", "ann2", "bob1", "node", "zoe"}},
		{"tenant", ann, apitoken.BulkRequest{Tenant: "acme"}, []string{"zoe"}},
		{"issued before", ann, apitoken.BulkRequest{IssuedBefore: leaked}, []string{"ann2", "bob2", "node", "zoe"}},
		{"issued before, to the instant", ann, apitoken.BulkRequest{IssuedBefore: leaked.Add(time.Microsecond)}, []string{"bob2", "node", "zoe"}},
		{"all at once", ann, apitoken.BulkRequest{Tenant: "acme", Owner: "ann", Kinds: []apitoken.Kind{personal}, IssuedBefore: leaked}, []string{"ann2", "bob1", "bob2", "node", "zoe"}},
		{"nobody's", ann, apitoken.BulkRequest{Owner: "nobody"}, []string{"ann1", "ann2", "bob1", "bob2", "node", "zoe"}},
		{"job of the tenant", system, apitoken.BulkRequest{Tenant: "acme"}, []string{"zoe"}},
		{"another tenant", zoe, apitoken.BulkRequest{Tenant: "rival"}, []string{"ann1", "ann2", "bob1", "bob2", "node"}},
		{"another tenant, issued before", zoe, apitoken.BulkRequest{IssuedBefore: leaked.Add(week)}, []string{"ann1", "ann2", "bob1", "bob2", "node"}},
		{"who manages nothing, own ones only", bob, apitoken.BulkRequest{IssuedBefore: leaked}, []string{"ann1", "ann2", "bob2", "node", "zoe"}},
		{"operator, everywhere", operator, apitoken.BulkRequest{IssuedBefore: leaked.Add(week)}, nil},
		{"operator, one tenant", operator, apitoken.BulkRequest{Tenant: "rival"}, []string{"ann1", "ann2", "bob1", "bob2", "node"}},
		{"operator, an owner in every tenant", operator, apitoken.BulkRequest{Owner: "zoe"}, []string{"ann1", "ann2", "bob1", "bob2", "node"}},
	} {
		for _, action := range []apitoken.BulkAction{apitoken.BulkRevoke, apitoken.BulkDisable} {
			t.Run(c.name+" "+string(action), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				tokens := map[string]apitoken.Issued{"ann1": w.issue(personal), "bob1": w.issueTo(bob, personal)}
				w.Clock.Advance(2 * day)
				tokens["ann2"] = w.issue(personal)
				w.Clock.Advance(1 * day)
				tokens["bob2"], tokens["node"] = w.issueTo(bob, plain), w.issue(node)
				tokens["zoe"] = w.issueTo(zoe, personal)
				req := c.req
				req.Action, req.Reason, req.Batch = action, "leaked", 2
				dry := req
				dry.DryRun = true
				state, would := w.dump(), w.bulk(c.actor, dry)
				require.Equal(t, state, w.dump(), "a dry run changes nothing")
				did := w.bulk(c.actor, req)
				require.Equal(t, would, did)
				require.Equal(t, c.left, w.working(tokens))
				require.Equal(t, len(tokens)-len(c.left), did.Changed)

				again := w.bulk(c.actor, req)
				require.Zero(t, again.Changed)
				require.Equal(t, did.Changed+did.Unchanged, again.Unchanged)
				for name, i := range tokens {
					if slices.Contains(c.left, name) {
						continue
					}
					rec := w.stored(i.Token.ID)
					events := must(w.Store.Unwrap().Events(t.Context(), rec.Token.Tenant, i.Token.ID, "", 10))
					require.Len(t, events, 2, "its own event, once")
					require.Equal(t, "token."+string(action)+"d", string(events[1].Type))
					require.Equal(t, "leaked", events[1].Reason)
					require.Equal(t, c.actor.ID, events[1].Actor.ID)
					require.Equal(t, apitoken.CauseByHand, rec.Token.Cause)
				}
			})
		}
	}
}

// S1.28: tokens of active agents are left alone and named; the rest goes on.
func TestBulkLeavesActiveAgents(t *testing.T) {
	t.Parallel()
	for _, action := range []apitoken.BulkAction{apitoken.BulkRevoke, apitoken.BulkDisable} {
		w := newWorld(t)
		w.Agents.Set("acme", "sleeper", apitoken.Registration{Registered: true, Active: true, Kind: "sensor"})
		w.Agents.SetActive("acme", "bot", true)
		asleep := w.issue(agent, func(r *apitoken.IssueRequest) { r.Agent = "sleeper" })
		w.Agents.SetActive("acme", "sleeper", false)
		awake, other := w.issue(agent), w.issue(shared)
		for _, dry := range []bool{true, false} {
			p := w.bulk(ann, apitoken.BulkRequest{Action: action, Tenant: "acme", DryRun: dry})
			require.Equal(t, 2, p.Changed)
			require.Equal(t, []apitoken.BulkSkip{{Token: awake.Token.ID, Why: "agent bot is active: deactivate the agent first"}}, p.Skipped)
		}
		require.Equal(t, []string{"awake"}, w.working(map[string]apitoken.Issued{"asleep": asleep, "awake": awake, "other": other}))
		w.Agents.SetActive("acme", "bot", false)
		require.Equal(t, 1, w.bulk(ann, apitoken.BulkRequest{Action: action, Tenant: "acme"}).Changed)
	}
}

// What each state becomes.
func TestBulkInEveryState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action    apitoken.BulkAction
		changed   int
		unchanged int
		skipped   int
		states    map[string]apitoken.State
	}{
		{apitoken.BulkRevoke, 4, 2, 0, map[string]apitoken.State{
			"active": apitoken.StateRevoked, "disabled": apitoken.StateRevoked, "expired": apitoken.StateRevoked,
			"expired, as disabled": apitoken.StateRevoked, "revoked": apitoken.StateRevoked, "idle": apitoken.StateRevoked}},
		{apitoken.BulkDisable, 1, 4, 1, map[string]apitoken.State{
			"active": apitoken.StateDisabled, "disabled": apitoken.StateDisabled, "expired": apitoken.StateActive,
			"expired, as disabled": apitoken.StateDisabled, "revoked": apitoken.StateRevoked, "idle": apitoken.StateRevoked}},
	} {
		t.Run(string(c.action), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, with(shared, func(p *apitoken.Policy) { p.Purge = 0 }))
			soon := func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) }
			tokens := map[string]apitoken.Issued{
				"active": w.issue(plain), "disabled": w.issue(plain), "revoked": w.issue(plain), "idle": w.issue(user),
				"expired": w.issue(plain, soon), "expired, as disabled": w.issue(shared, soon),
			}
			must(w.Service.Disable(t.Context(), ann, tokens["disabled"].Token.ID, "before"))
			require.NoError(t, w.Service.Revoke(t.Context(), ann, tokens["revoked"].Token.ID, "before"))
			w.Clock.Advance(31 * day)
			req := apitoken.BulkRequest{Action: c.action, Tenant: "acme", DryRun: true}
			before := w.dump()
			would := w.bulk(ann, req)
			require.Equal(t, before, w.dump(), "what is due is not written by a dry run")
			req.DryRun = false
			did := w.bulk(ann, req)
			require.Equal(t, would, did)
			require.Equal(t, []int{c.changed, c.unchanged, c.skipped}, []int{did.Changed, did.Unchanged, len(did.Skipped)})
			for name, want := range c.states {
				require.Equal(t, want, w.stored(tokens[name].Token.ID).Token.State, name)
			}
			for name, want := range map[string]apitoken.Cause{"revoked": apitoken.CauseByHand, "idle": apitoken.CauseIdle} {
				require.Equal(t, want, w.stored(tokens[name].Token.ID).Token.Cause, name)
			}
		})
	}
}

// A run that is stopped goes on from its cursor, on another node too, and does
// each token once.
func TestBulkResumes(t *testing.T) {
	t.Parallel()
	const tokens, batch = 23, 4
	w := newWorld(t)
	for range tokens {
		w.issue(plain) // all at one instant: the order is by ID then
	}
	req := apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: batch}
	var changed []int
	for node := w.Service; ; node = w.Node() {
		var last apitoken.BulkProgress
		for p, err := range node.Bulk(t.Context(), ann, req) {
			require.NoError(t, err)
			last = p
			break
		}
		changed = append(changed, last.Changed)
		require.Zero(t, last.Unchanged, "nothing is met twice")
		if req.Cursor = last.Cursor; req.Cursor == "" {
			break
		}
	}
	require.Equal(t, []int{4, 4, 4, 4, 4, 3}, changed)
	page := must(w.Service.List(t.Context(), ann, apitoken.ListQuery{Status: apitoken.StatusActive}))
	require.Empty(t, page.Tokens)
}

func TestBulkBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 6 {
		w.issue(plain)
	}
	for _, c := range []struct{ batch, batches int }{{1, 7}, {2, 4}, {3, 3}, {4, 2}, {6, 2}, {7, 1}, {500, 1}, {0, 1}} {
		sum, batches, err := bulk(t.Context(), w.Service, ann, apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: c.batch, DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 6, sum.Changed)
		require.Equal(t, c.batches, batches, c.batch)
	}
}

// Others edit, delete, revoke and issue tokens between the reading and the
// writing: each token is stopped once, and none is forgotten.
func TestBulkBesideOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act       func(w *world, id apitoken.ID)
		changed   int
		unchanged int
	}{
		"edited": {func(w *world, id apitoken.ID) {
			must(w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("two")}))
		}, 3, 0},
		"rotated": {func(w *world, id apitoken.ID) {
			must(w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IdempotencyKey: "r"}))
		}, 3, 0},
		"deleted": {func(w *world, id apitoken.ID) { require.NoError(t, w.Service.Delete(t.Context(), ann, id, "")) }, 2, 1},
		"revoked": {func(w *world, id apitoken.ID) { require.NoError(t, w.Service.Revoke(t.Context(), dan, id, "")) }, 2, 1},
		"another is issued": {func(w *world, _ apitoken.ID) {
			w.Clock.Advance(time.Second)
			w.issue(plain)
		}, 4, 0},
		"the one done before is deleted": {func(w *world, id apitoken.ID) {
			for v, err := range w.Service.All(t.Context(), ann, apitoken.ListQuery{Status: apitoken.StatusRevoked}) {
				require.NoError(t, err)
				require.NoError(t, w.Service.Delete(t.Context(), ann, v.ID, ""))
			}
		}, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var ids []apitoken.ID
			for range 3 {
				ids = append(ids, w.issue(plain).Token.ID)
				w.Clock.Advance(time.Second)
			}
			gets := 0
			w.Store.On(func(call apitokentest.Call) error {
				if call.Method == "Get" && call.Done {
					if gets++; gets == 2 { // the second token was read
						c.act(w, ids[1])
					}
				}
				return nil
			})
			p := w.bulk(ann, apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: 1})
			require.Equal(t, []int{c.changed, c.unchanged, 0}, []int{p.Changed, p.Unchanged, len(p.Failed)})
			page := must(w.Service.List(t.Context(), ann, apitoken.ListQuery{Status: apitoken.StatusActive}))
			require.Empty(t, page.Tokens)
		})
	}
}

// Two runs at once: every token has one event.
func TestBulkTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []apitoken.ID
	for range 40 {
		ids = append(ids, w.issue(plain).Token.ID)
	}
	var wg sync.WaitGroup
	sums := make([]apitoken.BulkProgress, 4)
	for i := range sums {
		node := w.Node()
		wg.Go(func() {
			var err error
			if sums[i], _, err = bulk(t.Context(), node, ann, apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: 1 + i}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	changed := 0
	for _, sum := range sums {
		require.Empty(t, sum.Failed)
		changed += sum.Changed
	}
	require.Equal(t, len(ids), changed)
	for _, id := range ids {
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventRevoked}, eventTypes(w.events(id)))
	}
}

func TestBulkRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.issue(plain)
	var cursor string
	for p, err := range w.Service.Bulk(t.Context(), ann, apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: 1, DryRun: true}) {
		require.NoError(t, err)
		cursor = p.Cursor
		break
	}
	require.NotEmpty(t, cursor)
	good := func(f func(r *apitoken.BulkRequest)) apitoken.BulkRequest {
		r := apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme"}
		f(&r)
		return r
	}
	before := w.dump()
	for name, c := range map[string]struct {
		actor  apitoken.Actor
		req    apitoken.BulkRequest
		fields []string
	}{
		"empty":                  {ann, apitoken.BulkRequest{}, []string{"action", "tenant"}},
		"no condition":           {operator, apitoken.BulkRequest{Action: apitoken.BulkDisable}, []string{"tenant"}},
		"another verb":           {ann, good(func(r *apitoken.BulkRequest) { r.Action = "delete" }), []string{"action"}},
		"another tenant":         {ann, good(func(r *apitoken.BulkRequest) { r.Tenant = "rival" }), []string{"tenant"}},
		"a job, another tenant":  {system, good(func(r *apitoken.BulkRequest) { r.Tenant = "rival" }), []string{"tenant"}},
		"batch":                  {ann, good(func(r *apitoken.BulkRequest) { r.Batch = 501 }), []string{"batch"}},
		"negative batch":         {ann, good(func(r *apitoken.BulkRequest) { r.Batch = -1 }), []string{"batch"}},
		"reason":                 {ann, good(func(r *apitoken.BulkRequest) { r.Reason = "\x00" }), []string{"reason"}},
		"cursor":                 {ann, good(func(r *apitoken.BulkRequest) { r.Cursor = "?" }), []string{"cursor"}},
		"cursor of no JSON":      {ann, good(func(r *apitoken.BulkRequest) { r.Cursor = "AAAA" }), []string{"cursor"}},
		"overlong cursor":        {ann, good(func(r *apitoken.BulkRequest) { r.Cursor = long(5000) }), []string{"cursor"}},
		"a dry run's cursor":     {ann, good(func(r *apitoken.BulkRequest) { r.Cursor = cursor }), []string{"cursor"}},
		"cursor of other tokens": {ann, good(func(r *apitoken.BulkRequest) { r.Cursor, r.DryRun, r.Owner = cursor, true, "bob" }), []string{"cursor"}},
		"all at once":            {ann, apitoken.BulkRequest{Batch: 501, Reason: long(2000), Cursor: "?"}, []string{"action", "batch", "cursor", "reason", "tenant"}},
		"no tenant":              {apitoken.Actor{ID: "ann"}, good(func(*apitoken.BulkRequest) {}), []string{"actor.tenant"}},
	} {
		sum, batches, err := bulk(t.Context(), w.Service, c.actor, c.req)
		oneFamily(t, err, apitoken.ErrInvalid)
		require.Equal(t, c.fields, wrongFields(err), name)
		require.Equal(t, 1, batches, name)
		require.Zero(t, sum, name)
	}
	require.Equal(t, before, w.dump())
	w.Owners.SetActive("acme", "ann", false)
	_, _, err := bulk(t.Context(), w.Service, ann, good(func(*apitoken.BulkRequest) {}))
	oneFamily(t, err, apitoken.ErrForbidden)
}

// An actor who is deactivated during the run ends it; another goes on from there.
func TestBulkActorLosesRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 6 {
		w.issue(plain)
	}
	req := apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: 4}
	swaps := 0
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Swap" && c.Done {
			if swaps++; swaps == 2 {
				w.Owners.SetActive("acme", "ann", false)
			}
		}
		return nil
	})
	sum, _, err := bulk(t.Context(), w.Service, ann, req)
	oneFamily(t, err, apitoken.ErrForbidden)
	require.Equal(t, 2, sum.Changed)
	req.Cursor = sum.Cursor
	require.Equal(t, 4, w.bulk(dan, req).Changed)
}

// P4: a token that cannot be written does not hold up the rest; a store that does
// not answer ends the run where it stands.
func TestBulkOutages(t *testing.T) {
	t.Parallel()
	const tokens = 7
	for _, c := range []struct {
		name                    string
		fails                   func(method string, n int) bool // the n-th call of a method
		changed, failed, resume int                             // resume: changed by going on
		ends                    bool
	}{
		{"list", func(m string, n int) bool { return m == "List" }, 0, 0, tokens, true},
		{"second list", func(m string, n int) bool { return m == "List" && n == 2 }, 3, 0, tokens - 3, true},
		{"one write", func(m string, n int) bool { return m == "Swap" && n == 2 }, tokens - 1, 1, 0, false},
		{"one read", func(m string, n int) bool { return m == "Get" && n == 5 }, tokens - 1, 1, 0, false},
		{"all writes", func(m string, n int) bool { return m == "Swap" }, 0, 3, tokens, true},
		{"from the second batch on", func(m string, n int) bool { return m == "Swap" && n > 3 }, 3, 3, tokens - 3, true},
		{"from within a batch on", func(m string, n int) bool { return m == "Swap" && n > 2 }, 2, 4, tokens - 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for range tokens {
				w.issue(plain)
			}
			counts := map[string]int{}
			w.Store.On(func(call apitokentest.Call) error {
				if call.Done {
					return nil
				}
				if counts[call.Method]++; c.fails(call.Method, counts[call.Method]) {
					return apitokentest.ErrFault
				}
				return nil
			})
			req := apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: 3}
			sum, _, err := bulk(t.Context(), w.Service, ann, req)
			if c.ends {
				oneFamily(t, err, apitoken.ErrUnavailable)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, []int{c.changed, c.failed}, []int{sum.Changed, len(sum.Failed)})
			w.Store.Reset()
			if c.ends {
				req.Cursor = sum.Cursor
				require.Equal(t, c.resume, w.bulk(ann, req).Changed)
			}
			req.Cursor = ""
			rest := w.bulk(ann, req)
			require.Equal(t, tokens-c.changed-c.resume, rest.Changed, "a run from the beginning finds what failed")
			require.Equal(t, tokens, rest.Changed+rest.Unchanged)
		})
	}
}

// A run ends with its context, between two tokens or within one, and forgets
// none.
func TestBulkEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"List", "Get", "Swap"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprint(method, after), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				for range 5 {
					w.issue(plain)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				calls := 0
				w.Store.On(func(c apitokentest.Call) error {
					if c.Method == method && c.Done == after {
						if calls++; calls == 2 {
							cancel()
						}
					}
					return nil
				})
				req := apitoken.BulkRequest{Action: apitoken.BulkRevoke, Tenant: "acme", Batch: 2}
				sum, _, err := bulk(ctx, w.Service, ann, req)
				require.ErrorIs(t, err, context.Canceled)
				oneFamily(t, err, apitoken.ErrUnavailable)
				require.Empty(t, sum.Failed)
				w.Store.Reset()
				req.Cursor = sum.Cursor
				rest := w.bulk(ann, req)
				require.Equal(t, 5, sum.Changed+rest.Changed+rest.Unchanged)
				page := must(w.Service.List(t.Context(), ann, apitoken.ListQuery{Status: apitoken.StatusActive}))
				require.Empty(t, page.Tokens)
			})
		}
	}
}
