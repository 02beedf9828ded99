package bench

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
	BareLookUp      = Workload{Name: "look-up in a bare map of a million", Run: lookUpBare}
	WarmLookUp      = Workload{Name: "look-up in a store of a million, warm", Run: lookUpRecord}
	ColdLookUp      = Workload{Name: "look-up in a store of a million, any", Run: lookUpColdRecord}
	Collect         = Workload{Name: "garbage collection beside a million", Run: collect}
)

// Workloads are all there are.
var Workloads = []Workload{
	Prim, PrimOnOne, PrimOnTwo, HandRolled, JWT, Fosite,
	Verify, VerifyLimited, VerifyOnOne, VerifyOnTwo,
	RefuseDamaged, RefuseMalformed, RefuseLong,
	ValueMiddleware, Middleware, MiddlewareAlone,
	BareLookUp, WarmLookUp, ColdLookUp, Collect,
}
