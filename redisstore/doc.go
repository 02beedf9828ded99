// Package redisstore shares rate limits and the replay guard between nodes, in
// Redis, Valkey or a cluster of them, through a go-redis client of the host.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, ContextTimeoutEnabled: true})
//	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{Nodes: nodes})
//	guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{})
//	tokens, err := apitoken.New(store, apitoken.Options{Limiter: limiter, ReplayGuard: guard, …})
//
// # Limits
//
// A decision is one command and one round trip. A bucket refills by the clock of
// Redis, so those of the nodes do not matter. One that nobody takes from any more is
// dropped when it is full: not later than after twice the time that an empty one takes
// to fill, and 2 seconds. An edited limit acts at once and gives nobody more than was
// left; a token that was rotated has the bucket it had.
//
// A node may take some of the requests of a busy bucket at once and hand them out by
// itself ([LimiterOptions].Lease), which saves most of the commands. By default none
// does, and limits are exact.
//
// While Redis cannot be used, each node decides by itself by a part of the limit
// ([LimiterOptions].Nodes), or refuses ([Refuse]). An outage does not slow requests
// down: those under way wait for Timeout, and then one at a time tries every
// RetryEvery, while all others are decided at once. Two things give more than the
// limit once. When Redis is lost, the nodes' own buckets are full, so that in the
// first moment up to the limit may pass again. When Redis comes back empty,
// because it was restarted without persistence, so are its buckets.
//
// # Keys
//
// Keys are digests. None has a secret, a token's ID, an owner, a tenant or a key of
// the host in it, nor have the values. All buckets of a tenant are on one server
// of a cluster, by their hash tag.
//
// # Duties of the host
//
//  1. You must use Redis 6.2 or later, or Valkey, and let the client's account use
//     EVAL, EVALSHA, TIME, GET and SET on the keys with the prefix.
//  2. You must keep others from writing to these keys: whoever deletes one has a full
//     bucket, or may send a signed request again. Use TLS and a password where the
//     network is not yours alone.
//  3. For the replay guard you must set maxmemory-policy to noeviction. Any other lets
//     Redis drop what was accepted, and it could be accepted again. Limits merely
//     become full.
//  4. For the replay guard you should have appendonly with appendfsync always, and no
//     failover to replicas that lag: what Redis forgets in a crash can be accepted
//     again until it is [apitoken.Options].ProofMaxAge old. The guards of package
//     sqlstore and pgxstore forget nothing.
//  5. You should set ContextTimeoutEnabled in the client's options, and PoolSize to as
//     many requests as are decided on at once.
//  6. You should give Nodes, and alert on OnChange or on [apitoken.Decision].Local.
//  7. The client tries again by itself after a broken connection (MaxRetries), by
//     which a request may be counted twice, never less than once.
//  8. go-redis itself logs each connection that it cannot make, to the standard error:
//     redis.SetLogger, or Disable of its package logging, changes that.
//  9. Redis knows scripts by their SHA-1. It protects nothing here, but a program that
//     runs with GODEBUG=fips140=only cannot use the limiter.
package redisstore
