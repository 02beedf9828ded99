package httpsig

import (
	"cmp"
	"crypto"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
)

// TransportOptions of [NewTransport]. They are those of package signer, as far as
// they are for this scheme too.
type TransportOptions struct {
	// Token is the token's ID. Required.
	Token apitoken.ID
	// Key is the private half of the key pair whose public half was uploaded, on
	// P-256: what signer.ParsePrivateKey returns, or a key that never leaves its
	// hardware or key management service. It must be safe for concurrent use.
	Key crypto.Signer `json:"-"`
	// Secret is the generated secret key, exactly as it was shown. Either Key or Secret
	// is required.
	Secret apitoken.Secret

	// Label of the signature. Defaults to "sig1".
	Label string
	// Tag of the signature, for services that ask for one. Defaults to none.
	Tag string
	// Covered are components that are signed besides @method, @target-uri and, with a
	// body, content-digest and content-type. A request without such a field is refused,
	// and one that [http.Transport] adds, such as user-agent, is not there yet. Defaults
	// to none.
	Covered []string

	// Hosts are the hosts to which requests are signed, each as a URL has it:
	// "api.example.com", or with a port that is not the scheme's own. Defaults to the
	// host of the first request.
	Hosts []string
	// MaxBody bounds the bytes of a body without GetBody, which is kept in memory to be
	// signed. Defaults to 1 MiB.
	MaxBody int64

	// Base sends the requests. It should not repeat any: a signature is good for one
	// use. [http.Transport] is kept from it. Defaults to [http.DefaultTransport].
	Base http.RoundTripper
	// Clock defaults to [apitoken.SystemClock]. The service refuses requests signed
	// more than a few minutes ago or ahead.
	Clock apitoken.Clock
}

// Transport is an [http.RoundTripper] that signs each request, and each attempt to
// send it, anew. It is safe for concurrent use. Make it with [NewTransport].
//
// The request that the caller made is not changed. Requests go over TLS, or to this
// machine. A redirect to a host that is not among Hosts is followed without a
// signature.
type Transport struct {
	opts  TransportOptions
	first atomic.Pointer[string] // the host of the first request, where no hosts are named
}

var _ http.RoundTripper = (*Transport)(nil)

// NewTransport returns a Transport. Errors are of [apitoken.ErrInvalid], joined, an
// [apitoken.FieldError] for each option that is wrong, named as in
// [TransportOptions].
func NewTransport(opts TransportOptions) (*Transport, error) {
	var errs []error
	// Nothing but the audience is other than in the scheme that package signer has.
	if _, err := signer.New(signer.Options{
		Scheme: apitoken.SchemeJWT, Audience: "-",
		Token: opts.Token, Key: opts.Key, Secret: opts.Secret, Hosts: opts.Hosts, MaxBody: opts.MaxBody,
	}); err != nil {
		errs = append(errs, err)
	}
	checkNames(func(field, format string, args ...any) {
		errs = append(errs, fieldError(field, format, args...))
	}, opts.Tag, opts.Label, opts.Covered)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	opts.Label = cmp.Or(opts.Label, defaultLabel)
	opts.MaxBody = cmp.Or(opts.MaxBody, defaultMaxBody)
	opts.Covered = slices.Clone(opts.Covered)
	opts.Hosts = slices.Clone(opts.Hosts)
	for i, host := range opts.Hosts {
		opts.Hosts[i] = authority(host, "https")
	}
	if opts.Base == nil {
		opts.Base = http.DefaultTransport
	}
	if opts.Clock == nil {
		opts.Clock = apitoken.SystemClock
	}
	return &Transport{opts: opts}, nil
}

// RoundTrip implements [http.RoundTripper]. What it refuses before anything is sent
// are errors of package signer: ErrHost, ErrInsecure, ErrTwoCredentials, ErrTarget,
// ErrBodyTooLarge and KeyError, or a [apitoken.FieldError] for a component that cannot
// be signed; all others are those of Base.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	signs, err := t.signs(r)
	if err == nil && !signs {
		return t.opts.Base.RoundTrip(r)
	}
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	body, err := readContent(r, t.opts.MaxBody)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		out, err := t.signed(r, &body)
		if err != nil {
			return nil, err
		}
		resp, stale, err := t.once(out)
		if err != nil && stale && repeatable(r) && attempt < maxAttempts {
			continue
		}
		if resp != nil {
			resp.Request = r
		}
		return resp, err
	}
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] reach Base.
func (t *Transport) CloseIdleConnections() {
	if base, ok := t.opts.Base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// signs reports whether r gets a signature, or must not be sent at all.
func (t *Transport) signs(r *http.Request) (bool, error) {
	u := r.URL
	if u == nil || u.Host == "" {
		return false, signer.ErrTarget
	}
	// http.Client says in Response which answer led here. A host on the way that gets
	// no signature may not choose what is signed for another.
	for hop := r; hop != nil && hop.Response != nil; hop = hop.Response.Request {
		if hop.URL == nil || !t.admits(hostOf(hop.URL)) {
			return false, nil
		}
	}
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return false, signer.ErrInsecure
	case r.Header["Authorization"] != nil || r.Header["Signature-Input"] != nil || r.Header["Signature"] != nil || u.User != nil:
		return false, signer.ErrTwoCredentials
	case u.Opaque != "" || strings.IndexFunc(u.RequestURI(), func(c rune) bool { return c <= ' ' || c > '~' }) >= 0:
		return false, signer.ErrTarget
	}
	host := hostOf(u)
	if r.Response == nil && len(t.opts.Hosts) == 0 {
		t.first.CompareAndSwap(nil, &host)
	}
	if !t.admits(host) {
		return false, signer.ErrHost
	}
	return true, nil
}

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

// once sends a signed request at most once. stale = it failed on a connection that
// was kept open from an earlier request, which the service may have closed without
// having seen this one.
func (t *Transport) once(out *http.Request) (resp *http.Response, stale bool, err error) {
	if repeatable(out) {
		// http.Transport would send it again with the same signature, and the answer be
		// that of a replay. It does not where it cannot get the body again.
		out.GetBody = nil
		if out.Body == nil || out.Body == http.NoBody {
			out.Body = noBody{}
		}
	}
	var reused atomic.Bool
	ctx := httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused.Store(info.Reused) },
	})
	if resp, err = t.opts.Base.RoundTrip(out.WithContext(ctx)); err == nil {
		return resp, false, nil
	}
	timeout, ok := errors.AsType[net.Error](err)
	return nil, reused.Load() && ctx.Err() == nil && !(ok && timeout.Timeout()), err
}

// repeatable reports whether [http.Transport] would repeat r.
func repeatable(r *http.Request) bool {
	switch cmp.Or(r.Method, http.MethodGet) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

func hostOf(u *url.URL) string { return authority(u.Host, u.Scheme) }

// isLoopback asks no resolver: localhost is this machine (RFC 6761, section 6.3).
func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
