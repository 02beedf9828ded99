package httpauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/jws"
)

// TunnelOptions of [Auth.Tunnel]. The zero value works.
type TunnelOptions struct {
	// Methods are those that the inner request may have, in upper case. Defaults to
	// GET, PUT, POST and DELETE.
	Methods []string
	// Replay says which signed requests are accepted only once. Defaults to
	// [ReplayAll].
	Replay ReplayPolicy
	// Headers of the outer request that the inner one gets too, such as Accept or
	// X-Request-Id. They are not signed: whoever carries the request on its way can
	// change them. Defaults to none. Headers that carry credentials, or say how the
	// outer message is framed, are refused.
	Headers []string
	// MaxBody bounds the body of the outer request in bytes. Defaults to 1 MiB, and
	// is that at most.
	MaxBody int64
}

// ReplayPolicy says which requests through a tunnel are accepted only once. They
// carry nothing that makes one unlike another but the time: two that are the same
// byte for byte, signed in the same millisecond, cannot be told from one that was
// sent twice.
type ReplayPolicy int

const (
	// ReplayAll accepts each signed request once.
	ReplayAll ReplayPolicy = iota
	// ReplayUnsafe accepts GET, HEAD and OPTIONS (RFC 9110, 9.2.1) as often as they
	// come while they are fresh, and all others once.
	ReplayUnsafe
	// ReplayOff accepts every signed request as often as it comes while it is fresh:
	// whoever reads one on its way can have it done again.
	ReplayOff
)

const (
	maxTunnelURI         = 4 << 10
	maxTunnelContentType = 256
)

// errTunnelMethod: the outer request is no POST. HTTP 405.
var errTunnelMethod error = &requestError{"method", "signed requests are sent here by POST"}

// notTunnelled are outer headers that the inner request never gets: credentials, the
// framing of the outer message, and what the signed fields or this package say.
var notTunnelled = []string{
	"Authorization", "Connection", "Content-Digest", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect", "Host",
	"Keep-Alive", "Origin", "Proxy-Authorization", "Proxy-Connection", "Signature", "Signature-Input", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "X-Forwarded-For",
}

// Tunnel returns a handler that takes signed requests out of JWS bodies, verifies
// them and passes them on to inner:
//
//	mux.Handle("POST /jws/validate", auth.Tunnel(httpauth.TunnelOptions{}, api))
//
// The body is a compact JWS (RFC 7515), and what it says is the request: its header
// names alg, kid (the token's ID), method, uri, content-type, query-string and
// issuedAt in milliseconds since 1970, and its payload is {"data": <body>}, or {}
// without a body. docs/signing.md has the rules.
//
// The inner request has a header of its own, with what was signed and what
// [TunnelOptions].Headers lets through; host, peer and context are those of the
// outer one. It is verified: layers of this Auth inside of inner add what they ask
// for, as they do inside of another layer, and count no second use. A route that
// tunnels must only reach needs such a layer all the same, or it is open to whoever
// comes another way.
//
// The outer request must carry no other credential. A fault in opts panics, as in
// [New].
func (a *Auth) Tunnel(opts TunnelOptions, inner http.Handler) http.Handler {
	if inner == nil {
		panic(errors.New("httpauth: Tunnel needs a handler for what comes out of it"))
	}
	if err := opts.check(a); err != nil {
		panic(err)
	}
	t := &tunnel{auth: a, inner: inner, methods: opts.Methods, replay: opts.Replay, limit: opts.MaxBody}
	if len(t.methods) == 0 {
		t.methods = []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}
	}
	t.methods = slices.Clone(t.methods)
	if t.limit == 0 {
		t.limit = maxSignedBody
	}
	for _, name := range opts.Headers {
		t.headers = append(t.headers, http.CanonicalHeaderKey(name))
	}
	if len(a.trusted) > 0 {
		t.headers = append(t.headers, "X-Forwarded-For") // or ClientAddr would not find the client
	}
	return t
}

func (o *TunnelOptions) check(a *Auth) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("httpauth: TunnelOptions."+format, args...))
	}
	for i, method := range o.Methods {
		if !isHeaderName(method) || strings.ToUpper(method) != method || method == http.MethodConnect || method == http.MethodTrace {
			bad("Methods[%d] %q cannot be tunnelled: name a method such as PATCH, in upper case", i, method)
		}
	}
	if o.Replay < ReplayAll || o.Replay > ReplayOff {
		bad("Replay %d is unknown: use ReplayAll, ReplayUnsafe or ReplayOff", o.Replay)
	}
	for i, name := range o.Headers {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !isHeaderName(name):
			bad("Headers[%d] %q is no header name: write one such as Accept", i, name)
		case slices.Contains(notTunnelled, canonical), slices.Contains(a.headers, canonical),
			canonical == a.opts.LegacyIDHeader, canonical == a.opts.LegacySecretHeader:
			bad("Headers[%d] %q is of the outer request alone: remove it", i, name)
		}
	}
	if o.MaxBody < 0 || o.MaxBody > maxSignedBody {
		bad("MaxBody is %d: give at most %d bytes, or 0 for that", o.MaxBody, maxSignedBody)
	}
	return errors.Join(errs...)
}

