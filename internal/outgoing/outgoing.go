// Package outgoing has what every transport that carries a credential does alike:
// it decides which hosts get it, and sends what is signed at most once. Packages
// signer and httpsig share it.
package outgoing

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
)

// Hosts are those that may be given a credential: the named ones or, where none are
// named, that of the first request. Named must be as [HostOf] writes them.
type Hosts struct {
	Named []string
	first atomic.Pointer[string]
}

// Admits reports whether u is on one of the hosts.
func (h *Hosts) Admits(u *url.URL) bool {
	if u == nil {
		return false
	}
	host := HostOf(u)
	if len(h.Named) > 0 {
		return slices.Contains(h.Named, host)
	}
	first := h.first.Load()
	return first != nil && *first == host
}

// Begin admits the host of a request that nothing led to, if it is the first.
func (h *Hosts) Begin(u *url.URL) {
	if len(h.Named) == 0 {
		host := HostOf(u)
		h.first.CompareAndSwap(nil, &host)
	}
}

// LedAstray reports whether another host sent the client to where r goes, or to
// a host on the way. [http.Client] says in Response which answer led to a request;
// a host that may not have the credential may not choose what it is used for.
func (h *Hosts) LedAstray(r *http.Request) bool {
	for hop := r; hop != nil && hop.Response != nil; hop = hop.Response.Request {
		if !h.Admits(hop.URL) {
			return true
		}
	}
	return false
}

// HostOf returns the host of a URL in the one way it is compared: in lower case,
// without the port that its scheme has anyway.
func HostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// Secure reports whether what is sent to u goes over TLS, or to this machine. No
// resolver is asked: localhost is this machine (RFC 6761, section 6.3).
func Secure(u *url.URL) bool {
	host := u.Hostname()
	return u.Scheme == "https" ||
		u.Scheme == "http" && (strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback())
}

// maxAttempts is enough for the two idle connections that http.Transport keeps by
// default. With HTTP/2 a connection can fail a request and go on, so there is a limit.
const maxAttempts = 3

// Send sends r by base, each time as sign makes it anew. It tries again, where that
// is safe, if the request failed on a connection that was kept open from an earlier
// one, which the service may have closed without having seen this one.
func Send(base http.RoundTripper, r *http.Request, sign func() (*http.Request, error)) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		out, err := sign()
		if err != nil {
			return nil, err
		}
		resp, stale, err := once(base, out)
		if err == nil || !stale || !repeatable(r) || attempt == maxAttempts {
			return resp, err
		}
	}
}

// once sends a signed request at most once. stale = it failed on a connection that
// was kept open.
func once(base http.RoundTripper, out *http.Request) (resp *http.Response, stale bool, err error) {
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
	if resp, err = base.RoundTrip(out.WithContext(ctx)); err == nil {
		return resp, false, nil
	}
	timeout, ok := errors.AsType[net.Error](err)
	return nil, reused.Load() && ctx.Err() == nil && !(ok && timeout.Timeout()), err
}

// repeatable reports whether [http.Transport] would repeat r: the methods are those
// that are safe (RFC 9110, section 9.2.1).
func repeatable(r *http.Request) bool {
	switch cmp.Or(r.Method, http.MethodGet) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

// emptyBody is no body, in a form that [http.Transport] does not know to be none.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }
