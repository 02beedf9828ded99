package signer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/outgoing"
)

// Options of [New].
type Options struct {
	// Scheme is how requests are made: [apitoken.SchemeBearer], [apitoken.SchemeJWS]
	// or [apitoken.SchemeJWT]; the token's policy must allow it. Module httpsig has a
	// transport for [apitoken.SchemeHTTPSignature]. Defaults to SchemeBearer.
	Scheme apitoken.Scheme

	// Token is the token's ID, at most 128 bytes. Required for the schemes that sign,
	// and only for them: a bearer token names itself.
	Token apitoken.ID
	// Key is the private half of the key pair whose public half was uploaded, on
	// P-256: what [ParsePrivateKey] returns, or a key that never leaves its hardware
	// or key management service. It must be safe for concurrent use.
	Key crypto.Signer `json:"-"`
	// Secret is a bearer token, for SchemeBearer, or else the generated secret key,
	// exactly as it was shown: at least 32 bytes. Either Key or Secret is required.
	Secret apitoken.Secret

	// Audience names the service in a request-bound JWT, as the service calls itself.
	// Required for SchemeJWT, and only for it.
	Audience string
	// TunnelPath is where the service takes requests that are inside of a JWS. Only
	// for SchemeJWS. Defaults to /jws/validate.
	TunnelPath string

	// Hosts are the hosts to which the credential may go, each as a URL has it:
	// "api.example.com", or with a port that is not the scheme's own. Defaults to the
	// host of the first request.
	Hosts []string
	// MaxBody bounds the bytes of a body that are kept in memory to sign them: every
	// body for SchemeJWS, and one without GetBody for SchemeJWT. Defaults to 1 MiB, for
	// SchemeJWS to 700 KiB, which makes a JWS of less than the 1 MiB that the library's
	// own tunnel takes.
	MaxBody int64

	// Base sends the requests. It should not repeat any: a signature is good for one
	// use. [http.Transport] is kept from it. Defaults to [http.DefaultTransport].
	Base http.RoundTripper
	// Clock defaults to [apitoken.SystemClock]. The service refuses requests signed
	// more than a few minutes ago or ahead.
	Clock apitoken.Clock
}

const (
	defaultTunnelPath    = "/jws/validate"
	defaultMaxBody       = 1 << 20
	defaultMaxTunnelBody = 700 << 10
	minSecret            = 32  // bytes of an HS256 key: RFC 7518, section 3.2
	maxTokenID           = 128 // bytes
)

