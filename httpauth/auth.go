package httpauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/tokenry/apitoken"
)

// Options of [New]. The zero value works: tokens in the Authorization header,
// the peer's address as the client's.
type Options struct {
	// Headers are further headers that may carry a token string, the value alone
	// without a scheme (S3.19): "X-WallarmApi-Token". Defaults to none.
	Headers []string
	// LegacyIDHeader and LegacySecretHeader carry an ID and secret of an older kind
	// (S3.17), which are one credential. Defaults to none; both or neither.
	LegacyIDHeader     string
	LegacySecretHeader string
	// Proofs read the signatures of signed requests, one reader for each scheme that
	// is on. Defaults to none: only bearer tokens, and what [Auth.Tunnel] carries.
	Proofs []ProofReader

	// TrustedProxies are the addresses whose X-Forwarded-For is believed: see
	// [Auth.ClientAddr]. Name the proxies and nothing else; a prefix of all
	// addresses is refused. Defaults to none: the header is not read.
	TrustedProxies []netip.Prefix
	// FailedAttempts limits how often an address may present credentials that are
	// not accepted. Defaults to off.
	FailedAttempts FailedAttempts

	// Realm is named in WWW-Authenticate: printable ASCII without quotes and
	// backslashes. Defaults to "api".
	Realm string
	// TellHolder answers 'expired' or 'disabled' to whoever presents the right
	// secret of such a token, instead of the 401 that tells nothing. Whoever found
	// or stole the token is told too. Defaults to off.
	TellHolder bool

	// Catalog lets routes name permissions: see [Auth.RequirePermission]. Defaults
	// to none.
	Catalog *apitoken.Catalog

	// XRateLimit sends X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset
	// too, which older clients know: of the limit that is the nearest to its end, the
	// instant in Unix seconds at which it is whole again. Defaults to off.
	XRateLimit bool
	// QuietLimits sends the fields of rate limits and quotas only with a 429. Defaults
	// to off: every answer to a request that counts has them, so that clients need not
	// run into it.
	QuietLimits bool

	// OnVerified is called once for each verified request, before its handler,
	// with the context the handler gets: to label a trace or a log. Defaults to
	// nothing.
	OnVerified func(ctx context.Context, p apitoken.Principal)
	// ErrorHandler answers refused requests. err says exactly why, so show the
	// client what [Auth.WriteError] would, or less. Defaults to WriteError.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
	// Logger gets outages and unknown errors as warnings, all other refusals at
	// debug level, with their reason and without any secret. Defaults to
	// slog.Default().
	Logger *slog.Logger
	// Clock is read for FailedAttempts and XRateLimit. Defaults to
	// [apitoken.SystemClock].
	Clock apitoken.Clock
}

// Auth makes middleware that verifies requests. It is safe for concurrent use.
// Make it with [New].
type Auth struct {
	verifier apitoken.Verifier
	opts     Options
	headers  []string       // canonical
	trusted  []netip.Prefix // IPv4 as IPv4
	attempts *attempts      // nil = not limited
}

// New returns middleware over v. Like a bad pattern of http.ServeMux, a fault in
// opts is a fault in the program: New panics and names all of them. For options
// that come from a configuration file, ask [Options.Check] first.
func New(v apitoken.Verifier, opts Options) *Auth {
	if v == nil {
		panic(errors.New("httpauth: New needs a Verifier: pass the Service of apitoken.New"))
	}
	if err := opts.Check(); err != nil {
		panic(err)
	}
	a := &Auth{verifier: v, opts: opts}
	o := &a.opts
	if o.Realm == "" {
		o.Realm = defaultRealm
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = apitoken.SystemClock
	}
	if o.ErrorHandler == nil {
		o.ErrorHandler = a.WriteError
	}
	for _, h := range o.Headers {
		a.headers = append(a.headers, http.CanonicalHeaderKey(h))
	}
	o.LegacyIDHeader = http.CanonicalHeaderKey(o.LegacyIDHeader)
	o.LegacySecretHeader = http.CanonicalHeaderKey(o.LegacySecretHeader)
	for _, p := range o.TrustedProxies {
		a.trusted = append(a.trusted, normalPrefix(p))
	}
	if o.FailedAttempts.Limit > 0 {
		a.attempts = newAttempts(o.FailedAttempts)
	}
	return a
}

