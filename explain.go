package apitoken

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// Outcome is how a [Check] went.
type Outcome string

// The outcomes.
const (
	OutcomePass Outcome = "pass"
	OutcomeFail Outcome = "fail"
	OutcomeSkip Outcome = "skip" // not asked for, or it cannot be told
)

// Explain runs every check that a request with a token would meet now and tells
// the outcome of each, for the people who answer 'why does my token not work?'.
// It counts no use and takes nothing from a rate limit. The actor must be
// allowed to see the token; what a credential says that names none of those is
// [ErrNotFound].
func (s *Service) Explain(ctx context.Context, actor Actor, req ExplainRequest) (Explanation, error) {
	if err := actor.check(); err != nil {
		return Explanation{}, err
	}
	v := &req.Verify
	credential := v.Token != "" || v.LegacyID != "" || v.LegacySecret != "" || v.Proof != nil
	if (req.ID != "") == credential {
		return Explanation{}, fieldErr("id", "give either the ID of a token or a credential")
	}
	id := req.ID
	var now time.Time
	var failed error
	scheme := SchemeBearer
	if credential {
		found := identified{noImport: true}
		failed = s.identify(ctx, v, &found)
		switch {
		case found.c != nil:
			id, now, scheme = found.c.principal.Token, found.now, found.scheme
		case errors.Is(failed, ErrUnavailable):
			return Explanation{}, failed
		case errors.Is(failed, ErrUnknownToken):
			return Explanation{}, ErrNotFound
		default:
			return explainUnread(failed), nil
		}
	} else {
		now = s.now()
	}
	rec, err := s.readable(ctx, actor, id, now)
	if err != nil {
		return Explanation{}, err
	}
	x := explaining{out: Explanation{Token: id, Accepted: true}}
	if credential {
		x.add("credential", nil)
		x.add("secret", failed)
	} else {
		x.skip("credential", "explained by ID: no credential was presented")
		x.skip("secret", "explained by ID: no credential was presented")
	}
	c, err := s.compile(ctx, rec)
	if err != nil {
		return Explanation{}, err
	}
	return s.explain(ctx, c, scheme, v, now, &x), nil
}

// explainUnread is for a credential that cannot be read at all.
func explainUnread(err error) Explanation {
	x := explaining{}
	x.add("credential", err)
	for _, name := range []string{"secret", "state", "owner", "kind", "origin", "network", "limit", "permission"} {
		x.skip(name, "the credential cannot be read")
	}
	return x.out
}

func (s *Service) explain(ctx context.Context, c *compiled, scheme Scheme, req *VerifyRequest, now time.Time, x *explaining) Explanation {
	p := c.principal
	p.Scheme = scheme
	t, grant := &p.rec.Token, &p.permissions
	x.add("state", s.checkState(ctx, c, now))
	owner := s.checkOwner(ctx, s.present, c, grant)
	licences := s.cutEntitled(ctx, t.Tenant, grant)
	x.add("owner", owner)
	x.add("kind", s.checkKind(t.Kind, req.Use, req.Kinds))
	x.add("origin", s.checkOrigin(ctx, t, req.Origin))
	if len(t.Networks) > 0 && !req.Address.IsValid() {
		x.skip("network", "the token has an address list: give the client's address")
	} else {
		x.add("network", c.checkNetwork(req.Address))
	}
	switch quotas, err := s.peekQuotas(ctx, &p, c.rules, now); {
	case err == nil && len(req.Limits) > 0:
		x.add("limit", s.peekLimits(ctx, &p, req, now))
	case err != nil || quotas:
		x.add("limit", err)
	default:
		x.skip("limit", "no limit was named")
	}
	switch {
	case licences != nil: // whatever is required
		x.add("permission", licences)
		return x.out
	case req.Need.r == nil:
		x.skip("permission", "nothing was required")
		return x.out
	}
	if c.follows && errors.Is(owner, ErrUnavailable) {
		x.skip("permission", "what the owner has is not known")
		return x.out
	}
	x.add("permission", req.Need.Check(*grant, t.Resources))
	return x.out
}

// peekLimits says whether the limits would let the request pass, and takes nothing.
func (s *Service) peekLimits(ctx context.Context, p *Principal, req *VerifyRequest, now time.Time) error {
	cost := max(1, req.Cost)
	for _, name := range req.Limits {
		ask, err := s.limitRequest(ctx, p, name, 0)
		if err != nil {
			return err
		}
		d, err := s.opts.Limiter.Allow(ctx, ask, now)
		if err != nil {
			return outage("limiter", err)
		}
		d.Allowed = d.Remaining >= cost
		d.Never = ask.Limit.Quota == 0 || cost > ask.Limit.Size()
		if !d.Allowed && !d.Never {
			// A peek has no wait of its own; when the bucket is full, the cost is there.
			d.RetryAfter = d.Reset
		}
		d.Limit, d.Quota, d.Window = name, ask.Limit.Quota, ask.Limit.Window
		if err := refusalOf(d, cost); err != nil {
			return err
		}
	}
	return nil
}

// explaining gathers checks.
type explaining struct {
	out Explanation
}

func (x *explaining) add(name string, err error) {
	c := Check{Name: name, Outcome: OutcomePass}
	if err != nil {
		c.Outcome, c.Reason, c.Detail = OutcomeFail, ReasonOf(err), strings.TrimPrefix(err.Error(), "apitoken: ")
		x.out.Accepted = false
	}
	x.out.Checks = append(x.out.Checks, c)
}

func (x *explaining) skip(name, why string) {
	x.out.Checks = append(x.out.Checks, Check{Name: name, Outcome: OutcomeSkip, Detail: why})
}

// Failed returns the checks that failed, for a log line.
func (e Explanation) Failed() []Check {
	return slices.DeleteFunc(slices.Clone(e.Checks), func(c Check) bool { return c.Outcome != OutcomeFail })
}
