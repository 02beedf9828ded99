package faults_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/sqlstore"
)

// faultyCall is a call at whose every operation something fails.
type faultyCall struct {
	name string
	// ready is what the node does before, with nothing failing; nil = nothing.
	ready func(ctx context.Context, w *world)
	// do returns what the caller gets to see.
	do func(ctx context.Context, w *world) (any, error)
	// retry is what has to happen before it is done again; nil = nothing.
	retry func(w *world)
	// parts: it makes several changes, each of which is done or not.
	parts bool
	// notes: what it writes is not its answer but a note beside it, which may be
	// missing, or there twice.
	notes bool
	// again are the reasons of the answers to a repeated call that was done before; nil
	// = the answer that it had.
	again []string
	// twice: repeated, it is done again.
	twice bool
	// store: it is a call of a Store, where any error of no family is an outage.
	store bool
}

// tokenOf says which of the past's tokens a call is about.
type tokenOf func(p *past) apitoken.Issued

func activeOne(p *past) apitoken.Issued { return p.active }

// verifying is a request with a value.
func verifying(name string, value func(p *past) apitoken.VerifyRequest) faultyCall {
	return faultyCall{name: "Verify " + name, notes: true, do: func(ctx context.Context, w *world) (any, error) {
		p, err := w.Service.Verify(ctx, value(w.past))
		if err != nil && p != (apitoken.Principal{}) {
			return nil, fmt.Errorf("a principal beside an error: %w", errors.Join(apitoken.ErrUnavailable, apitoken.ErrForbidden))
		}
		if status := statusOf(p, err); (status == http.StatusServiceUnavailable) != errors.Is(err, apitoken.ErrUnavailable) {
			return nil, fmt.Errorf("status %d: %w", status, errors.Join(apitoken.ErrUnavailable, apitoken.ErrForbidden))
		}
		if err != nil {
			return nil, err
		}
		return []any{p.Token, p.Owner, p.Agent, p.Kind, p.Scheme, p.Permissions().Names()}, nil
	}}
}

// statusOf is what the client of a request gets to see whose verification ended so.
func statusOf(p apitoken.Principal, err error) int {
	fine := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Authorization", "Bearer acme_x")
	httpauth.New(verified{p: p, err: err}, httpauth.Options{}).Middleware(fine).ServeHTTP(rec, req)
	return rec.Code
}

// verified has verified every request.
type verified struct {
	apitoken.Verifier
	p   apitoken.Principal
	err error
}

func (v verified) Verify(context.Context, apitoken.VerifyRequest) (apitoken.Principal, error) {
	return v.p, v.err
}

func bearer(of tokenOf) func(p *past) apitoken.VerifyRequest {
	return func(p *past) apitoken.VerifyRequest {
		return apitoken.VerifyRequest{
			Token: of(p).Secret.Reveal(), Origin: "https://app.example", Limits: []string{"api"}, Address: netip.MustParseAddr("192.0.2.7"),
			Need: catalog.MustRequire("devices:view"),
		}
	}
}

// plainly is a request with a value that needs nothing.
func plainly(value func(p *past) string) func(p *past) apitoken.VerifyRequest {
	return func(p *past) apitoken.VerifyRequest { return apitoken.VerifyRequest{Token: value(p)} }
}

