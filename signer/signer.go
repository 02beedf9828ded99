// Package signer is the client's side: an [http.RoundTripper] that adds a token to
// each request, or signs each request with the token's key.
//
//	key, err := signer.ParsePrivateKey(pem)
//	transport, err := signer.New(signer.Options{
//		Scheme: apitoken.SchemeJWT, Token: id, Key: key, Audience: "https://api.example.com",
//	})
//	client := &http.Client{Transport: transport}
//
// It speaks three of the four schemes: bearer tokens, requests inside of a JWS
// (scheme A, the JWS tunnel) and JWTs that are bound to one request (scheme C).
// Module httpsig has the same for HTTP Message Signatures.
//
// # What it takes care of
//
// The request that the caller made is never changed, and the response refers to that
// request: nobody who logs either logs a credential.
//
// Every attempt has a signature of its own, with a new time and a new nonce, because
// the service accepts each only once. A client or a library that tries again calls
// RoundTrip again. [http.Transport] by itself repeats a request when a connection
// that was kept open turns out to be closed: it is kept from that, and the Transport
// here does it, for the requests that are safe to repeat, with another signature.
//
// The credential goes to no other host than those in [Options].Hosts. A redirect to
// another host is followed without it, as [http.Client] does with an Authorization
// header; a request that somebody makes to another host is refused. It goes over
// TLS, or to this machine.
//
// # JWS tunnel
//
// The request that is sent is a POST to [Options].TunnelPath; the response is that of
// the request inside. The scheme has no nonce: a service that accepts each request
// once tells two that are the same by their milliseconds, and a Transport gives no two
// the same, unless it signs more than a thousand in a second. Several Transports for
// one token may. Bodies are JSON; white space around one gets lost, and {} and
// "" arrive as no body: the scheme does not tell them apart. The service has a list of
// the header fields that it takes from outside, if any.
package signer

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"

	"github.com/tokenry/apitoken"
)

// Transport is an [http.RoundTripper] with a credential. It is safe for concurrent
// use; make it with [New].
type Transport struct {
	opts   Options
	first  atomic.Pointer[string] // the host of the first request, where no hosts are named
	issued atomic.Int64           // when the last request for a tunnel was signed, in Unix milliseconds
}

var _ http.RoundTripper = (*Transport)(nil)

// New returns a Transport. Errors are of [apitoken.ErrInvalid], joined, an
// [apitoken.FieldError] for each option that is wrong, named as in [Options].
func New(opts Options) (*Transport, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	return &Transport{opts: opts}, nil
}

// RoundTrip implements [http.RoundTripper]. Errors before anything is sent are
// [ErrHost], [ErrInsecure], [ErrTwoCredentials], [ErrTarget], [ErrBodyTooLarge],
// [ErrBodyForm], [KeyError], or say that the body cannot be read; the others are those
// of [Options].Base.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	carries, err := t.carries(r)
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	if !carries {
		return t.opts.Base.RoundTrip(r)
	}
	resp, err := t.send(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] reach Base.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.opts.Base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// carries reports whether r gets the credential, or must not be sent at all.
func (t *Transport) carries(r *http.Request) (bool, error) {
	u := r.URL
	if u == nil || u.Host == "" {
		return false, ErrTarget
	}
	// Only http.Client knows of a redirect, and says so in Response. A host on the way
	// that may not have the credential may not choose what is signed with it either.
	for hop := r; hop != nil && hop.Response != nil; hop = hop.Response.Request {
		if hop.URL == nil || !t.admits(hostOf(hop.URL)) {
			return false, nil
		}
	}
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return false, ErrInsecure
	case r.Header["Authorization"] != nil || u.User != nil:
		return false, ErrTwoCredentials
	case t.opts.Scheme != apitoken.SchemeBearer && (u.Opaque != "" || u.RawQuery != "" && !isVisible(u.RawQuery)):
		return false, ErrTarget
	}
	host := hostOf(u)
	if len(t.opts.Hosts) == 0 {
		t.first.CompareAndSwap(nil, &host)
	}
	if !t.admits(host) {
		return false, ErrHost
	}
	return true, nil
}

// admits reports whether a host is one that may be given the credential.
func (t *Transport) admits(host string) bool {
	if len(t.opts.Hosts) > 0 {
		return slices.Contains(t.opts.Hosts, host)
	}
	first := t.first.Load()
	return first != nil && *first == host
}

// maxAttempts is enough for the two idle connections that http.Transport keeps by
// default. With HTTP/2 a connection can fail a request and go on, so there is a limit.
const maxAttempts = 3

func (t *Transport) send(r *http.Request) (*http.Response, error) {
	if t.opts.Scheme == apitoken.SchemeBearer {
		out, err := t.prepared(r, nil)
		if err != nil {
			return nil, err
		}
		return t.opts.Base.RoundTrip(out)
	}
	body, err := t.readBody(r)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		out, err := t.prepared(r, body)
		if err != nil {
			return nil, err
		}
		resp, stale, err := t.once(out)
		if err == nil || !stale || !repeatable(r) || attempt == maxAttempts {
			return resp, err
		}
	}
}

// once sends a signed request at most once. stale = it failed on a connection that
// was kept open from an earlier request, so the service may have closed it without
// having seen this one.
func (t *Transport) once(out *http.Request) (resp *http.Response, stale bool, err error) {
	if repeatable(out) {
		// http.Transport would repeat it with the same signature, which the service, if
		// it did see the first, answers with 401. It repeats no body that it cannot get
		// again.
		out.GetBody = nil
		if out.Body == nil || out.Body == http.NoBody {
			out.Body = emptyBody{}
		}
	}
	var reused atomic.Bool
	ctx := httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
	})
	resp, err = t.opts.Base.RoundTrip(out.WithContext(ctx))
	if err == nil {
		return resp, false, nil
	}
	timeout, ok := errors.AsType[net.Error](err)
	return nil, reused.Load() && !(ok && timeout.Timeout()), err
}

// repeatable reports whether [http.Transport] would repeat r: the methods are those
// that are safe (RFC 9110, section 9.2.1).
func repeatable(r *http.Request) bool {
	switch method(r) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}
