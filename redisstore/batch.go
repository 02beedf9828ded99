package redisstore

import (
	"context"
	"errors"

	"github.com/tokenry/apitoken"
)

// group is the requests whose buckets have one hash tag.
type group struct {
	of   []int // positions
	keys []string
}

// groups sorts requests by hash tags. Those that will never be allowed are in none:
// their decisions go to out, and refused is true.
func (l *Limiter) groups(reqs []apitoken.LimitRequest, out []apitoken.Decision) (groups []group, refused bool) {
	byTag := make(map[string]int)
	for i := range reqs {
		if never(&reqs[i]) {
			out[i], refused = refuse(&reqs[i]), true
			continue
		}
		name, tag := l.names.bucket(reqs[i].Key)
		at, ok := byTag[tag]
		if !ok {
			at = len(groups)
			byTag[tag] = at
			groups = append(groups, group{})
		}
		groups[at].of = append(groups[at].of, i)
		groups[at].keys = append(groups[at].keys, name)
	}
	return groups, refused
}

// call returns what a script is given for a group.
func (g *group) call(reqs []apitoken.LimitRequest) call {
	var args []byte
	for _, i := range g.of {
		args = appendRequest(args, &reqs[i])
	}
	return call{keys: g.keys, args: []string{string(args)}}
}

// askAll asks Redis for all requests in groups, to take if refused is false. Answers
// are in the order of reqs.
func (l *Limiter) askAll(ctx context.Context, reqs []apitoken.LimitRequest, groups []group, refused bool) ([]answer, error) {
	calls := make([]call, len(groups))
	for at := range groups {
		calls[at] = groups[at].call(reqs)
		if refused {
			calls[at].args = append(calls[at].args, "look")
		}
	}
	cmds, err := l.take.run(ctx, l.remote.client, calls)
	out := make([]answer, len(reqs))
	errs := []error{err}
	var took []group
	for at, cmd := range cmds {
		g := groups[at]
		answers, err := answersOf(cmd, len(g.of))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all := true
		for j, i := range g.of {
			out[i] = answers[j]
			all = all && answers[j].ok
		}
		if all {
			took = append(took, g)
		}
	}
	err = errors.Join(errs...)
	if !refused && len(took) < len(groups) {
		l.giveBack(ctx, reqs, took)
	}
	return out, err
}

// giveBack returns to buckets what was taken from them. The caller may have gone by
// now; it is done all the same.
func (l *Limiter) giveBack(ctx context.Context, reqs []apitoken.LimitRequest, took []group) {
	if len(took) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.remote.timeout)
	defer cancel()
	calls := make([]call, len(took))
	for at, g := range took {
		calls[at] = g.call(reqs)
	}
	// If it fails, more was taken than was used. The answer is the same.
	_, _ = l.give.run(ctx, l.remote.client, calls)
}
