package apitoken_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// One instant per operation: every call reads the clock once.
func TestOneInstantPerOperation(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	w := newWorld(t, func(o *apitoken.Options) {
		o.Clock = apitoken.ClockFunc(func() time.Time {
			// A clock that leaps between two reads would show what mixes them.
			return apitokentest.Start.Add(time.Duration(reads.Add(1)) * time.Microsecond)
		})
		o.Limits = map[string]apitoken.Limit{"api": {Quota: 1000, Window: time.Hour}}
	})
	once := func(name string, do func() error) {
		t.Helper()
		before := reads.Load()
		require.NoError(t, do(), name)
		require.EqualValues(t, 1, reads.Load()-before, name)
	}
	for _, call := range tokenCalls {
		if call.name == "History" {
			continue // which asks for no instant
		}
		id := w.issue(shared).Token.ID
		once(call.name, func() error { return call.do(t.Context(), w.Service, ann, id) })
	}
	for _, call := range tenantCalls {
		switch call.name {
		case "Origins", "FindBySecret", "ReportLeak", "ExplainCredential":
		default:
			once(call.name, func() error { return call.do(t.Context(), w.Service, ann) })
		}
	}
	issued := w.issue(user)
	p := w.Verify(issued.Secret)
	once("Verify", func() error {
		_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Limits: []string{"api"}})
		return err
	})
	once("Recheck", func() error { _, err := w.Service.Recheck(t.Context(), p); return err })
	leaked := w.issue(shared)
	once("ReportLeak", func() error {
		_, err := w.Service.ReportLeak(t.Context(), ann, apitoken.LeakReport{Value: leaked.Secret})
		return err
	})
	once("FindBySecret", func() error {
		_, err := w.Service.FindBySecret(t.Context(), ann, issued.Secret.Reveal())
		return err
	})
	once("Explain a credential", func() error {
		_, err := w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: issued.Secret.Reveal()}})
		return err
	})
}

// 'At once' means on every node, with default options.
func TestAtOnceOnEveryNode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(w *world, id apitoken.ID)
		want error
	}{
		"revoke":      {func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), ann, id, "") }, apitoken.ErrRevoked},
		"disable":     {func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) }, apitoken.ErrDisabled},
		"delete":      {func(w *world, id apitoken.ID) { _ = w.Service.Delete(t.Context(), ann, id, "") }, apitoken.ErrUnknownToken},
		"rotate":      {func(w *world, id apitoken.ID) { w.rotate(ann, id, 0) }, apitoken.ErrSuperseded},
		"owner":       {func(w *world, _ apitoken.ID) { w.Owners.SetActive("acme", "ann", false) }, apitoken.ErrOwnerInactive},
		"permissions": {func(w *world, _ apitoken.ID) { w.Owners.SetPermissions("acme", "ann", set("reports:view")) }, apitoken.ErrForbidden},
		"licences":    {func(w *world, _ apitoken.ID) { w.Entitlements.Remove("acme") }, apitoken.ErrForbidden},
		"an edit": {func(w *world, id apitoken.ID) {
			must(w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Permissions: &[]string{"reports:view"}}))
		}, apitoken.ErrForbidden},
		"an address list": {func(w *world, id apitoken.ID) {
			must(w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{AddNetworks: []string{"192.0.2.1"}}))
		}, apitoken.ErrNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(personal)
			nodes := []*apitoken.Service{w.Service, w.Node(), w.Node()}
			verify := func(m *apitoken.Service) error {
				_, err := m.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Need: worldCatalog.MustRequire("devices:view")})
				return err
			}
			for _, m := range nodes {
				require.NoError(t, verify(m))
			}
			c.end(w, issued.Token.ID)
			for _, m := range nodes {
				require.ErrorIs(t, verify(m), c.want)
			}
		})
	}
}

// Deleting is by the sweep or a caller, never by a read; reads write nothing.
func TestReadsWriteNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []apitoken.Issued
	for _, kind := range worldKinds {
		all = append(all, w.issue(kind, func(r *apitoken.IssueRequest) {
			if kind == personal || kind == shared {
				r.Expiry = apitoken.ExpiresIn(day)
			}
		}))
	}
	for _, later := range []time.Duration{0, 2 * day, 9 * day, 31 * day, 100 * day} {
		w.Clock.Set(apitokentest.Start.Add(later))
		before := w.dump()
		for _, i := range all {
			_, _ = w.Service.Get(t.Context(), ann, i.Token.ID)
			_, _ = w.Service.FindBySecret(t.Context(), ann, i.Secret.Reveal())
			_, _ = w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{ID: i.Token.ID})
			_, _ = w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: swapSecret(i.Secret.Reveal(), all[0].Secret.Reveal()[:5]+long(43)+"......")})
		}
		w.list(ann, apitoken.ListQuery{Limit: 1})
		must(w.Service.Counts(t.Context(), ann))
		must(w.Service.Status(t.Context()))
		require.Equal(t, before, w.dump())
	}
}

