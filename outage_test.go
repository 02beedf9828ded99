package apitoken_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// outageCase is one call that asks the store and the host.
type outageCase struct {
	name string
	do   func(ctx context.Context, w *outageWorld, i apitoken.Issued) error
}

// outageCases are all calls of the Manager, for a personal token of ann.
func outageCases() []outageCase {
	var all []outageCase
	for _, c := range tokenCalls {
		if c.name == "Explain" { // which tells of it as a check that failed
			c.do = func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
				x, err := m.Explain(ctx, a, apitoken.ExplainRequest{ID: id})
				for _, failed := range x.Failed() {
					return &apitoken.OutageError{Part: failed.Detail, Err: apitokentest.ErrFault}
				}
				return err
			}
		}
		all = append(all, outageCase{c.name, func(ctx context.Context, w *outageWorld, i apitoken.Issued) error {
			return c.do(ctx, w.Service, ann, i.Token.ID)
		}})
	}
	for _, c := range tenantCalls {
		if c.name != "FindBySecret" && c.name != "ReportLeak" && c.name != "ExplainCredential" { // which end before they ask anybody, see below
			all = append(all, outageCase{c.name, func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error { return c.do(ctx, w.Service, ann) }})
		}
	}
	verify := func(i apitoken.Issued) apitoken.VerifyRequest {
		return apitoken.VerifyRequest{Token: i.Secret.Reveal(), Origin: "https://app.example", Limits: []string{"api"}, Need: worldCatalog.MustRequire("devices:view")}
	}
	return append(all,
		outageCase{"Enable a disabled one", func(ctx context.Context, w *outageWorld, i apitoken.Issued) error {
			_, err := w.Service.Enable(ctx, ann, w.disabled, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)})
			return err
		}},
		outageCase{"Edit permissions of another's", func(ctx context.Context, w *outageWorld, i apitoken.Issued) error {
			_, err := w.Service.Edit(ctx, dan, w.editable, apitoken.EditRequest{Permissions: &[]string{"devices:view"}})
			return err
		}},
		outageCase{"Revoke an agent's", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			return w.Service.Revoke(ctx, ann, w.agents.Token.ID, "")
		}},
		outageCase{"Issue to an agent", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			_, err := w.Service.Issue(ctx, system, apitoken.IssueRequest{Kind: agent, Name: "two", Agent: "bot"})
			return err
		}},
		outageCase{"Issue with a known key", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			_, err := w.Service.Issue(ctx, ann, apitoken.IssueRequest{Kind: personal, Name: "keyed", IdempotencyKey: "k"})
			return err
		}},
		outageCase{"Rotate with a known key", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			_, err := w.Service.Rotate(ctx, ann, w.rotated, apitoken.RotateRequest{IdempotencyKey: "k"})
			return err
		}},
		outageCase{"ReportLeak", func(ctx context.Context, w *outageWorld, i apitoken.Issued) error {
			_, err := w.Service.ReportLeak(ctx, ann, apitoken.LeakReport{Value: i.Secret, Where: "a ticket"})
			return err
		}},
		outageCase{"Bulk", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			for _, err := range w.Service.Bulk(ctx, ann, apitoken.BulkRequest{Action: apitoken.BulkDisable, Kinds: []apitoken.Kind{plain}}) {
				return err // there is one such token, so one batch
			}
			return nil
		}},
		outageCase{"FindBySecret", func(ctx context.Context, w *outageWorld, i apitoken.Issued) error {
			_, err := w.Service.FindBySecret(ctx, ann, i.Secret.Reveal())
			return err
		}},
		outageCase{"Verify", func(ctx context.Context, w *outageWorld, i apitoken.Issued) error {
			p, err := w.Service.Verify(ctx, verify(i))
			require.True(w.t, err == nil || p == apitoken.Principal{})
			return err
		}},
		outageCase{"Verify an agent's", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			w.Agents.SetActive("acme", "bot", true)
			req := verify(w.agents)
			req.Need = apitoken.Requirement{}
			_, err := w.Service.Verify(ctx, req)
			return err
		}},
		outageCase{"Verify an older pair", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			req := verify(apitoken.Issued{})
			req.LegacyID, req.LegacySecret = "uuid", long(32)
			_, err := w.Service.Verify(ctx, req)
			return err
		}},
		outageCase{"Recheck", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			_, err := w.Service.Recheck(ctx, w.principal)
			return err
		}},
		outageCase{"Status", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			_, err := w.Service.Status(ctx)
			return err
		}},
		outageCase{"Sweep", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error {
			swept, err := w.Service.Sweep(ctx)
			if err == nil && swept.Failed > 0 { // counted, logged and tried again
				return apitoken.ErrUnavailable
			}
			return err
		}},
		outageCase{"Flush", func(ctx context.Context, w *outageWorld, _ apitoken.Issued) error { return w.Service.Flush(ctx) }},
	)
}

// outageWorld is a world in which each of them has something to do.
type outageWorld struct {
	*world
	disabled, editable, rotated apitoken.ID
	agents                      apitoken.Issued
	principal                   apitoken.Principal
	host                        *hostFaults
}

