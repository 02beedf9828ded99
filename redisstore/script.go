package redisstore

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenry/apitoken"
)

var (
	//go:embed struct.lua
	structLua string
	//go:embed bucket.lua
	bucketLua string
	//go:embed one.lua
	oneLua string
	//go:embed take.lua
	takeLua string
	//go:embed give.lua
	giveLua string
	//go:embed lease.lua
	leaseLua string
)

// precision is that of [apitoken.MemoryLimiter]: what a sum of fractions may be off
// by, as a part of a full bucket.
const precision = 1e-15

// script is one that Redis is asked for by its hash.
type script struct{ source, hash any } // strings

func newScript(parts ...string) script {
	source := strings.Join(parts, "")
	return script{source: source, hash: redis.NewScript(source).Hash()}
}

// call is one call of a script, whose keys have one hash tag.
type call struct {
	keys []string
	args []string
}

// command returns the command for a call: name is evalsha with the hash of a script, or
// eval with its source.
func command(ctx context.Context, name, script any, c call) *redis.StringCmd {
	args := make([]any, 3, 3+len(c.keys)+len(c.args))
	args[0], args[1], args[2] = name, script, len(c.keys)
	for _, key := range c.keys {
		args = append(args, key)
	}
	for _, arg := range c.args {
		args = append(args, arg)
	}
	cmd := redis.NewStringCmd(ctx, args...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

func (s script) call(ctx context.Context, client redis.UniversalClient, c call) *redis.StringCmd {
	cmd := command(ctx, "evalsha", s.hash, c)
	if missing(client.Process(ctx, cmd)) {
		cmd = command(ctx, "eval", s.source, c)
		_ = client.Process(ctx, cmd) // the command has its error
	}
	return cmd
}

// run sends the calls in one round trip. Where a server does not have the script
// yet, what it did not run is sent again with its source.
func (s script) run(ctx context.Context, client redis.UniversalClient, calls []call) ([]*redis.StringCmd, error) {
	cmds := make([]*redis.StringCmd, len(calls))
	if len(calls) == 1 {
		cmds[0] = s.call(ctx, client, calls[0])
		return cmds, cmds[0].Err()
	}
	pipe := client.Pipeline()
	for i, c := range calls {
		cmds[i] = command(ctx, "evalsha", s.hash, c)
		_ = pipe.Process(ctx, cmds[i])
	}
	_, _ = pipe.Exec(ctx) // each command has its error
	pipe = client.Pipeline()
	for i, c := range calls {
		if missing(cmds[i].Err()) {
			cmds[i] = command(ctx, "eval", s.source, c)
			_ = pipe.Process(ctx, cmds[i])
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

func missing(err error) bool { return err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") }

// answer is what the script says of one request.
type answer struct {
	ok   bool
	left float64 // what is there after it
}

const (
	doubleSize = 8
	answerSize = 1 + doubleSize
)

func answersOf(cmd *redis.StringCmd, want int) ([]answer, error) {
	text, err := cmd.Result()
	if err != nil {
		return nil, err
	}
	if len(text) != want*answerSize {
		return nil, errUnreadable
	}
	out := make([]answer, want)
	for i := range out {
		if out[i], err = answerOf(text[i*answerSize:][:answerSize]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

var errUnreadable = errors.New("the script's answer cannot be read")

func answerOf(text string) (answer, error) {
	if len(text) != answerSize || text[0] > 1 {
		return answer{}, errUnreadable
	}
	left := doubleOf(text[1:])
	if math.IsNaN(left) {
		return answer{}, errUnreadable
	}
	return answer{ok: text[0] == 1, left: left}, nil
}

// appendRequest appends what the scripts are told of a request beside its key.
func appendRequest(b []byte, req *apitoken.LimitRequest) []byte {
	b = appendDouble(b, rate(req.Limit))
	b = appendDouble(b, float64(req.Limit.Size()))
	return appendDouble(b, float64(req.Cost))
}

func appendDouble(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

func doubleOf(text string) float64 {
	var b [doubleSize]byte
	copy(b[:], text)
	return math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
}

// rate returns requests per microsecond.
func rate(l apitoken.Limit) float64 {
	return float64(l.Quota) / (float64(l.Window) / float64(time.Microsecond))
}

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
	if d.Allowed = a.ok; !d.Allowed {
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
