package redisstore

import (
	"context"
	"time"

	"github.com/tokenry/apitoken"
)

// part returns a request for this node's part of a limit.
func (l *Limiter) part(req apitoken.LimitRequest) apitoken.LimitRequest {
	nodes := max(1, l.nodes())
	req.Limit.Quota, req.Limit.Burst = partOf(req.Limit.Quota, nodes), partOf(req.Limit.Burst, nodes)
	return req
}

func partOf(n, nodes int) int {
	if n == 0 {
		return 0
	}
	return max(1, n/nodes)
}

// ofNode makes a decision about a part one about the whole.
func (l *Limiter) ofNode(req *apitoken.LimitRequest, d apitoken.Decision) apitoken.Decision {
	d.Local = true
	d.Quota = req.Limit.Quota
	if d.Never && !never(req) {
		// This node's part is too small for the cost. Redis may be back soon.
		d.Never, d.RetryAfter = false, l.remote.every
	}
	return d
}

// allLocal decides on this node alone, all or none.
func (l *Limiter) allLocal(ctx context.Context, reqs []apitoken.LimitRequest, now time.Time) ([]apitoken.Decision, error) {
	parts := make([]apitoken.LimitRequest, len(reqs))
	for i, req := range reqs {
		parts[i] = l.part(req)
	}
	out, err := l.local.AllowAll(ctx, parts, now)
	for i := range out {
		out[i] = l.ofNode(&reqs[i], out[i])
	}
	return out, err
}
