package bench

import (
	"slices"
	"time"
)

// The workloads.
var (
	Prim            = Workload{Name: "prim", Run: prim}
	PrimOnOne       = Workload{Name: "prim on one processor", Run: primParallel, Procs: 1}
	PrimOnTwo       = Workload{Name: "prim on two processors", Run: primParallel, Procs: 2}
	HandRolled      = Workload{Name: "by hand", Run: verifyHandRolled}
	JWT             = Workload{Name: "golang-jwt HS256", Run: verifyJWT}
	Fosite          = Workload{Name: "fosite introspection", Run: introspectFosite}
	Verify          = Workload{Name: "verify", Run: verify}
	VerifyLimited   = Workload{Name: "verify with limit and ten prefixes", Run: verifyLimited}
	VerifyOnOne     = Workload{Name: "verify on one processor", Run: verifyParallel, Procs: 1}
	VerifyOnTwo     = Workload{Name: "verify on two processors", Run: verifyParallel, Procs: 2}
	RefuseDamaged   = Workload{Name: "refuse damaged", Run: refuseDamaged}
	RefuseMalformed = Workload{Name: "refuse malformed", Run: refuseMalformed}
	RefuseLong      = Workload{Name: "refuse long", Run: refuseLong}
	ValueMiddleware = Workload{Name: "middleware with a context value", Run: valueMiddleware}
	Middleware      = Workload{Name: "middleware", Run: middleware}
	MiddlewareAlone = Workload{Name: "middleware without verification", Run: middlewareAlone}
	RawES256        = Workload{Name: "raw ECDSA", Run: rawES256}
	BoundJWT        = Workload{Name: "request-bound JWT", Run: verifyBoundJWT}
	HTTPSignature   = Workload{Name: "HTTP Message Signature", Run: verifyHTTPSignature}
	OldJWT          = Workload{Name: "refuse an old JWT", Run: refuseOldJWT}
	ES256JWT        = Workload{Name: "golang-jwt ES256", Run: verifyES256JWT}
	ES256Jose       = Workload{Name: "go-jose ES256", Run: verifyES256Jose}
	LimitOne        = Workload{Name: "limit, one key", Run: limitOne(ourLimiter)}
	LimitOneSeth    = Workload{Name: "go-limiter, one key", Run: limitOne(sethvargo)}
	LimitOneRate    = Workload{Name: "x/time/rate, one key", Run: limitOne(xTimeRate)}
	LimitOneUlule   = Workload{Name: "ulule/limiter, one key", Run: limitOne(ululeLimiter)}
	LimitOneThrot   = Workload{Name: "throttled, one key", Run: limitOne(throttledLimiter)}
	LimitMany       = Workload{Name: "limit, 100,000 keys", Run: limitMany(ourLimiter), Procs: 2}
	LimitManySeth   = Workload{Name: "go-limiter, 100,000 keys", Run: limitMany(sethvargo), Procs: 2}
	LimitManyRate   = Workload{Name: "x/time/rate, 100,000 keys", Run: limitMany(xTimeRate), Procs: 2}
	BareLookUp      = Workload{Name: "look-up in a bare map of a million", Run: lookUpBare}
	WarmLookUp      = Workload{Name: "look-up in a store of a million, warm", Run: lookUpRecord}
	ColdLookUp      = Workload{Name: "look-up in a store of a million, any", Run: lookUpColdRecord}
	Collect         = Workload{Name: "garbage collection beside a million", Run: collect}
)

// sqlWorkloads are those of one database.
type sqlWorkloads struct {
	LookUp, Row, NarrowRow Workload
	Verify, Cached         Workload
	Recorded, Unrecorded   Workload
	Touch, TouchSingly     Workload
}

func workloadsOn(e *engine) sqlWorkloads {
	w := sqlWorkloads{
		LookUp:      e.on("look-up", lookUpToken),
		Row:         e.on("prepared QueryRow, all columns", queryRow),
		NarrowRow:   e.on("prepared QueryRow, seven columns", queryNarrowRow),
		Verify:      e.on("verify", verifyOn),
		Cached:      e.on("verify from the cache", verifyCached),
		Recorded:    e.on("verify, uses written each second", verifyAndWrite),
		Unrecorded:  e.on("verify, uses not recorded", verifyUnrecorded),
		Touch:       e.on("500 uses, one statement", touch),
		TouchSingly: e.on("500 uses, a prepared statement each", touchSingly),
	}
	w.Recorded.Time, w.Unrecorded.Time = 2*time.Second, 2*time.Second
	return w
}

func (w *sqlWorkloads) all() []Workload {
	return []Workload{w.LookUp, w.Row, w.NarrowRow, w.Verify, w.Cached, w.Recorded, w.Unrecorded, w.Touch, w.TouchSingly}
}

// The workloads on databases.
var (
	OnSQLite     = workloadsOn(onSQLite)
	OnPostgreSQL = workloadsOn(onPostgres)
	OnMariaDB    = workloadsOn(onMariaDB)
)

// The workloads on Redis.
var (
	RedisPing   = onRedis.on("PING", redisPing)
	RedisAllow  = onRedis.on("a decision", redisAllow)
	RedisLeased = onRedis.on("one busy key with leases", redisLeased)
	RedisRate   = onRedis.on("redis_rate", redisRate)
	RedisEmpty  = onRedis.on("an empty script", redisEmpty)
	RedisTouch  = onRedis.on("a script of TIME, GET and SET", redisTouch)
)

// Workloads are all there are.
var Workloads = slices.Concat([]Workload{
	Prim, PrimOnOne, PrimOnTwo, HandRolled, JWT, Fosite,
	Verify, VerifyLimited, VerifyOnOne, VerifyOnTwo,
	RefuseDamaged, RefuseMalformed, RefuseLong,
	ValueMiddleware, Middleware, MiddlewareAlone,
	RawES256, BoundJWT, HTTPSignature, OldJWT, ES256JWT, ES256Jose,
	LimitOne, LimitOneSeth, LimitOneRate, LimitOneUlule, LimitOneThrot, LimitMany, LimitManySeth, LimitManyRate,
	BareLookUp, WarmLookUp, ColdLookUp, Collect,
}, OnSQLite.all(), OnPostgreSQL.all(), OnMariaDB.all(), []Workload{RedisPing, RedisAllow, RedisLeased, RedisRate, RedisEmpty, RedisTouch})