func newOutageWorld(t *testing.T) (*outageWorld, apitoken.Issued) {
	w := &outageWorld{world: newWorld(t, with(plain, func(p *apitoken.Policy) { p.EditPermissions = true }), func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"api": {Quota: 100, Window: time.Hour}}
	}), host: new(hostFaults)}
	w.host.wire(w.world)
	i := w.issue(personal)
	w.disabled, w.editable = w.issue(personal).Token.ID, w.issueTo(bob, plain).Token.ID
	must(w.Service.Disable(t.Context(), ann, w.disabled, ""))
	w.agents = w.issue(agent)
	w.IssueAs(ann, apitoken.IssueRequest{Kind: personal, Name: "keyed", IdempotencyKey: "k"})
	w.rotated = w.issue(personal).Token.ID
	must(w.Service.Rotate(t.Context(), ann, w.rotated, apitoken.RotateRequest{IdempotencyKey: "k"}))
	w.IssueAs(ann, apitoken.IssueRequest{Kind: legacy, Name: "old", Legacy: apitoken.LegacyCredential{ID: "uuid", Secret: apitoken.NewSecret(long(32))}})
	w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Microsecond) }) // for the sweep
	w.Clock.Advance(time.Second)
	must(w.Service.EditOrigins(t.Context(), ann, apitoken.OriginsRequest{Origins: []string{"https://app.example"}}))
	w.principal = w.Verify(i.Secret)
	w.Store.Reset()
	return w, i
}

// P4: whatever the store or the host fails to answer, at whichever call, is an
// outage: it refuses, never allows, and is never held for a refusal of the
// credential or for 'not found'.
func TestOutages(t *testing.T) {
	t.Parallel()
	for _, c := range outageCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, i := newOutageWorld(t)
			normal := c.do(t.Context(), w, i)
			calls := w.Store.Calls()
			if c.name != "Choices" {
				require.NotEmpty(t, calls)
			}
			for n := range calls {
				w, i := newOutageWorld(t)
				before := w.dump()
				w.Store.FailCall(n + 1)
				err := c.do(t.Context(), w, i)
				made := w.Store.Calls()
				w.Store.On(nil)
				oneFamily(t, err, apitoken.ErrUnavailable)
				require.Equal(t, calls[:n+1], made[:n+1])
				require.Equal(t, before, w.dump(), "%s failed: nothing was done", calls[n])
				require.Equal(t, apitoken.ReasonOf(normal), apitoken.ReasonOf(c.do(t.Context(), w, i)), "and it can be repeated")
			}
			w.host.failAt(0)
			_ = c.do(t.Context(), w, i)
			for n := range w.host.asked {
				w, i := newOutageWorld(t)
				before := w.dump()
				w.host.failAt(n + 1)
				err := c.do(t.Context(), w, i)
				part, written := w.host.failed, w.host.written
				w.host.failAt(0)
				if err == nil { // the change was made before; the look-up was only for what is shown of it
					require.NoError(t, normal)
					require.True(t, written || c.name == "Enable" && before == w.dump(), part)
					continue
				}
				oneFamily(t, err, apitoken.ErrUnavailable)
				require.ErrorIs(t, err, apitokentest.ErrFault)
				require.ErrorContains(t, err, part)
				require.Equal(t, before, w.dump(), part)
			}
		})
	}
}

// hostFaults lets one of the host's answers fail, by its number.
type hostFaults struct {
	asked, at int
	failed    string // the part that failed
	written   bool   // the store had been written to by then
	calls     func() []string
}

// failAt resets the count and lets the n-th answer from now fail, counted from 1;
// 0 = none.
func (h *hostFaults) failAt(n int) { h.asked, h.at, h.failed, h.written = 0, n, "", false }

func (h *hostFaults) answer(part string) error {
	if h.asked++; h.asked == h.at {
		h.failed = part
		h.written = slices.ContainsFunc(h.calls(), func(method string) bool { return method == "Create" || method == "Swap" })
		return apitokentest.ErrFault
	}
	return nil
}

// wire makes a Service whose look-ups go through h.
func (h *hostFaults) wire(w *world) {
	o := w.Options
	h.calls = w.Store.Calls
	o.Owners = apitoken.OwnersFunc(func(ctx context.Context, tenant, owner string) (apitoken.Standing, error) {
		if err := h.answer("owners"); err != nil {
			return apitoken.Standing{Active: true, Permissions: everything}, err
		}
		return w.Owners.Standing(ctx, tenant, owner)
	})
	o.Agents = apitoken.AgentsFunc(func(ctx context.Context, tenant, agent string) (apitoken.Registration, error) {
		if err := h.answer("agents"); err != nil {
			return apitoken.Registration{Registered: true, Active: true}, err
		}
		return w.Agents.Registration(ctx, tenant, agent)
	})
	o.Entitlements = apitoken.EntitlementsFunc(func(ctx context.Context, tenant string) (apitoken.Permissions, error) {
		if err := h.answer("entitlements"); err != nil {
			return everything, err
		}
		return w.Entitlements.Entitled(ctx, tenant)
	})
	w.Service = must(apitoken.New(w.Store, o))
}

