package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenry/apitoken"
)

//go:embed bucket.lua
var bucketLua string

//go:embed take.lua
var takeLua string

//go:embed one.lua
var oneLua string

//go:embed give.lua
var giveLua string

// precision is that of [apitoken.MemoryLimiter]: what a sum of fractions may be off
// by, as a part of a full bucket.
const precision = 1e-15

// script is one that Redis is asked for by its hash.
type script struct{ source, hash string }

func newScript(source string) script {
	return script{source: source, hash: redis.NewScript(source).Hash()}
}

// call is one call of a script, whose keys have one hash tag.
type call struct {
	keys []string
	args []any
}

func (s script) call(ctx context.Context, client redis.UniversalClient, keys []string, args []any) *redis.Cmd {
	cmd := client.EvalSha(ctx, s.hash, keys, args...)
	if missing(cmd.Err()) {
		cmd = client.Eval(ctx, s.source, keys, args...)
	}
	return cmd
}

// run sends the calls in one round trip. Where a server does not have the script
// yet, what it did not run is sent again with its source.
func (s script) run(ctx context.Context, client redis.UniversalClient, calls []call) ([]*redis.Cmd, error) {
	cmds := make([]*redis.Cmd, len(calls))
	if len(calls) == 1 {
		cmds[0] = s.call(ctx, client, calls[0].keys, calls[0].args)
		return cmds, cmds[0].Err()
	}
	pipe := client.Pipeline()
	for i, c := range calls {
		cmds[i] = pipe.EvalSha(ctx, s.hash, c.keys, c.args...)
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	pipe = client.Pipeline()
	for i, c := range calls {
		if missing(cmds[i].Err()) {
			cmds[i] = pipe.Eval(ctx, s.source, c.keys, c.args...)
		}
	}
	if pipe.Len() > 0 {
		_, _ = pipe.Exec(ctx)
	}
	var errs []error
	for _, cmd := range cmds {
		errs = append(errs, cmd.Err())
	}
	return cmds, errors.Join(errs...)
}

func missing(err error) bool {
	return err != nil && (errors.Is(err, redis.ErrNoScript) || redis.HasErrorPrefix(err, "NOSCRIPT"))
}

// answer is what the script says of one request.
type answer struct {
	ok   bool
	left float64 // what was there before it
}

func answersOf(cmd *redis.Cmd, want int) ([]answer, error) {
	texts, err := cmd.StringSlice()
	if err != nil {
		return nil, err
	}
	if len(texts) != want {
		return nil, fmt.Errorf("the script answered %d of %d requests", len(texts), want)
	}
	out := make([]answer, want)
	for i, text := range texts {
		if out[i], err = answerOf(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func answerOf(text string) (answer, error) {
	ok, left, _ := strings.Cut(text, " ")
	have, err := strconv.ParseFloat(left, 64)
	if err != nil || ok != "0" && ok != "1" || math.IsNaN(have) {
		return answer{}, errors.New("the script's answer cannot be read")
	}
	return answer{ok: ok == "1", left: have}, nil
}

// rate returns requests per microsecond.
func rate(l apitoken.Limit) float64 {
	return float64(l.Quota) / (float64(l.Window) / float64(time.Microsecond))
}

// number writes a double without loss, in a form that every Lua reads.
func number(f float64) string { return strconv.FormatFloat(f, 'e', 16, 64) }

// never says whether a request will never be allowed as things stand.
func never(req *apitoken.LimitRequest) bool {
	return req.Limit.Quota == 0 || req.Cost > req.Limit.Size()
}

// decide makes a decision as [apitoken.MemoryLimiter] does. Waits are in whole
// microseconds: the clock of Redis has no finer ones.
func decide(req *apitoken.LimitRequest, a answer) apitoken.Decision {
	d := blank(req)
	size, left, cost := float64(req.Limit.Size()), a.left, float64(req.Cost)
	slack := size * precision
	if d.Allowed = a.ok; d.Allowed {
		left -= cost
	} else {
		d.RetryAfter = max(time.Microsecond, timeFor(req.Limit, cost-left-slack/2))
	}
	d.Remaining = int(min(max(left+slack, 0), math.MaxInt32))
	if lacking := size - left; lacking > slack {
		d.Reset = timeFor(req.Limit, lacking)
	}
	return d
}

// refuse makes the decision for a request that is never allowed.
func refuse(req *apitoken.LimitRequest) apitoken.Decision {
	d := blank(req)
	d.Never, d.RetryAfter = true, req.Limit.Window
	return d
}

func blank(req *apitoken.LimitRequest) apitoken.Decision {
	return apitoken.Decision{Limit: req.Key.Name, Per: req.Limit.Per, Quota: req.Limit.Quota, Window: req.Limit.Window}
}

// timeFor returns how long requests take to be refilled; a century at most.
func timeFor(l apitoken.Limit, requests float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	micros := math.Ceil(requests / rate(l))
	return time.Duration(min(micros, float64(century/time.Microsecond))) * time.Microsecond
}