// Middleware lets verified requests through.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return a.layer(layer{})(next)
}

// Optional lets verified requests through, and requests without any credential;
// for these [FromContext] reports false. A credential that is not accepted is
// refused like everywhere: a client whose token has expired must not be taken
// for a stranger.
func (a *Auth) Optional(next http.Handler) http.Handler {
	return a.layer(layer{optional: true})(next)
}

// Require lets requests through that are verified and satisfy need (S2.8).
// Around a mux it covers a whole group of endpoints (S2.9).
func (a *Auth) Require(need apitoken.Requirement) func(http.Handler) http.Handler {
	return a.layer(layer{need: need})
}

// RequirePermission is [Auth.Require] of all the named permissions of
// [Options].Catalog at once. It panics on a name the Catalog does not know.
func (a *Auth) RequirePermission(names ...string) func(http.Handler) http.Handler {
	if a.opts.Catalog == nil {
		panic(errors.New("httpauth: RequirePermission looks names up: set Options.Catalog"))
	}
	if len(names) == 0 {
		panic(errors.New("httpauth: RequirePermission without a name would require nothing: use Middleware"))
	}
	return a.Require(a.opts.Catalog.MustRequire(names...))
}

// Limit lets requests through that are verified and within all the named rate limits
// (S1.19). A request is counted each time it passes such a layer. Answers get the
// header fields RateLimit and RateLimit-Policy; so do answers on every route to
// requests that count for [apitoken.Quotas] or that one of these refuses.
func (a *Auth) Limit(names ...string) func(http.Handler) http.Handler {
	return a.LimitCost(1, names...)
}

// LimitCost is [Auth.Limit] for requests that count as several, such as a report that
// takes as long as ten others. What a request costs that is known only to its
// handler is asked for with the Verifier's Admit.
func (a *Auth) LimitCost(cost int, names ...string) func(http.Handler) http.Handler {
	if len(names) == 0 || slices.Contains(names, "") {
		panic(errors.New("httpauth: Limit needs the name of a limit of apitoken.Options.Limits"))
	}
	if cost < 1 {
		panic(errors.New("httpauth: LimitCost needs a cost of at least 1"))
	}
	return a.layer(layer{limits: slices.Clone(names), cost: cost})
}

// RequireKind lets requests through that are verified with a token of one of
// these kinds; others are told which to use (S3.22). A request that an outer
// layer has verified already counts as a use even if it is refused here.
func (a *Auth) RequireKind(kinds ...apitoken.Kind) func(http.Handler) http.Handler {
	if len(kinds) == 0 {
		panic(errors.New("httpauth: RequireKind needs the kinds to let through"))
	}
	return a.layer(layer{kinds: slices.Sorted(slices.Values(kinds))})
}

// Use lets requests through that are verified with a token of a kind that
// apitoken.Options.Uses accepts for the named use; others are told which to use
// (S3.22). A use that is not there lets nobody through. What is said of counting
// in [Auth.RequireKind] is true here.
func (a *Auth) Use(name string) func(http.Handler) http.Handler {
	if name == "" {
		panic(errors.New("httpauth: Use needs the name of a use of apitoken.Options.Uses"))
	}
	return a.layer(layer{use: name})
}

// layer is one piece of middleware and what it asks for.
type layer struct {
	auth *Auth
	next http.Handler

	optional bool
	need     apitoken.Requirement
	limits   []string
	cost     int
	use      string
	kinds    []apitoken.Kind // sorted
}

func (a *Auth) layer(l layer) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic(errors.New("httpauth: the handler to protect is nil"))
		}
		wrapped := l
		wrapped.auth, wrapped.next = a, next
		return &wrapped
	}
}

// errStranger: nothing was presented, and that is allowed. It is not
// ErrNoCredential, which a Verifier may return for something that was.
var errStranger = errors.New("httpauth: no credential, and none is needed")

