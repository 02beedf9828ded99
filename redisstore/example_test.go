package redisstore_test

import (
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/redisstore"
)

func Example() {
	server := miniredis.NewMiniRedis() // in place of yours
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{server.Addr()},
		ContextTimeoutEnabled: true,
	})
	defer client.Close()
	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{
		Nodes: func() int { return 3 }, // while Redis is away, each grants a third
	})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = apitoken.New(memstore.New(), apitoken.Options{
		Prefix:      "acme",
		Limits:      map[string]apitoken.Limit{"search": {Quota: 600, Window: time.Minute, Burst: 20}},
		Limiter:     limiter,
		ReplayGuard: guard,
	})
	fmt.Println(err)
	// Output: <nil>
}