func verifications() []faultyCall {
	secret := func(of tokenOf) func(p *past) string { return func(p *past) string { return of(p).Secret.Reveal() } }
	return []faultyCall{
		verifying("an active token", bearer(activeOne)),
		verifying("one whose life is nearly over", bearer(func(p *past) apitoken.Issued { return p.sliding })),
		verifying("an agent's", plainly(secret(func(p *past) apitoken.Issued { return p.rob }))),
		verifying("one within its overlap", plainly(func(p *past) string { return p.before.Reveal() })),
		verifying("an imported key", plainly(func(*past) string { return oldKey })),
		verifying("a key that is imported by it", plainly(func(*past) string { return latestKey })),
		verifying("an older pair", func(*past) apitoken.VerifyRequest {
			return apitoken.VerifyRequest{LegacyID: "uuid", LegacySecret: pairSecret}
		}),
		verifying("a replaced value", plainly(func(p *past) string { return p.replaced.Reveal() })),
		verifying("a revoked one", plainly(secret(func(p *past) apitoken.Issued { return p.revoked }))),
		verifying("a disabled one", plainly(secret(func(p *past) apitoken.Issued { return p.disabled }))),
		verifying("an expired one", plainly(secret(func(p *past) apitoken.Issued { return p.expired }))),
		verifying("an inactive owner's", plainly(secret(func(p *past) apitoken.Issued { return p.gone[0] }))),
		verifying("an inactive agent's", plainly(secret(func(p *past) apitoken.Issued { return p.bot }))),
		verifying("an unknown key", plainly(func(*past) string { return "old_00000000000000000000000000" })),
		verifying("from a foreign origin", func(p *past) apitoken.VerifyRequest {
			req := bearer(activeOne)(p)
			req.Origin = "https://evil.example"
			return req
		}),
		{
			name: "Recheck", notes: true,
			ready: func(ctx context.Context, w *world) { w.principal = w.Verify(w.active.Secret) },
			do: func(ctx context.Context, w *world) (any, error) {
				p, err := w.Service.Recheck(ctx, w.principal)
				return p.Token, err
			},
		},
	}
}

// onToken is a managing call on one token.
func onToken(name string, of tokenOf, do func(ctx context.Context, w *world, id apitoken.ID) (any, error), again ...string) faultyCall {
	return faultyCall{name: name, again: again, do: func(ctx context.Context, w *world) (any, error) {
		return do(ctx, w, of(w.past).Token.ID)
	}}
}

func rotation(req apitoken.RotateRequest) func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
	return func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
		return w.opens(w.Service.Rotate(ctx, ann, id, req))
	}
}

// opens requires that a value that is handed out opens its token, once nothing
// fails.
func (w *world) opens(i apitoken.Issued, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	w.check = func() string {
		if _, err := w.Service.Verify(w.t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()}); err != nil {
			return "the value that was handed out opens nothing: " + err.Error()
		}
		return ""
	}
	return i.Token, nil
}

func issuing(name string, req apitoken.IssueRequest, actor apitoken.Actor, again ...string) faultyCall {
	return faultyCall{name: name, again: again, do: func(ctx context.Context, w *world) (any, error) {
		return w.opens(w.Service.Issue(ctx, actor, req))
	}}
}

const alreadyIssued = "already_issued"

