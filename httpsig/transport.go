package httpsig

import (
	"cmp"
	"crypto"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/outgoing"
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
	hosts outgoing.Hosts
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
	t := &Transport{opts: opts}
	t.hosts.Named = opts.Hosts
	return t, nil
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
	resp, err := outgoing.Send(t.opts.Base, r, func() (*http.Request, error) { return t.signed(r, &body) })
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

// signs reports whether r gets a signature, or must not be sent at all.
func (t *Transport) signs(r *http.Request) (bool, error) {
	u := r.URL
	if u == nil || u.Host == "" {
		return false, signer.ErrTarget
	}
	if t.hosts.LedAstray(r) {
		return false, nil
	}
	switch {
	case !outgoing.Secure(u):
		return false, signer.ErrInsecure
	case r.Header["Authorization"] != nil || r.Header["Signature-Input"] != nil || r.Header["Signature"] != nil || u.User != nil:
		return false, signer.ErrTwoCredentials
	case u.Opaque != "" || strings.IndexFunc(u.RequestURI(), func(c rune) bool { return c <= ' ' || c > '~' }) >= 0:
		return false, signer.ErrTarget
	}
	t.hosts.Begin(u)
	if !t.hosts.Admits(u) {
		return false, signer.ErrHost
	}
	return true, nil
}