func (l *layer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if outer, ok := ctx.Value(l.auth).(*verified); ok {
		if err := l.admit(ctx, w.Header(), &outer.principal); err != nil {
			l.auth.refuse(w, r, err)
			return
		}
		l.next.ServeHTTP(w, r)
		return
	}
	v := &verified{Context: ctx, auth: l.auth}
	signed, err := l.verify(w, r, v)
	if len(v.decisions) > 0 {
		l.auth.limitFields(w.Header(), v.decisions)
	}
	switch {
	case err == errStranger:
		l.next.ServeHTTP(w, r)
		return
	case err != nil:
		l.auth.refuse(w, r, err)
		return
	}
	if l.auth.opts.OnVerified != nil {
		l.auth.opts.OnVerified(v, v.principal)
	}
	l.next.ServeHTTP(w, signed.WithContext(v))
}

// admit checks what the layer adds to an outer layer that has verified.
func (l *layer) admit(ctx context.Context, h http.Header, p *apitoken.Principal) error {
	if l.use == "" && len(l.kinds) == 0 && len(l.limits) == 0 && l.need == (apitoken.Requirement{}) {
		return nil
	}
	req := apitoken.AdmitRequest{Use: l.use, Kinds: l.kinds, Limits: l.limits, Cost: l.cost, Need: l.need}
	if len(l.limits) == 0 {
		return l.auth.verifier.Admit(ctx, *p, req)
	}
	var decisions []apitoken.Decision
	req.Decisions = &decisions
	err := l.auth.verifier.Admit(ctx, *p, req)
	l.auth.limitFields(h, decisions)
	return err
}

// verify has the request's credential verified, with all that the layer asks for
// in the one call, and puts the principal into v: it is large, and this copies it
// once. It returns the request to hand on: r, or a copy whose body was read.
func (l *layer) verify(w http.ResponseWriter, r *http.Request, v *verified) (*http.Request, error) {
	a := l.auth
	req := apitoken.VerifyRequest{Use: l.use, Kinds: l.kinds, Limits: l.limits, Cost: l.cost, Need: l.need, Decisions: &v.decisions}
	var unfit error
	if len(a.opts.Proofs) == 0 {
		unfit = a.readCredential(r.Header, &req)
	} else {
		r = r.WithContext(r.Context())
		unfit = a.readSigned(w, r, &req)
	}
	switch {
	case unfit == apitoken.ErrNoCredential && l.optional:
		return nil, errStranger
	case unfit == apitoken.ErrNoCredential, unfit != nil && !errors.Is(unfit, apitoken.ErrUnauthenticated):
		return nil, unfit
	}
	if err := a.readClient(r, &req); err != nil {
		return nil, err
	}
	now, err := a.checkAttempts(&req)
	if err != nil {
		return nil, err
	}
	if err = unfit; err == nil {
		v.principal, err = a.verifier.Verify(v.Context, req)
	}
	if a.attempts != nil {
		a.attempts.note(req.Address, now, err)
	}
	return r, err
}

// readClient puts origin and address of the client into req.
func (a *Auth) readClient(r *http.Request, req *apitoken.VerifyRequest) (err error) {
	switch origins := r.Header["Origin"]; {
	case len(origins) > 1:
		return apitoken.ErrOrigin
	case len(origins) == 1:
		if req.Origin = origins[0]; req.Origin == "" {
			req.Origin = "null" // an empty line is not the absence of one
		}
	}
	req.Address, err = a.ClientAddr(r)
	return err
}

// checkAttempts refuses an address that has failed too often, and returns the
// instant by which the outcome is to be noted.
func (a *Auth) checkAttempts(req *apitoken.VerifyRequest) (now time.Time, err error) {
	if a.attempts != nil {
		now = a.opts.Clock.Now()
		err = a.attempts.check(req.Address, now)
	}
	return now, err
}

// refuse answers a request that is not let through.
func (a *Auth) refuse(w http.ResponseWriter, r *http.Request, err error) {
	level := slog.LevelDebug // also for outages that the client made by going away
	if statusOf(err) >= http.StatusInternalServerError && r.Context().Err() == nil {
		level = slog.LevelWarn
	}
	if a.opts.Logger.Enabled(r.Context(), level) {
		// The pattern and not the path: a path may hold what clients put there.
		a.opts.Logger.LogAttrs(r.Context(), level, "httpauth: request refused",
			slog.String("reason", apitoken.ReasonOf(err)), slog.Any("error", err),
			slog.String("method", r.Method), slog.String("pattern", r.Pattern), slog.String("peer", r.RemoteAddr))
	}
	a.opts.ErrorHandler(w, r, err)
}
