package apitoken

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// limiting is what a request is to be counted against.
type limiting struct {
	names []string
	cost  int
	out   *[]Decision
}

// limit counts a request against its rate limits, all or none.
func (s *Service) limit(ctx context.Context, p *Principal, on limiting, now time.Time) error {
	if on.cost < 0 {
		return fieldErr("cost", "is negative: give how many requests this one counts as, or 0 for one")
	}
	cost := max(1, on.cost)
	if len(on.names) == 1 {
		req, err := s.limitRequest(ctx, p, on.names[0], cost)
		if err != nil {
			return err
		}
		d, err := s.opts.Limiter.Allow(ctx, req, now)
		if err != nil {
			return outage("limiter", err)
		}
		return s.limited(ctx, &on, &req, d)
	}
	return s.limitAll(ctx, p, on, cost, now)
}

// limitAll is limit for several limits.
func (s *Service) limitAll(ctx context.Context, p *Principal, on limiting, cost int, now time.Time) error {
	reqs := make([]LimitRequest, len(on.names))
	for i, name := range on.names {
		req, err := s.limitRequest(ctx, p, name, cost)
		if err != nil {
			return err
		}
		reqs[i] = req
	}
	decisions, err := s.allowAll(ctx, reqs, now)
	if err != nil {
		return outage("limiter", err)
	}
	var all refusals
	for i, d := range decisions {
		all.add(s.limited(ctx, &on, &reqs[i], d))
	}
	return all.err()
}

// refusals makes one error of several.
type refusals struct{ first *RateLimitError }

// add takes what refusalOf returned.
func (r *refusals) add(refusal error) {
	err, _ := refusal.(*RateLimitError)
	switch first := r.first; {
	case err == nil:
	case first == nil:
		r.first = err
	case err.Never && !first.Never || err.Never == first.Never && err.RetryAfter > first.RetryAfter:
		// The one to wait for stands in front.
		err.Others = append(first.Others, first.Decision)
		r.first = err
	default:
		first.Others = append(first.Others, err.Decision)
	}
}

func (r *refusals) err() error {
	if r.first == nil {
		return nil
	}
	return r.first
}

// allowAll asks for all at once where the limiter can, else the tokens' own buckets
// first: one that asks too much must not use up what others share.
func (s *Service) allowAll(ctx context.Context, reqs []LimitRequest, now time.Time) ([]Decision, error) {
	if all, ok := s.opts.Limiter.(BatchLimiter); ok {
		decisions, err := all.AllowAll(ctx, reqs, now)
		if err == nil && len(decisions) != len(reqs) {
			err = errors.New("the limiter did not answer all that it was asked")
		}
		return decisions, err
	}
	slices.SortStableFunc(reqs, func(a, b LimitRequest) int { return width(a.Limit.Per) - width(b.Limit.Per) })
	var out []Decision
	for _, req := range reqs {
		d, err := s.opts.Limiter.Allow(ctx, req, now)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
		if !d.Allowed {
			break
		}
	}
	return out, nil
}

// width orders buckets by how many share one.
func width(p Per) int { return slices.Index([]Per{PerToken, PerOwner, PerTenant, PerKey}, p) }

// limited notes a decision, and makes an error of a refusal.
func (s *Service) limited(ctx context.Context, on *limiting, req *LimitRequest, d Decision) error {
	// It is of req, whatever the limiter calls it.
	d.Limit, d.Per, d.Quota, d.Window = req.Key.Name, req.Limit.Per, req.Limit.Quota, req.Limit.Window
	s.decided(ctx, on.out, d)
	return refusalOf(d, req.Cost)
}

// decided tells of a decision.
func (s *Service) decided(ctx context.Context, out *[]Decision, d Decision) {
	if out != nil {
		*out = append(*out, d)
	}
	if s.opts.Observer.Limited != nil {
		s.opts.Observer.Limited(ctx, d)
	}
}

func refusalOf(d Decision, cost int) error {
	if d.Allowed {
		return nil
	}
	return &RateLimitError{Decision: d, Cost: cost}
}

// limitRequest finds a limit and the bucket of it that the principal's requests count
// in.
func (s *Service) limitRequest(ctx context.Context, p *Principal, name string, cost int) (LimitRequest, error) {
	l, ok := s.opts.Limits[name]
	if s.opts.LimitFor != nil {
		own, found, err := s.opts.LimitFor(ctx, *p, name)
		if err != nil {
			return LimitRequest{}, outage("limits", err)
		}
		if found {
			if err := own.Check(); err != nil {
				return LimitRequest{}, outage("limits", err) // those of Options were checked by New
			}
			l, ok = own, true
		}
	}
	if strings.HasPrefix(name, quotaPrefix) {
		return LimitRequest{}, outage("limits", errors.New("the name "+name+" begins as those of quotas do: give the limit another"))
	}
	if !ok {
		return LimitRequest{}, outage("limits", errors.New("no limit is named "+name+": add it to Options.Limits"))
	}
	req := LimitRequest{Key: LimitKey{Name: name, Per: l.Per, Tenant: p.Tenant}, Limit: l, Cost: cost}
	switch l.Per {
	case PerToken:
		req.Key.ID = string(p.Token)
		req.Limit = l.Share(p.rec.Token.Share)
	case PerOwner:
		if req.Key.ID = p.Owner; p.Agent != "" {
			req.Key.Per, req.Key.ID = perAgent, p.Agent
		}
	case PerKey:
		if s.opts.LimitKey == nil {
			return LimitRequest{}, outage("limits", errors.New("the limit "+name+" is per key: set Options.LimitKey"))
		}
		key, err := s.opts.LimitKey(ctx, *p, name)
		if err != nil {
			return LimitRequest{}, outage("limits", err)
		}
		req.Key.Tenant, req.Key.ID = "", key
	}
	return req, nil
}
