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

// args returns what the script is given for a group beside its keys.
func (g *group) args(reqs []apitoken.LimitRequest, what string) []any {
	args := make([]any, 1, 1+3*len(g.of))
	args[0] = what
	for _, i := range g.of {
		limit := reqs[i].Limit
		args = append(args, number(rate(limit)), number(float64(limit.Size())), reqs[i].Cost)
	}
	return args
}

// askAll asks Redis for all requests in groups, to take if refused is false. Answers
// are in the order of reqs.
func (l *Limiter) askAll(ctx context.Context, reqs []apitoken.LimitRequest, groups []group, refused bool) ([]answer, error) {
	what := "take"
	if refused {
		what = "look"
	}
	calls := make([]call, len(groups))
	for at := range groups {
		calls[at] = call{keys: groups[at].keys, args: groups[at].args(reqs, what)}
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
		calls[at].keys = g.keys
		for _, i := range g.of {
			calls[at].args = append(calls[at].args, reqs[i].Cost)
		}
	}
	// If it fails, more was taken than was used. The answer is the same.
	_, _ = l.give.run(ctx, l.remote.client, calls)
}
