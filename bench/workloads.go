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
)

// Workloads are all there are.
var Workloads = []Workload{
	Prim, PrimOnOne, PrimOnTwo, HandRolled, JWT, Fosite,
	Verify, VerifyLimited, VerifyOnOne, VerifyOnTwo,
	RefuseDamaged, RefuseMalformed, RefuseLong,
}