func changes() []faultyCall {
	all := []faultyCall{
		issuing("Issue with a key", apitoken.IssueRequest{Name: "two", IdempotencyKey: "l"}, ann, alreadyIssued),
		issuing("Issue with a known key", apitoken.IssueRequest{Kind: plainKind, Name: "one", IdempotencyKey: "k"}, ann),
		issuing("Issue with an alias", apitoken.IssueRequest{Kind: legacyKind, Name: "two", Legacy: apitoken.LegacyCredential{ID: "uuid2", Secret: apitoken.NewSecret(pairSecret)}}, ann, "invalid"),
		issuing("Issue with a taken alias", apitoken.IssueRequest{Kind: legacyKind, Name: "two", Legacy: apitoken.LegacyCredential{ID: "uuid", Secret: apitoken.NewSecret(pairSecret)}}, ann),
		onToken("Rotate with a key", activeOne, rotation(apitoken.RotateRequest{IdempotencyKey: "l"}), alreadyIssued),
		onToken("Rotate with a known key", func(p *past) apitoken.Issued { return p.rotated }, rotation(apitoken.RotateRequest{IdempotencyKey: "k", Overlap: time.Hour})),
		onToken("Rotate a version", activeOne, rotation(apitoken.RotateRequest{IfVersion: 1, Overlap: time.Hour}), "version"),
		onToken("Edit", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			name := "edited"
			return w.Service.Edit(ctx, ann, id, apitoken.EditRequest{Name: &name, Permissions: &[]string{"devices:view"}})
		}),
		onToken("Disable", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return w.Service.Disable(ctx, ann, id, "")
		}),
		onToken("Enable", func(p *past) apitoken.Issued { return p.disabled }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return w.Service.Enable(ctx, ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)})
		}, "state"),
		onToken("Revoke", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.Revoke(ctx, ann, id, "")
		}),
		onToken("Revoke again", func(p *past) apitoken.Issued { return p.revoked }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.Revoke(ctx, ann, id, "")
		}),
		onToken("Revoke an active agent's", func(p *past) apitoken.Issued { return p.rob }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.Revoke(ctx, ann, id, "")
		}),
		onToken("DangerouslyRevokeActiveAgent", func(p *past) apitoken.Issued { return p.rob }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.DangerouslyRevokeActiveAgent(ctx, ann, id, "stolen")
		}),
		onToken("Revoke of another tenant", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.Revoke(ctx, novel, id, "")
		}),
		onToken("Delete", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.Delete(ctx, ann, id, "")
		}, "not_found"),
		onToken("Disable one that is due to be deleted", func(p *past) apitoken.Issued { return p.purged }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return w.Service.Disable(ctx, ann, id, "")
		}),
		onToken("Revoke one with something due", func(p *past) apitoken.Issued { return p.overlapping }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return nil, w.Service.Revoke(ctx, ann, id, "")
		}),
		onToken("ReportLeak", activeOne, func(ctx context.Context, w *world, _ apitoken.ID) (any, error) {
			leak, err := w.Service.ReportLeak(ctx, ann, apitoken.LeakReport{Value: w.active.Secret, Where: "a ticket"})
			return leak.Token, err
		}),
		{name: "EditOrigins", do: func(ctx context.Context, w *world) (any, error) {
			return w.Service.EditOrigins(ctx, ann, apitoken.OriginsRequest{Origins: []string{"https://new.example"}})
		}},
		{name: "EditOrigins for the first time", do: func(ctx context.Context, w *world) (any, error) {
			return w.Service.EditOrigins(ctx, novel, apitoken.OriginsRequest{Origins: []string{"https://new.example"}})
		}},
		{name: "AgentChanged activated", again: []string{alreadyIssued}, ready: func(_ context.Context, w *world) { w.Agents.SetActive("acme", "bot", true) },
			do: func(ctx context.Context, w *world) (any, error) {
				report, err := w.Service.AgentChanged(ctx, job, apitoken.AgentChange{Agent: "bot", What: apitoken.AgentActivated, ChangeID: "1"})
				return w.opens(report.Issued, err)
			}},
		{name: "AgentChanged deactivated", parts: true, ready: func(_ context.Context, w *world) { w.Agents.SetActive("acme", "rob", false) },
			do: func(ctx context.Context, w *world) (any, error) {
				_, err := w.Service.AgentChanged(ctx, job, apitoken.AgentChange{Agent: "rob", What: apitoken.AgentDeactivated})
				return nil, err
			}},
		{name: "OwnerChanged", parts: true, do: func(ctx context.Context, w *world) (any, error) {
			_, err := w.Service.OwnerChanged(ctx, job, apitoken.OwnerChange{Owner: "zed", What: apitoken.OwnerDeactivated})
			return nil, err
		}},
		{name: "Bulk", parts: true, do: func(ctx context.Context, w *world) (any, error) {
			req := apitoken.BulkRequest{Action: apitoken.BulkDisable, Owner: "zed"}
			for p, err := range w.Service.Bulk(ctx, ann, req) {
				if err == nil && len(p.Failed) > 0 { // told of, and done by a run from the beginning
					err = apitoken.ErrUnavailable
				}
				return nil, err
			}
			return nil, nil
		}},
		{name: "Import", parts: true, do: func(ctx context.Context, w *world) (any, error) {
			rows := []apitoken.ImportRow{oldRow("17", oldKey), oldRow("18", latestKey)}
			rows[0].Status, rows[0].LastUsed = apitoken.StatusRevoked, w.now.Add(-time.Hour)
			report, err := w.Service.Import(ctx, job, rowsOf(rows), nil)
			if err != nil {
				return nil, err
			}
			return report.Failed, nil
		}},
		{name: "Reapply", parts: true, do: func(ctx context.Context, w *world) (any, error) {
			n, err := collect(w.Service.Reapply(ctx, job, apitoken.ReapplyRequest{Kind: termsKind, Apply: true}))
			return nil, errorOr(n, err)
		}},
	}
	plain := issuing("Issue", apitoken.IssueRequest{Name: "two"}, ann)
	plain.twice = true
	// To the same instant, and told again.
	extend := onToken("Extend", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
		return w.Service.Extend(ctx, ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(day)})
	})
	extend.twice = true
	return append(all, plain, extend)
}