// check sets the defaults and returns what is wrong, all faults joined.
func (o *Options) check() error {
	var faults []error
	bad := func(field, format string, args ...any) {
		faults = append(faults, &apitoken.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if o.Scheme == "" {
		o.Scheme = apitoken.SchemeBearer
	}
	switch o.Scheme {
	case apitoken.SchemeBearer:
		o.checkBearer(bad)
	case apitoken.SchemeJWS, apitoken.SchemeJWT:
		o.checkSigning(bad)
	case apitoken.SchemeHTTPSignature:
		bad("Scheme", "HTTP Message Signatures are made by module httpsig: use its transport")
	default:
		bad("Scheme", "is unknown: use SchemeBearer, SchemeJWS or SchemeJWT")
	}
	o.checkPlaces(bad)
	switch {
	case o.MaxBody < 0:
		bad("MaxBody", "is negative: give a number of bytes, or 0 for the default")
	case o.MaxBody == 0 && o.Scheme == apitoken.SchemeJWS:
		o.MaxBody = defaultMaxTunnelBody
	case o.MaxBody == 0:
		o.MaxBody = defaultMaxBody
	}
	if o.Base == nil {
		o.Base = http.DefaultTransport
	}
	if o.Clock == nil {
		o.Clock = apitoken.SystemClock
	}
	return errors.Join(faults...)
}

type fault = func(field, format string, args ...any)

func (o *Options) checkBearer(bad fault) {
	if o.Key != nil {
		bad("Key", "signs, and SchemeBearer does not: choose SchemeJWS or SchemeJWT, or give the bearer token as Secret")
	}
	if o.Token != "" {
		bad("Token", "is not for SchemeBearer: the token names itself")
	}
	switch text := o.Secret.Reveal(); {
	case o.Secret.IsZero():
		bad("Secret", "is required: give the bearer token")
	case len(text) > apitoken.MaxTokenLength || !isVisible(text):
		bad("Secret", "is no bearer token: give the whole value without spaces and line breaks, at most %d bytes", apitoken.MaxTokenLength)
	case signs(text):
		bad("Secret", "is a secret key, which signs and is never sent: choose SchemeJWS or SchemeJWT")
	}
}

func (o *Options) checkSigning(bad fault) {
	switch {
	case o.Token == "":
		bad("Token", "is required: give the token's ID, which requests are signed for")
	case len(o.Token) > maxTokenID || !isVisible(string(o.Token)):
		bad("Token", "is no token ID: give 1 to %d visible ASCII characters", maxTokenID)
	}
	switch text := o.Secret.Reveal(); {
	case o.Key == nil && o.Secret.IsZero():
		bad("Key", "is required, or Secret: give the private key, or the secret key that was generated")
	case o.Key != nil && !o.Secret.IsZero():
		bad("Key", "and Secret are both set: a token has one of them")
	case o.Key != nil && !isP256(o.Key):
		bad("Key", "is no ECDSA key on P-256 (prime256v1): use the key whose public half was uploaded")
	case o.Key == nil && len(text) < minSecret:
		bad("Secret", "has less than %d bytes: give the secret key exactly as it was shown", minSecret)
	case o.Key == nil && isToken(text) && !signs(text):
		bad("Secret", "is a bearer token, which does not sign: choose SchemeBearer")
	}
}

func (o *Options) checkPlaces(bad fault) {
	switch jwt := o.Scheme == apitoken.SchemeJWT; {
	case jwt && o.Audience == "":
		bad("Audience", "is required: give the name that the service has for itself")
	case !jwt && o.Audience != "":
		bad("Audience", "is for SchemeJWT only: leave it out")
	}
	switch jws := o.Scheme == apitoken.SchemeJWS; {
	case jws && o.TunnelPath == "":
		o.TunnelPath = defaultTunnelPath
	case !jws && o.TunnelPath != "":
		bad("TunnelPath", "is for SchemeJWS only: leave it out")
	case jws && !isPath(o.TunnelPath):
		bad("TunnelPath", "is no path: write one such as %s", defaultTunnelPath)
	}
	hosts := make([]string, len(o.Hosts))
	for i, host := range o.Hosts {
		u, err := url.Parse("https://" + host)
		if err != nil || host == "" || u.Host != host || !isVisible(host) {
			bad(fmt.Sprintf("Hosts[%d]", i), "is no host: write one such as api.example.com or localhost:8080")
			continue
		}
		hosts[i] = outgoing.HostOf(u)
	}
	o.Hosts = hosts
}

// isP256 is false for a nil pointer too, whose methods would panic.
func isP256(key crypto.Signer) bool {
	if private, ok := key.(*ecdsa.PrivateKey); ok && private == nil {
		return false
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	return ok && public != nil && public.Curve == elliptic.P256()
}

func isPath(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isVisible(s) && s[0] == '/' && u.EscapedPath() == s
}

func isVisible(s string) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }) < 0
}

// isToken reports whether text has the form of a token string of the library:
// prefix, underscore, 71 characters of base62. Other secret keys are taken as well,
// because the schemes are older than the library.
func isToken(text string) bool {
	cut := strings.LastIndexByte(text, '_')
	return cut > 0 && len(text)-cut-1 == 71 && isBase62(text[cut+1:])
}

// signs reports whether text is a secret key of the library: its prefix ends in _sk.
func signs(text string) bool {
	return isToken(text) && strings.HasSuffix(text[:strings.LastIndexByte(text, '_')], "_sk")
}

func isBase62(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z')
	}) < 0
}