type tunnel struct {
	auth    *Auth
	inner   http.Handler
	methods []string
	replay  ReplayPolicy
	headers []string // canonical
	limit   int64
}

func (t *tunnel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &verified{Context: r.Context(), auth: t.auth}
	call, err := t.verify(w, r, v)
	if err != nil {
		if err == errTunnelMethod {
			w.Header().Set("Allow", http.MethodPost)
		}
		t.auth.refuse(w, r, err)
		return
	}
	if t.auth.opts.OnVerified != nil {
		t.auth.opts.OnVerified(v, v.principal)
	}
	t.inner.ServeHTTP(w, t.rebuild(r, call).WithContext(v))
}

// verify returns the request that r carries, and puts the principal into v.
func (t *tunnel) verify(w http.ResponseWriter, r *http.Request, v *verified) (*tunnelled, error) {
	a := t.auth
	if r.Method != http.MethodPost {
		return nil, errTunnelMethod
	}
	if t.presentsOther(w, r) {
		return nil, apitoken.ErrTwoCredentials
	}
	var req apitoken.VerifyRequest
	if err := a.readClient(r, &req); err != nil {
		return nil, err
	}
	now, err := a.checkAttempts(&req)
	if err != nil {
		return nil, err
	}
	text, err := readWhole(w, r, t.limit)
	if err != nil {
		return nil, err
	}
	if text = bytes.Trim(text, " \t\r\n"); len(text) == 0 {
		return nil, apitoken.ErrNoCredential
	}
	call := new(tunnelled)
	if req.Proof, err = t.read(r, text, call); err == nil {
		v.principal, err = a.verifier.Verify(v.Context, req)
	}
	if a.attempts != nil {
		a.attempts.note(req.Address, now, err)
	}
	return call, err
}

// presentsOther reports whether the outer request has a credential of its own, or
// has come out of a tunnel, or through a layer, that verified one.
func (t *tunnel) presentsOther(w http.ResponseWriter, r *http.Request) bool {
	a := t.auth
	if _, ok := r.Context().Value(a).(*verified); ok {
		return true
	}
	if len(r.Header["Authorization"]) > 0 || a.presentsOwn(r.Header) {
		return true
	}
	if len(a.opts.Proofs) > 0 {
		r = r.WithContext(r.Context())
	}
	for _, reader := range a.opts.Proofs {
		if proof, err := reader.ReadProof(w, r); proof != nil || err != nil {
			return true
		}
	}
	return false
}

// read takes a JWS apart and its header for the request it describes. The payload is
// left to the proof: nobody need parse a body that nobody signed.
func (t *tunnel) read(outer *http.Request, text []byte, call *tunnelled) (*apitoken.Proof, error) {
	signed, err := readJWS(text, jws.Limits{})
	if err != nil {
		return nil, err
	}
	proof, err := signed.proof(apitoken.SchemeJWS)
	if err != nil {
		return nil, err
	}
	ms, err := signed.header.IntOrDigits("issuedAt")
	if err != nil {
		return nil, malformed("header: %w", err)
	}
	var ok bool
	if proof.Created, ok = instant(ms, time.Millisecond); !ok {
		return nil, malformed("header: issuedAt is no number of milliseconds of our time")
	}
	if err := call.readHeader(signed.header); err != nil {
		return nil, err
	}
	if !slices.Contains(t.methods, call.method) {
		return nil, malformed("header: the method is none of those that are tunnelled")
	}
	if call.leadsTo(outer) {
		return nil, malformed("header: uri leads to the tunnel itself")
	}
	proof.Repeatable = t.replay == ReplayOff || t.replay == ReplayUnsafe && isSafe(call.method)
	payload := signed.Payload
	proof.CheckBody = func(context.Context) error { return call.readPayload(payload) }
	return proof, nil
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// rebuild makes the inner request.
func (t *tunnel) rebuild(outer *http.Request, call *tunnelled) *http.Request {
	h := make(http.Header)
	for _, name := range t.headers {
		if lines := outer.Header[name]; len(lines) > 0 {
			h[name] = slices.Clone(lines)
		}
	}
	if call.contentType != "" {
		h.Set("Content-Type", call.contentType)
	}
	inner := &http.Request{
		Method: call.method, URL: call.url, RequestURI: call.target,
		Proto: outer.Proto, ProtoMajor: outer.ProtoMajor, ProtoMinor: outer.ProtoMinor,
		Header: h, Body: http.NoBody,
		Host: outer.Host, RemoteAddr: outer.RemoteAddr, TLS: outer.TLS,
	}
	if len(call.body) > 0 {
		inner.Body = readAgain{bytes.NewReader(call.body), http.NoBody}
		inner.ContentLength = int64(len(call.body))
		h.Set("Content-Length", strconv.Itoa(len(call.body)))
	}
	return inner
}
