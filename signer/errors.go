package signer

import "github.com/tokenry/apitoken"

// What [Transport.RoundTrip] refuses before anything is sent. All wrap
// [apitoken.ErrInvalid].
var (
	// ErrHost: the request goes to a host that is not among [Options].Hosts, and no
	// redirect led there.
	ErrHost error = &refusal{"host", "this host may not be given the credential: add it to Options.Hosts, or use another client for it"}
	// ErrInsecure: the request is not made over TLS, nor to this machine.
	ErrInsecure error = &refusal{"insecure", "the credential is sent over https only, and over http to loopback addresses: use an https URL"}
	// ErrTwoCredentials: the request has an Authorization header of its own, or a user
	// in its URL.
	ErrTwoCredentials error = &refusal{"two_credentials", "the request has an Authorization header of its own: leave it out, also a user in the URL"}
	// ErrTarget: the request's URL cannot be signed.
	ErrTarget error = &refusal{"target", "the URL cannot be signed: give one with a host, a percent-encoded query and no opaque data"}
	// ErrBodyTooLarge: the body is longer than [Options].MaxBody.
	ErrBodyTooLarge error = &refusal{"body_too_large", "the body is longer than Options.MaxBody: send less, or set Request.GetBody where the scheme allows it"}
	// ErrBodyForm: the tunnel carries JSON, and the body is something else.
	ErrBodyForm error = &refusal{"body_form", "the body is not one JSON value, which is all that a JWS tunnel carries: use SchemeJWT"}
)

type refusal struct{ reason, text string }

func (e *refusal) Error() string  { return "signer: " + e.text }
func (e *refusal) Unwrap() error  { return apitoken.ErrInvalid }
func (e *refusal) Reason() string { return e.reason }

// KeyError: [Options].Key did not sign, or not with ECDSA. It wraps
// [apitoken.ErrUnavailable] and the key's own error.
type KeyError struct{ Err error }

func (e *KeyError) Error() string   { return "signer: the key did not sign: " + e.Err.Error() }
func (e *KeyError) Unwrap() []error { return []error{apitoken.ErrUnavailable, e.Err} }
func (e *KeyError) Reason() string  { return "unavailable" }
