package apitoken

import (
	"context"
	"errors"
	"slices"
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
	v := &req.Verify
	credential := v.Token != "" || v.LegacyID != "" || v.LegacySecret != ""
	if (req.ID != "") == credential {
		return Explanation{}, fieldErr("id", "give either the ID of a token or a credential")
	}
	a := attempt{req: v, now: s.now(), scheme: SchemeBearer}
	identified := error(nil)
	id := req.ID
	if credential {
		identified = s.identify(ctx, &a)
		if a.rec == nil {
			if errors.Is(identified, ErrUnavailable) {
				return Explanation{}, identified
			}
			if errors.Is(identified, ErrUnknownToken) {
				return Explanation{}, ErrNotFound
			}
			return explainUnread(identified), nil
		}
		id = a.rec.Token.ID
	}
	rec, _, err := s.readable(ctx, actor, id)
	if err != nil {
		return Explanation{}, err
	}
	a.rec, a.c = rec, s.compile(rec)
	x := explaining{out: Explanation{Token: id, Accepted: true}}
	if credential {
		x.add("credential", nil)
		x.add("secret", identified)
	} else {
		x.skip("credential", "explained by ID: no credential was presented")
		x.skip("secret", "explained by ID: no credential was presented")
	}
	return s.explain(ctx, &a, &x), nil
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

func (s *Service) explain(ctx context.Context, a *attempt, x *explaining) Explanation {
	t := &a.rec.Token
	x.add("state", s.checkState(ctx, a))
	x.add("owner", s.checkOwner(ctx, a))
	x.add("kind", s.checkKind(a))
	x.add("origin", s.checkOrigin(ctx, a))
	if len(t.Networks) > 0 && !a.req.Address.IsValid() {
		x.skip("network", "the token has an address list: give the client's address")
	} else {
		x.add("network", s.checkNetwork(a))
	}
	switch _, known := s.opts.Limits[a.req.Limit]; {
	case a.req.Limit == "":
		x.skip("limit", "no limit was named")
	case !known && s.opts.LimitFor == nil:
		x.add("limit", outage("limits", errors.New("no limit is named "+a.req.Limit+": add it to Options.Limits")))
	default:
		x.skip("limit", "is not taken from by explaining")
	}
	if a.req.Need.r == nil {
		x.skip("permission", "nothing was required")
		return x.out
	}
	if (a.c.live || a.c.cut) && !a.asked {
		x.skip("permission", "what the owner has is not known")
		return x.out
	}
	set := a.c.grant
	if err := s.cutPermissions(ctx, a, &set); err != nil {
		x.add("permission", err)
	} else {
		x.add("permission", a.req.Need.Check(set, t.Resources))
	}
	return x.out
}

// explaining gathers checks.
type explaining struct {
	out Explanation
}

func (x *explaining) add(name string, err error) {
	c := Check{Name: name, Outcome: OutcomePass}
	if err != nil {
		c.Outcome, c.Reason, c.Detail = OutcomeFail, ReasonOf(err), err.Error()
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
