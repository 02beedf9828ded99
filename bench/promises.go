package bench

import (
	"slices"
	"time"
)

// Promise is a row of the table of promises: how one workload compares with
// another of the same run.
type Promise struct {
	Name   string
	Of     Workload
	Beside Workload // none: Of is compared with Unit
	Unit   time.Duration
	// Faster says how the ratio is told: how many times Of is faster than Beside,
	// at least Bar. Otherwise it is the time of Of over that of Beside, at most Bar.
	Faster    bool
	Bar       float64 // 0 = none: it is told, and nothing is promised
	MaxAllocs int64   // -1 = any
	Crowded   bool    // measured last, as it leaves a million tokens in memory
}

// Missed reports whether a ratio is beyond the bar, with a tolerance of 1 for
// none.
func (p *Promise) Missed(ratio, tolerance float64) bool {
	if p.Bar == 0 {
		return false
	}
	if p.Faster {
		return ratio*tolerance < p.Bar
	}
	return ratio > p.Bar*tolerance
}

// Promises are all that this module measures.
var Promises = slices.Concat([]Promise{
	{Name: "verify", Of: Verify, Beside: Prim, Bar: 3},
	{Name: "verify: not slower than by hand", Of: Verify, Beside: HandRolled, Bar: 1},
	{Name: "verify: faster than golang-jwt", Of: Verify, Beside: JWT, Faster: true, Bar: 20},
	{Name: "verify: faster than fosite", Of: Verify, Beside: Fosite, Faster: true, Bar: 8},
	{Name: "verify with limit and prefixes", Of: VerifyLimited, Beside: Prim, Bar: 4.5},
	{Name: "refuse a damaged token", Of: RefuseDamaged, Beside: Prim, Bar: 0.6},
	{Name: "refuse another system's token", Of: RefuseMalformed, Beside: Prim, Bar: 0.6},
	{Name: "refuse an overlong token", Of: RefuseLong, Beside: Prim, Bar: 0.6},
	{Name: "two processors", Of: VerifyOnTwo, Beside: VerifyOnOne, Faster: true, Bar: 1.7},
	{Name: "two processors: the machine itself", Of: PrimOnTwo, Beside: PrimOnOne, Faster: true, Bar: 1.7, MaxAllocs: -1},
	{Name: "middleware", Of: Middleware, Beside: ValueMiddleware, Bar: 2.5, MaxAllocs: 3},
	{Name: "middleware without verification", Of: MiddlewareAlone, Beside: ValueMiddleware, Bar: 2.5, MaxAllocs: 3},
	{Name: "signed request: JWT", Of: BoundJWT, Beside: RawES256, Bar: 1.1, MaxAllocs: 40},
	{Name: "signed request: JWT beside golang-jwt", Of: BoundJWT, Beside: ES256JWT, Bar: 1, MaxAllocs: 40},
	{Name: "signed request: JWT beside go-jose", Of: BoundJWT, Beside: ES256Jose, Bar: 1, MaxAllocs: 40},
	{Name: "signed request: RFC 9421", Of: HTTPSignature, Beside: RawES256, Bar: 1.1, MaxAllocs: 40},
	{Name: "refuse a signed request that is too old", Of: OldJWT, Beside: RawES256, Bar: 0.15, MaxAllocs: 40},
	{Name: "rate limit: one key beside go-limiter", Of: LimitOne, Beside: LimitOneSeth, Bar: 1},
	{Name: "rate limit: one key beside x/time/rate in a map", Of: LimitOne, Beside: LimitOneRate},
	{Name: "rate limit: one key beside ulule/limiter", Of: LimitOne, Beside: LimitOneUlule},
	{Name: "rate limit: one key beside throttled", Of: LimitOne, Beside: LimitOneThrot},
	{Name: "rate limit: 100,000 keys beside go-limiter", Of: LimitMany, Beside: LimitManySeth, Bar: 0.7},
	{Name: "rate limit: 100,000 keys beside x/time/rate in a map", Of: LimitMany, Beside: LimitManyRate},
	{Name: "a million tokens, 10,000 in use", Of: WarmLookUp, Beside: BareLookUp, Bar: 1.5, Crowded: true},
	{Name: "a million tokens: forced GC", Of: Collect, Unit: 60 * time.Millisecond, Bar: 1, MaxAllocs: -1, Crowded: true},
}, promisesOn("SQLite", OnSQLite), promisesOn("PostgreSQL", OnPostgreSQL), promisesOn("MariaDB", OnMariaDB), []Promise{
	{Name: "PostgreSQL: 500 uses in one statement", Of: OnPostgreSQL.Touch, Beside: OnPostgreSQL.TouchSingly, Faster: true, Bar: 10, MaxAllocs: -1},
	{Name: "MariaDB: 500 uses in one statement", Of: OnMariaDB.Touch, Beside: OnMariaDB.TouchSingly, Faster: true, Bar: 10, MaxAllocs: -1},
	{Name: "Redis: a decision beside PING", Of: RedisAllow, Beside: RedisPing, Bar: 1.4, MaxAllocs: -1},
	{Name: "Redis: a decision beside redis_rate", Of: RedisAllow, Beside: RedisRate, Bar: 1, MaxAllocs: -1},
	{Name: "Redis: one busy key with leases of 100 beside PING", Of: RedisLeased, Beside: RedisPing, MaxAllocs: -1},
	{Name: "Redis: an empty script beside PING", Of: RedisEmpty, Beside: RedisPing, MaxAllocs: -1},
	{Name: "Redis: a script of TIME, GET and SET beside PING", Of: RedisTouch, Beside: RedisPing, MaxAllocs: -1},
})

func promisesOn(name string, on sqlWorkloads) []Promise {
	return []Promise{
		{Name: name + ": look-up", Of: on.LookUp, Beside: on.Row, Bar: 1.3, MaxAllocs: -1},
		{Name: name + ": look-up beside a narrow row", Of: on.LookUp, Beside: on.NarrowRow, MaxAllocs: -1},
		{Name: name + ": verify from the cache", Of: on.Cached, Beside: on.Verify, Faster: true, Bar: 30, MaxAllocs: -1},
		{Name: name + ": verify with uses written", Of: on.Recorded, Beside: on.Unrecorded, Faster: true, Bar: 0.9, MaxAllocs: -1},
	}
}
