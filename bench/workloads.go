package bench

// The names of the workloads, as the ratios use them.
const (
	Prim            = "prim"
	HandRolled      = "hand-rolled"
	JWT             = "golang-jwt HS256"
	Fosite          = "fosite introspection"
	Verify          = "verify"
	VerifyLimited   = "verify, limit and ten prefixes"
	VerifyParallel  = "verify in parallel"
	RefuseDamaged   = "refuse damaged"
	RefuseMalformed = "refuse malformed"
	RefuseLong      = "refuse long"
	ValueMiddleware = "context-value middleware"
)

// Workloads are all there are.
var Workloads = []Workload{
	{Prim, prim},
	{HandRolled, verifyHandRolled},
	{JWT, verifyJWT},
	{Fosite, introspectFosite},
	{Verify, verify},
	{VerifyLimited, verifyLimited},
	{VerifyParallel, verifyParallel},
	{RefuseDamaged, refuseDamaged},
	{RefuseMalformed, refuseMalformed},
	{RefuseLong, refuseLong},
	{ValueMiddleware, valueMiddleware},
}