// The parts that each verification depends on, named one by one.
func TestOutagesOfTheHostRefuse(t *testing.T) {
	t.Parallel()
	limiter := &fakeLimiter{}
	w := newWorld(t, func(o *apitoken.Options) {
		o.Limits, o.Limiter = map[string]apitoken.Limit{"api": {Quota: 1, Window: time.Hour}}, limiter
		o.LimitFor = func(context.Context, apitoken.Principal, string) (apitoken.Limit, bool, error) {
			return apitoken.Limit{}, false, limiter.plans
		}
	})
	people, bots := w.issue(personal), w.issue(agent)
	w.Agents.SetActive("acme", "bot", true)
	verify := func(i apitoken.Issued) error {
		_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal(), Limits: []string{"api"}})
		return err
	}
	for part, c := range map[string]struct {
		fail func(error)
		hit  apitoken.Issued
	}{
		"owners": {w.Owners.Fail, people}, "agents": {w.Agents.Fail, bots}, "entitlements": {w.Entitlements.Fail, people},
		"limiter": {func(err error) { limiter.err = err }, people}, "limits": {func(err error) { limiter.plans = err }, people},
	} {
		require.NoError(t, verify(c.hit))
		uses := w.get(c.hit.Token.ID).Usage.Uses
		c.fail(apitokentest.ErrFault)
		err := verify(c.hit)
		oneFamily(t, err, apitoken.ErrUnavailable)
		var out *apitoken.OutageError
		require.ErrorAs(t, err, &out)
		require.Equal(t, part, out.Part)
		c.fail(nil)
		require.Equal(t, uses, w.get(c.hit.Token.ID).Usage.Uses, "an outage is no use")
	}
}

type fakeLimiter struct{ err, plans error }

func (l *fakeLimiter) Allow(context.Context, apitoken.LimitRequest, time.Time) (apitoken.Decision, error) {
	return apitoken.Decision{Allowed: true}, l.err
}

// P6: a write that took effect and whose answer was lost is recognised by its
// mark; if that read fails too the caller hears of an outage and may repeat the
// call.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range outageCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, i := newOutageWorld(t)
			normal := c.do(t.Context(), w, i)
			for n, method := range w.Store.Calls() {
				switch method {
				case "Create", "Swap", "Delete", "Touch", "SwapSettings":
				default:
					continue
				}
				w, i := newOutageWorld(t)
				w.Store.LoseAnswer(n + 1)
				err := c.do(t.Context(), w, i)
				w.Store.On(nil)
				if method == "Touch" || method == "SwapSettings" || normal != nil {
					oneFamily(t, err, apitoken.ErrUnavailable)
				} else {
					require.NoError(t, err)
				}

				w, i = newOutageWorld(t)
				w.Store.On(func(call apitokentest.Call) error {
					if call.N > n+1 || call.N == n+1 && call.Done {
						return apitokentest.ErrFault
					}
					return nil
				})
				err = c.do(t.Context(), w, i)
				w.Store.On(nil)
				oneFamily(t, err, apitoken.ErrUnavailable)
				after := w.dump()
				again := c.do(t.Context(), w, i)
				switch c.name {
				case "Revoke", "Revoke an agent's", "Disable", "Edit", "EditOrigins":
					require.NoError(t, again, "repeated it is success")
					require.Equal(t, after, w.dump(), "and was done once")
				case "Delete":
					oneFamily(t, again, apitoken.ErrNotFound)
				case "Rotate":
					var already *apitoken.AlreadyIssuedError
					require.ErrorAs(t, again, &already, "the value in use is not displaced")
					require.Equal(t, after, w.dump())
				}
			}
		})
	}
}

// P6: a retried issue with the same key makes no second token, and its secret is
// not shown again.
func TestLostAnswerOfIssue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := apitoken.IssueRequest{Kind: shared, Name: "one", IdempotencyKey: "k"}
	w.Store.LoseAnswer(1)
	issued, err := w.Service.Issue(t.Context(), ann, req)
	require.NoError(t, err, "the mark tells that it was made")
	w.Store.Reset()
	require.NoError(t, w.verify(issued.Secret))

	req.IdempotencyKey = "k2"
	w.Store.On(func(c apitokentest.Call) error {
		if c.Done || c.Method == "Get" {
			return apitokentest.ErrFault
		}
		return nil
	})
	lost, err := w.Service.Issue(t.Context(), ann, req)
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.True(t, lost.Secret.IsZero())
	w.Store.Reset()
	var already *apitoken.AlreadyIssuedError
	_, err = w.Service.Issue(t.Context(), ann, req)
	require.ErrorAs(t, err, &already)
	require.Equal(t, 2, must(w.Service.Counts(t.Context(), ann)).Total)
	fresh := w.rotate(ann, already.Token.ID, 0)
	require.NoError(t, w.verify(fresh.Secret), "the way out that the error names")
}
