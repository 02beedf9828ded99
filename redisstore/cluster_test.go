package redisstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

const (
	masters = 3
	slots   = 16384
)

// startCluster starts masters that share the slots, and returns a client of them.
func startCluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	var addrs []string
	var nodes []*redis.Client
	for i := range masters {
		s := &server{t: t, port: clusterPort(t), args: []string{"--cluster-enabled", "yes"}}
		t.Cleanup(s.kill)
		s.start()
		node := s.client(t)
		require.NoError(t, node.ClusterAddSlotsRange(t.Context(), i*slots/masters, (i+1)*slots/masters-1).Err())
		require.NoError(t, node.Do(t.Context(), "cluster", "set-config-epoch", i+1).Err())
		addrs, nodes = append(addrs, s.addr()), append(nodes, node)
	}
	for _, node := range nodes[1:] {
		host, port, err := net.SplitHostPort(addrs[0])
		require.NoError(t, err)
		require.NoError(t, node.ClusterMeet(t.Context(), host, port).Err())
	}
	for i, node := range nodes {
		require.Eventually(t, func() bool {
			info, err := node.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d\r", slots))
		}, time.Minute, 10*time.Millisecond, "master %d", i)
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// clusterPort returns a spare port. The nodes talk to each other on the one 10,000
// above. Both are below those that systems give to connections.
func clusterPort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(12_000)
		if spare(port) && spare(port+10_000) {
			return strconv.Itoa(port)
		}
	}
	t.Fatal("there is no spare port")
	return ""
}

func spare(port int) bool {
	listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	return err == nil && listener.Close() == nil
}

// On a cluster the decisions are those of the limiter in memory, and no script is sent
// keys of two slots, which would be an error.
func TestCluster(t *testing.T) {
	t.Parallel()
	client := startCluster(t)
	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute})
	require.NoError(t, err)
	memory := apitoken.NewMemoryLimiter(100_000)
	now := time.Now()
	same := func(reqs ...apitoken.LimitRequest) {
		t.Helper()
		want, err := memory.AllowAll(t.Context(), reqs, now)
		require.NoError(t, err)
		got, err := limiter.AllowAll(t.Context(), reqs, now)
		require.NoError(t, err)
		if len(reqs) == 1 { // a look, by the script for one
			reqs[0].Cost = 0
			one, err := limiter.Allow(t.Context(), reqs[0], now)
			require.NoError(t, err)
			require.Equal(t, want[0].Remaining, one.Remaining)
		}
		for i := range want {
			require.Equal(t, want[i].Allowed, got[i].Allowed)
			require.Equal(t, want[i].Remaining, got[i].Remaining)
		}
	}
	// request refills nothing while the test runs.
	request := func(per apitoken.Per, tenant, id string, quota int) apitoken.LimitRequest {
		return apitoken.LimitRequest{
			Key:   apitoken.LimitKey{Name: "api", Per: per, Tenant: tenant, ID: id},
			Limit: apitoken.Limit{Quota: quota, Window: 10_000 * time.Hour, Per: per}, Cost: 1,
		}
	}
	for i := range 20 {
		tenant := fmt.Sprint("tenant", i)
		token := request(apitoken.PerToken, tenant, fmt.Sprint("token", i), 9)
		owner, whole := request(apitoken.PerOwner, tenant, "ann", 5), request(apitoken.PerTenant, tenant, "", 100)
		for range 3 {
			same(token)
		}
		for range 3 { // one tag
			same(token, owner, whole)
		}
		ip, region := request(apitoken.PerKey, "", fmt.Sprint("ip", i), 4), request(apitoken.PerKey, "", fmt.Sprint("region", i), 100)
		for range 4 { // three tags, of which the token's refuses first
			same(token, ip, owner, region)
		}
		for _, req := range []apitoken.LimitRequest{token, owner, whole, ip, region} {
			req.Cost = 0
			same(req)
		}
	}

	guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{Timeout: time.Minute})
	require.NoError(t, err)
	for i := range 30 {
		use := apitoken.SignedUse{Key: [32]byte{byte(i)}, Now: now, Until: now.Add(time.Minute)}
		for _, want := range []bool{true, false} {
			fresh, err := guard.Remember(t.Context(), use)
			require.NoError(t, err)
			require.Equal(t, want, fresh)
		}
	}
	var spread atomic.Int64
	err = client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
		keys, err := node.DBSize(ctx).Result()
		if keys > 0 {
			spread.Add(1)
		}
		return err
	})
	require.NoError(t, err)
	require.EqualValues(t, masters, spread.Load())
}
