package bench

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/redisstore"
)

// redisBacking is a Redis that keeps nothing on disk, and a client that all workloads
// share.
type redisBacking struct {
	once   sync.Once
	client *redis.Client
	err    error
}

var onRedis = &redisBacking{}

var errRefused = errors.New("refused")

func (r *redisBacking) prepare() error {
	r.once.Do(func() {
		var base string
		if base, r.err = servers.RedisURL(); r.err != nil {
			return
		}
		opts, err := redis.ParseURL(base)
		if err != nil {
			r.err = err
			return
		}
		opts.ContextTimeoutEnabled = true
		r.client = redis.NewClient(opts)
	})
	return r.err
}

func (r *redisBacking) isServer() bool { return true }

func (r *redisBacking) close() error {
	if r.client == nil {
		return nil
	}
	return r.client.Close()
}

// asker makes what a workload does again and again: one round trip about the key with
// the number i.
type asker func(client *redis.Client) (ask func(ctx context.Context, i int) error, err error)

func (r *redisBacking) on(name string, newAsk asker) Workload {
	return Workload{Name: name + " on Redis", on: r, Run: func(b *testing.B) {
		if err := r.prepare(); err != nil {
			b.Fatal(err)
		}
		ask, err := newAsk(r.client)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if err := ask(b.Context(), i); err != nil {
				b.Fatal(err)
			}
			if i++; i == Tokens {
				i = 0
			}
		}
	}}
}

// redisPing is the yardstick: a round trip that does nothing.
func redisPing(client *redis.Client) (func(context.Context, int) error, error) {
	return func(ctx context.Context, _ int) error { return client.Ping(ctx).Err() }, nil
}

// perHour is a limit that refills faster than one client can ask.
var perHour = apitoken.Limit{Quota: plenty, Window: time.Hour}

func redisAllow(client *redis.Client) (func(context.Context, int) error, error) {
	return allowIn(client, 0)
}

// redisLeased is about one busy key.
func redisLeased(client *redis.Client) (func(context.Context, int) error, error) {
	ask, err := allowIn(client, 100)
	return func(ctx context.Context, _ int) error { return ask(ctx, 0) }, err
}

func allowIn(client *redis.Client, lease int) (func(context.Context, int) error, error) {
	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute, Lease: lease})
	if err != nil {
		return nil, err
	}
	keys, now := keysOf(Tokens), time.Now()
	return func(ctx context.Context, i int) error {
		now = now.Add(1000)
		key := apitoken.LimitKey{Name: "api", Tenant: "acme", ID: keys[i]}
		d, err := limiter.Allow(ctx, apitoken.LimitRequest{Key: key, Limit: perHour, Cost: 1}, now)
		return unlessRefused(d.Allowed, err)
	}, nil
}

func redisRate(client *redis.Client) (func(context.Context, int) error, error) {
	limiter, keys := redis_rate.NewLimiter(client), keysOf(Tokens)
	return func(ctx context.Context, i int) error {
		result, err := limiter.Allow(ctx, keys[i], redis_rate.PerHour(plenty))
		return unlessRefused(err == nil && result.Allowed > 0, err)
	}, nil
}

func unlessRefused(allowed bool, err error) error {
	if err == nil && !allowed {
		return errRefused
	}
	return err
}

// redisEmpty is the least that a script takes.
func redisEmpty(client *redis.Client) (func(context.Context, int) error, error) {
	return runScript(client, `return '1'`)
}

// redisTouch is the least that a limiter's script takes: it reads the clock and the
// bucket, and writes the bucket for a time.
func redisTouch(client *redis.Client) (func(context.Context, int) error, error) {
	return runScript(client, `redis.call('TIME') redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1], 'PX', 5000) return '1'`)
}

func runScript(client *redis.Client, source string) (func(context.Context, int) error, error) {
	script, keys := redis.NewScript(source), keysOf(Tokens)
	hash, err := script.Load(context.Background(), client).Result()
	return func(ctx context.Context, i int) error {
		return client.EvalSha(ctx, hash, []string{"touch:" + keys[i]}, "0123456789abcdef").Err()
	}, err
}
