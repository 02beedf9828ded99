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
	"net/http"
	"sync/atomic"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/outgoing"
)

// Transport is an [http.RoundTripper] with a credential. It is safe for concurrent
// use; make it with [New].
type Transport struct {
	opts   Options
	hosts  outgoing.Hosts
	issued atomic.Int64 // when the last request for a tunnel was signed, in Unix milliseconds
}

var _ http.RoundTripper = (*Transport)(nil)

// New returns a Transport. Errors are of [apitoken.ErrInvalid], joined, an
// [apitoken.FieldError] for each option that is wrong, named as in [Options].
func New(opts Options) (*Transport, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	t := &Transport{opts: opts}
	t.hosts.Named = opts.Hosts
	return t, nil
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
	if t.hosts.LedAstray(r) {
		return false, nil
	}
	switch {
	case !outgoing.Secure(u):
		return false, ErrInsecure
	case r.Header["Authorization"] != nil || u.User != nil:
		return false, ErrTwoCredentials
	case t.opts.Scheme != apitoken.SchemeBearer && (u.Opaque != "" || u.RawQuery != "" && !isVisible(u.RawQuery)):
		return false, ErrTarget
	}
	t.hosts.Begin(u)
	if !t.hosts.Admits(u) {
		return false, ErrHost
	}
	return true, nil
}

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
	return outgoing.Send(t.opts.Base, r, func() (*http.Request, error) { return t.prepared(r, body) })
}