// Terms of life are fixed at issue: a policy changed later does not reach tokens
// that exist; what bounds each request does.
func TestPolicyChangedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sliding, switchable := w.issue(user), w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) })
	opts := w.Options
	opts.Kinds = map[apitoken.Kind]apitoken.Policy{user: {Grant: apitoken.GrantLive}, shared: {Ownership: apitoken.OwnedByTenant, Ceiling: []string{"devices:view"}}}
	opts.Uses, opts.DefaultKind = nil, ""
	later := must(apitoken.New(w.Store, opts))
	p := must(later.Verify(t.Context(), apitoken.VerifyRequest{Token: switchable.Secret.Reveal()}))
	require.Equal(t, []string{"devices:view"}, p.Permissions().Names(), "the ceiling of today cuts")
	w.Clock.Advance(day)
	require.Equal(t, 1, must(later.Sweep(t.Context())).Expired)
	require.Equal(t, apitoken.StateDisabled, w.stored(switchable.Token.ID).Token.State)
	w.Clock.Advance(week)
	require.Equal(t, 1, must(later.Sweep(t.Context())).Purged)
	w.Clock.Advance(30 * day)
	_, err := later.Verify(t.Context(), apitoken.VerifyRequest{Token: sliding.Secret.Reveal()})
	require.ErrorIs(t, err, apitoken.ErrIdle)
}

// A prefix that was changed goes on working as long as it is named.
func TestPrefixChangedLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(plain)
	for _, c := range []struct {
		old  []string
		want error
	}{{nil, apitoken.ErrMalformedToken}, {[]string{"acme"}, nil}} {
		opts := w.Options
		opts.Prefix, opts.OldPrefixes = "acme_live", c.old
		later := must(apitoken.New(w.Store, opts))
		_, err := later.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		require.ErrorIs(t, err, c.want)
		require.Equal(t, "acme_live_", must(later.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "new"})).Secret.Reveal()[:10])
	}
	// A known prefix opens only the tokens that were issued with it.
	opts := w.Options
	opts.OldPrefixes = []string{"other"}
	later := must(apitoken.New(w.Store, opts))
	value := "other" + issued.Secret.Reveal()[len("acme"):]
	head := value[:len(value)-6]
	_, err := later.Verify(t.Context(), apitoken.VerifyRequest{Token: head + checksumOf(head)})
	require.ErrorIs(t, err, apitoken.ErrWrongSecret)
}

// In a record absent means none, and what this version does not know gives no
// rights.
func TestRecordsThatSayNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(rec *apitoken.Record)
		want   error
	}{
		"no grant":            {func(rec *apitoken.Record) { rec.Token.Grant = apitoken.Grant{} }, apitoken.ErrForbidden},
		"no resources":        {func(rec *apitoken.Record) { rec.Token.Resources = apitoken.Resources{} }, apitoken.ErrForbidden},
		"unknown permissions": {func(rec *apitoken.Record) { rec.Token.Grant = apitoken.Grant{Permissions: []string{"devices:*", "*"}} }, apitoken.ErrForbidden},
		"unknown role":        {func(rec *apitoken.Record) { rec.Token.Grant = apitoken.Grant{Role: "emperor"} }, apitoken.ErrForbidden},
		"unknown state":       {func(rec *apitoken.Record) { rec.Token.State = "quarantined" }, apitoken.ErrUnauthenticated},
		"no state":            {func(rec *apitoken.Record) { rec.Token.State = "" }, apitoken.ErrUnauthenticated},
		"no digest":           {func(rec *apitoken.Record) { rec.Primary = apitoken.Slot{} }, apitoken.ErrUnauthenticated},
		"unknown digest":      {func(rec *apitoken.Record) { rec.Primary.Algorithm = "sha3" }, apitoken.ErrUnauthenticated},
		"short digest":        {func(rec *apitoken.Record) { rec.Primary.Blob = rec.Primary.Blob[:31] }, apitoken.ErrUnauthenticated},
	} {
		w := newWorld(t)
		issued := w.issue(plain)
		rec := w.stored(issued.Token.ID)
		c.change(rec)
		rec.Token.Version++
		require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
		_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{
			Token: issued.Secret.Reveal(), Need: worldCatalog.MustRequire("devices:view").In("north"),
		})
		require.ErrorIs(t, err, c.want, name)
	}
}

// Status counts what waits: written uses do not.
func TestStatusCountsPendingUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Verify(w.issue(plain).Secret)
	require.Equal(t, 1, must(w.Service.Status(t.Context())).PendingUses)
	require.NoError(t, w.Service.Flush(t.Context()))
	st := must(w.Service.Status(t.Context()))
	require.Zero(t, st.PendingUses)
	require.Equal(t, w.Clock.Now(), st.LastFlush)
}
