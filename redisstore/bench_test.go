package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

// PING is the yardstick: a round trip of the same client that does nothing.
func BenchmarkRoundTrip(b *testing.B) {
	client := startServer(b).client(b)
	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute})
	require.NoError(b, err)
	guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{Timeout: time.Minute})
	require.NoError(b, err)
	now := time.Now()
	many := apitoken.Limit{Quota: 1_000_000_000, Window: time.Second}
	run := func(name string, call func(i int) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := call(i); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
	run("PING", func(int) error { return client.Ping(b.Context()).Err() })
	allow := func(req apitoken.LimitRequest) error {
		_, err := limiter.Allow(b.Context(), req, now)
		return err
	}
	run("Allow", func(int) error { return allow(of("token", many)) })
	run("Allow/refused", func(int) error {
		req := of("refused", apitoken.Limit{Quota: 1, Window: 10_000 * time.Hour})
		return allow(req)
	})
	ids := make([]string, 10_000)
	for i := range ids {
		ids[i] = fmt.Sprint("token", i)
	}
	run("Allow/10000 keys", func(i int) error { return allow(of(ids[i%len(ids)], many)) })
	owner, ip := of("user", many), apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "ip", Per: apitoken.PerKey, ID: "192.0.2.1"}, Limit: many, Cost: 1}
	owner.Key.Per = apitoken.PerOwner
	batch := func(reqs ...apitoken.LimitRequest) error {
		_, err := limiter.AllowAll(b.Context(), reqs, now)
		return err
	}
	run("AllowAll/2", func(int) error { return batch(of("token", many), owner) })
	run("AllowAll/3 with 2 tags", func(int) error { return batch(of("token", many), owner, ip) })
	run("Remember", func(i int) error {
		use := apitoken.SignedUse{Now: now, Until: now.Add(time.Second)}
		use.Key[0], use.Key[1], use.Key[2], use.Key[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
		_, err := guard.Remember(b.Context(), use)
		return err
	})
}