// errorOr drops what was collected.
func errorOr[T any](_ []T, err error) error { return err }

func rowsOf(rows []apitoken.ImportRow) iter.Seq2[apitoken.ImportRow, error] {
	return func(yield func(apitoken.ImportRow, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func collect[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func reads() []faultyCall {
	all := []faultyCall{
		onToken("Get", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) { return w.Service.Get(ctx, ann, id) }),
		onToken("Get of no token", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return w.Service.Get(ctx, ann, apitoken.ID("x"+string(id[1:])))
		}),
		onToken("History", func(p *past) apitoken.Issued { return p.rotated }, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return collect(w.Service.History(ctx, ann, id))
		}),
		onToken("Explain", activeOne, func(ctx context.Context, w *world, id apitoken.ID) (any, error) {
			return checked(w.Service.Explain(ctx, ann, apitoken.ExplainRequest{ID: id}))
		}),
		{name: "Explain a credential", do: func(ctx context.Context, w *world) (any, error) {
			return checked(w.Service.Explain(ctx, ann, apitoken.ExplainRequest{Verify: bearer(activeOne)(w.past)}))
		}},
		{name: "FindBySecret", do: func(ctx context.Context, w *world) (any, error) {
			return w.Service.FindBySecret(ctx, ann, w.active.Secret.Reveal())
		}},
		{name: "All", do: func(ctx context.Context, w *world) (any, error) {
			return collect(w.Service.All(ctx, ann, apitoken.ListQuery{Limit: 9}))
		}},
		{name: "Counts", do: func(ctx context.Context, w *world) (any, error) { return w.Service.Counts(ctx, ann) }},
		{name: "Origins", do: func(ctx context.Context, w *world) (any, error) { return w.Service.Origins(ctx, ann) }},
		{name: "Forecast", do: func(ctx context.Context, w *world) (any, error) {
			return collect(w.Service.Forecast(ctx, w.now.Add(day)))
		}},
		{name: "ReadyToCutOver", do: func(ctx context.Context, w *world) (any, error) {
			return w.Service.ReadyToCutOver(ctx, ann, time.Time{})
		}},
		{name: "Status", do: func(ctx context.Context, w *world) (any, error) {
			st, err := w.Service.Status(ctx)
			if err != nil {
				return nil, err // what the node knows by itself comes along
			}
			return st, nil
		}},
	}
	for _, key := range []apitoken.SortKey{apitoken.SortCreated, apitoken.SortName, apitoken.SortHealth} {
		all = append(all, faultyCall{name: fmt.Sprint("List by ", key), do: func(ctx context.Context, w *world) (any, error) {
			return w.Service.List(ctx, ann, apitoken.ListQuery{Sort: key, Desc: true, Limit: 5})
		}})
	}
	return all
}

// checked makes a check that could not be made the outage that it is.
func checked(x apitoken.Explanation, err error) (any, error) {
	if i := slices.IndexFunc(x.Checks, func(c apitoken.Check) bool { return c.Reason == "unavailable" }); i >= 0 {
		if x.Accepted {
			panic("accepted, though a check could not be made")
		}
		return nil, apitoken.ErrUnavailable
	}
	return x, err
}

// maintenance is what Run does.
func maintenance() []faultyCall {
	return []faultyCall{
		{name: "Sweep", parts: true, do: func(ctx context.Context, w *world) (any, error) {
			swept, err := w.Service.Sweep(ctx)
			if err == nil && swept.Failed > 0 { // counted, logged and tried again
				err = apitoken.ErrUnavailable
			}
			return nil, err
		}},
		{name: "Flush", notes: true,
			ready: func(_ context.Context, w *world) { w.Verify(w.active.Secret); w.Verify(w.rotated.Secret) },
			do:    func(ctx context.Context, w *world) (any, error) { return nil, w.Service.Flush(ctx) }},
		{name: "Deliver", parts: true,
			do: func(ctx context.Context, w *world) (any, error) {
				_, err := w.Service.Deliver(ctx)
				for _, n := range w.Notifier.Take() {
					w.told = append(w.told, n.Event.ID)
				}
				if err == nil {
					w.check = func() string {
						slices.Sort(w.told)
						if w.told = slices.Compact(w.told); !slices.Equal(w.told, w.undelivered) {
							return fmt.Sprint("not each event was told of, but ", w.told)
						}
						return ""
					}
				}
				return nil, err
			},
			retry: func(w *world) { w.Clock.Advance(2 * time.Minute) }}, // until the lease is over
	}
}

// cached puts a cache before a store.
func cached(s *sqlstore.Store, w *world) (apitoken.Store, error) {
	return cachestore.New(s, cachestore.Options{Clock: w.Clock})
}

// cachedCalls are requests with tokens that a cache knows and has to confirm, and
// changes of them.
func cachedCalls() (all []faultyCall) {
	known := func(c faultyCall, meanwhile func(ctx context.Context, w *world)) {
		c.ready = func(ctx context.Context, w *world) {
			w.Verify(w.active.Secret)
			w.Verify(w.rotated.Secret)
			if meanwhile != nil {
				meanwhile(ctx, w)
			}
			w.Clock.Advance(6 * time.Second)
		}
		all = append(all, c)
	}
	elsewhere := func(do func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error) func(ctx context.Context, w *world) {
		return func(ctx context.Context, w *world) {
			s, err := apitoken.New(w.others, w.Options)
			require.NoError(w.t, err)
			require.NoError(w.t, do(ctx, s, w.active.Token.ID))
		}
	}
	active := func() faultyCall { return verifying("a cached token", bearer(activeOne)) }
	known(active(), nil)
	revoked := active()
	revoked.name += " that was revoked elsewhere"
	known(revoked, elsewhere(func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error {
		return s.Revoke(ctx, ann, id, "")
	}))
	deleted := active()
	deleted.name += " that was deleted elsewhere"
	known(deleted, elsewhere(func(ctx context.Context, s *apitoken.Service, id apitoken.ID) error {
		return s.Delete(ctx, ann, id, "")
	}))
	for _, c := range changes() {
		switch c.name {
		case "Revoke", "Delete", "Rotate with a key", "Issue with a key":
			known(c, nil)
		}
	}
	// Revoked through the cache, and used at once.
	all = append(all, faultyCall{name: "Revoke and Verify", ready: func(_ context.Context, w *world) { w.Verify(w.active.Secret) },
		do: func(ctx context.Context, w *world) (any, error) {
			if err := w.Service.Revoke(ctx, ann, w.active.Token.ID, ""); err != nil {
				return nil, err
			}
			_, err := w.Service.Verify(ctx, bearer(activeOne)(w.past))
			return nil, err
		}})
	return all
}
