package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/tokenry/apitoken"
)

// leases are the requests that this node took from buckets in Redis and may hand out by
// itself. Those that are not handed out in time are given up, not given back: a command
// that the client sends twice would give back what was never taken.
type leases struct {
	size int           // requests in one
	life time.Duration // by the caller's clock
	most int           // buckets

	mu         sync.Mutex
	young, old map[string]*lease // by the name of the bucket; old is dropped when young is half of most
}

// lease is what a node has of one bucket. It grows while it is used up before its end,
// and shrinks to what was used of it, so that who comes seldom is lent nothing.
type lease struct {
	limit  apitoken.Limit
	since  time.Time // of the last question to Redis
	left   int
	used   int     // since then
	after  float64 // what was in Redis after it
	asking bool    // for more than is needed at once
}

// take hands out a request, or says how much more than it to ask for, and then settle
// must follow.
func (s *leases) take(name string, req *apitoken.LimitRequest, now time.Time) (a answer, want int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of(name)
	age := now.Sub(e.since)
	alive := e.limit == req.Limit && age < s.life && age > -s.life
	if alive && e.left >= req.Cost {
		e.left -= req.Cost
		e.used += req.Cost
		return answer{ok: true, left: e.after + float64(e.left)}, 0, true
	}
	switch {
	case alive:
		want = 2 * (min(e.used, s.size) + min(req.Cost, s.size))
	case e.limit == req.Limit:
		want, e.left = e.used, 0
	default:
		e.left = 0
	}
	want = min(want, s.size-e.left)
	if e.asking {
		want = 0 // one at a time
	}
	e.limit, e.since, e.used, e.asking = req.Limit, now, 0, e.asking || want > 0
	return answer{}, want, false
}

// settle ends what take began, with what Redis said.
func (s *leases) settle(name string, limit apitoken.Limit, want int, lent loan, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.of(name)
	if want > 0 {
		e.asking = false
	}
	if err == nil && e.limit == limit { // else it was edited or forgotten meanwhile
		e.left += lent.got
		e.after = lent.left
	}
}

func (s *leases) of(name string) *lease {
	e, ok := s.young[name]
	if ok {
		return e
	}
	if e, ok = s.old[name]; !ok {
		e = &lease{}
	}
	if len(s.young) >= s.most/2 {
		s.old, s.young = s.young, make(map[string]*lease)
	}
	s.young[name] = e
	return e
}

// askLeased is askOne for a limiter with leases.
func (l *Limiter) askLeased(ctx context.Context, name string, req *apitoken.LimitRequest, now time.Time) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	a, want, ok := l.leases.take(name, req, now)
	if ok {
		return a, nil
	}
	lent, err := loan{}, errAway
	defer func() { l.leases.settle(name, req.Limit, want, lent, err) }() // also if the client panics
	if want == 0 {
		lent.answer, err = l.askOne(ctx, name, req, now)
		return lent.answer, err
	}
	args := string(appendDouble(appendRequest(nil, req), float64(want)))
	lent, err = ask(ctx, l.remote, now, func(ctx context.Context) (loan, error) {
		text, err := l.lease.call(ctx, l.remote.client, call{keys: []string{name}, args: []string{args}}).Result()
		if err != nil {
			return loan{}, err
		}
		return loanOf(text, want)
	})
	return answer{ok: lent.ok, left: lent.left + float64(lent.got)}, err
}

// loan is an answer with what was got beyond it.
type loan struct {
	answer
	got int
}

func loanOf(text string, want int) (loan, error) {
	if len(text) != answerSize+doubleSize {
		return loan{}, errUnreadable
	}
	a, err := answerOf(text[:answerSize])
	got := doubleOf(text[answerSize:])
	if err != nil || !(got >= 0 && got <= float64(want)) {
		return loan{}, errUnreadable
	}
	return loan{answer: a, got: int(got)}, nil
}
