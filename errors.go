package apitoken

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The families. Every error this module returns wraps exactly one of them, so
// a caller needs to know only these; everything below says more to an operator.
var (
	// ErrUnauthenticated: the credential is missing, damaged, unknown, expired,
	// disabled, revoked, or its owner is inactive. HTTP 401. Show the client
	// nothing but that: all of these look alike from outside.
	ErrUnauthenticated error = &refusal{reason: "unauthenticated", text: "the credential was not accepted"}
	// ErrForbidden: the credential is good, but not for this. HTTP 403.
	ErrForbidden error = &refusal{reason: "forbidden", text: "not allowed"}
	// ErrRateLimited: too many requests for now. HTTP 429.
	ErrRateLimited error = &refusal{reason: "rate_limited", text: "too many requests"}
	// ErrUnavailable: a part that must answer did not (the store, the host's
	// look-ups, the limiter). HTTP 503. Nothing was allowed. A managing call may
	// or may not have taken effect; repeating it is safe.
	ErrUnavailable error = &refusal{reason: "unavailable", text: "a part that must answer did not"}
	// ErrInvalid: the request is wrong as written. HTTP 400 or 422. Nothing was
	// stored. See [Fields] for one message per field.
	ErrInvalid error = &refusal{reason: "invalid", text: "the request is not valid"}
	// ErrConflict: the request is well formed, but the token is not in a state
	// or version that allows it. HTTP 409. Nothing was stored.
	ErrConflict error = &refusal{reason: "conflict", text: "the token's present state does not allow that"}
	// ErrNotFound: no such token in the actor's tenant that the actor may see.
	// HTTP 404. Stores and host look-ups return it for 'no', and only for 'no'.
	ErrNotFound error = &refusal{reason: "not_found", text: "not found"}
)

// Children of [ErrUnauthenticated]. They are for logs, metrics and
// [Service.Explain]; a client must not be able to tell them apart.
var (
	ErrNoCredential   = child(ErrUnauthenticated, "no_credential", "no credential was presented: send one token, in a header")
	ErrMalformedToken = child(ErrUnauthenticated, "malformed_token", "the token string is damaged: copy it again, whole, from where it was saved")
	ErrUnknownToken   = child(ErrUnauthenticated, "unknown_token", "no token has this ID: it was deleted, or belongs to another deployment")
	ErrWrongSecret    = child(ErrUnauthenticated, "wrong_secret", "the token's secret is wrong: copy the value again, or rotate the token")
	ErrSuperseded     = child(ErrUnauthenticated, "superseded", "this value was replaced by a rotation and its overlap has ended: use the new value, and find who still holds the old one")
	ErrExpired        = child(ErrUnauthenticated, "expired", "the token has expired: issue a new one, or extend the next one in time")
	ErrIdle           = child(ErrUnauthenticated, "idle", "the token went unused for longer than its kind allows and is revoked: issue a new one")
	ErrDisabled       = child(ErrUnauthenticated, "disabled", "the token is disabled: enable it, with a new expiry where its kind asks for one")
	ErrRevoked        = child(ErrUnauthenticated, "revoked", "the token is revoked for good: issue a new one")
	ErrOwnerInactive  = child(ErrUnauthenticated, "owner_inactive", "the token's owner is not active: reactivate the owner")
	ErrOwnerRole      = child(ErrUnauthenticated, "owner_role", "the token's owner no longer has a role that may use tokens of this kind")
	ErrAgentInactive  = child(ErrUnauthenticated, "agent_inactive", "the token's agent is not registered and active: activate the agent, it gets a new token")
	ErrKindUnknown    = child(ErrUnauthenticated, "kind_unknown", "no policy is configured for the token's kind: add it to Options.Kinds")
	ErrLegacyEnded    = child(ErrUnauthenticated, "legacy_ended", "the older ID and secret of this token no longer work: use its generated value")
	ErrScheme         = child(ErrUnauthenticated, "scheme", "tokens of this kind are not used this way: see Policy.Schemes")
)

// Children of [ErrUnauthenticated] for signed requests.
var (
	ErrMalformedProof = child(ErrUnauthenticated, "malformed_proof", "the signed request is not formed as its scheme asks")
	ErrAlgorithm      = child(ErrUnauthenticated, "algorithm", "the request is not signed with the token's algorithm")
	ErrBadSignature   = child(ErrUnauthenticated, "bad_signature", "the signature is not of this request and the token's key")
	ErrDERSignature   = child(ErrUnauthenticated, "der_signature", "the signature is written as ASN.1 DER: send r and s, 32 bytes each (IEEE P1363)")
	ErrStale          = child(ErrUnauthenticated, "stale", "the request was signed too long ago or in the future, or has expired: check the client's clock and sign anew")
	ErrBodyDigest     = child(ErrUnauthenticated, "body_digest", "the body is not the one that was signed")
	ErrReplayed       = child(ErrUnauthenticated, "replayed", "this signed request was accepted before: sign each request anew")
)

// Children of [ErrForbidden].
var (
	ErrOrigin   = child(ErrForbidden, "origin", "the browser origin is not among those that may use this token")
	ErrNetwork  = child(ErrForbidden, "network", "the client address is not among those that may use this token")
	ErrMayNot   = child(ErrForbidden, "may_not", "the actor may not do this with tokens of this kind")
	ErrNotOwner = child(ErrForbidden, "not_owner", "only the token's own holder may do this")
)

// Children of [ErrInvalid] for credentials that cannot be read at all.
var (
	ErrTwoCredentials   = child(ErrInvalid, "two_credentials", "more than one credential was presented: send exactly one")
	ErrUnreadableHeader = child(ErrInvalid, "unreadable_credential", "the header that carries the credential cannot be read")
)

// Children of [ErrConflict].
var (
	ErrVersion = child(ErrConflict, "version", "the token was changed since the version in IfVersion was read: read it again and repeat the change")
)

func child(parent error, reason, text string) error {
	return &refusal{parent: parent, reason: reason, text: text}
}

type refusal struct {
	parent error
	reason string
	text   string
}

func (e *refusal) Error() string  { return "apitoken: " + e.text }
func (e *refusal) Unwrap() error  { return e.parent }
func (e *refusal) Reason() string { return e.reason }

// ReasonOf returns a short, stable word for err, fit for a log field or a
// metric label: "expired", "permission", "unavailable". It is "" for nil and
// "unknown" for an error this module did not make. For joined errors it is the
// word of the first.
func ReasonOf(err error) string {
	if err == nil {
		return ""
	}
	if r, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		return r.Reason()
	}
	return "unknown"
}

// FieldError says what is wrong with one field of a request and what to do.
// It wraps [ErrInvalid].
type FieldError struct {
	// Field is the path of the field as the request struct spells it in lower
	// case: "name", "networks[2]", "permissions". Faults that [New] finds are
	// named as Go spells them: "Prefix", `Kinds["ci"].Lifetime.Max`.
	Field string
	// Problem says what is wrong and what would be right. It never repeats a
	// secret.
	Problem string
}

func (e *FieldError) Error() string  { return "apitoken: " + e.Field + ": " + e.Problem }
func (e *FieldError) Unwrap() error  { return ErrInvalid }
func (e *FieldError) Reason() string { return "invalid" }

func fieldErr(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// Fields returns every [FieldError] in err, in the order they were found, for
// a form that shows each message at its field. It is nil when there is none.
func Fields(err error) []*FieldError {
	switch e := err.(type) {
	case nil:
		return nil
	case *FieldError:
		return []*FieldError{e}
	case interface{ Unwrap() []error }:
		var all []*FieldError
		for _, one := range e.Unwrap() {
			all = append(all, Fields(one)...)
		}
		return all
	case interface{ Unwrap() error }:
		return Fields(e.Unwrap())
	}
	return nil
}

// PermissionError names what a credential lacks for a request. It wraps
// [ErrForbidden].
type PermissionError struct {
	// Missing are the permission names that are required and not held, sorted.
	Missing []string
	// Groups are the resource groups that are required and not held, sorted.
	Groups []string
}

func (e *PermissionError) Error() string {
	var what []string
	if len(e.Missing) > 0 {
		what = append(what, "permission "+strings.Join(e.Missing, ", "))
	}
	if len(e.Groups) > 0 {
		what = append(what, "resource group "+strings.Join(e.Groups, ", "))
	}
	if len(what) == 0 {
		return "apitoken: the token lacks a required permission"
	}
	return "apitoken: missing " + strings.Join(what, " and ") + ": use a token that has it"
}
func (e *PermissionError) Unwrap() error  { return ErrForbidden }
func (e *PermissionError) Reason() string { return "permission" }

// ActorError says why the actor of a managing call may not do it, and who may. It
// wraps [ErrMayNot] or [ErrNotOwner].
type ActorError struct {
	Why    string
	parent error
}

func (e *ActorError) Error() string  { return "apitoken: " + e.Why }
func (e *ActorError) Unwrap() error  { return e.parent }
func (e *ActorError) Reason() string { return ReasonOf(e.parent) }

func mayNot(format string, args ...any) error {
	return &ActorError{Why: fmt.Sprintf(format, args...), parent: ErrMayNot}
}

func notOwner(format string, args ...any) error {
	return &ActorError{Why: fmt.Sprintf(format, args...), parent: ErrNotOwner}
}

// KindError says that a kind of token is refused for a use, and which kinds to
// take instead (S3.22). It wraps [ErrForbidden].
type KindError struct {
	Kind     Kind   // the kind that was presented
	Use      string // the use it was refused for; "" when a route named the kinds itself
	Accepted []Kind // the kinds to use instead, sorted
}

func (e *KindError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apitoken: a %s token is not accepted", e.Kind)
	if e.Use != "" {
		fmt.Fprintf(&b, " for %s", e.Use)
	} else {
		b.WriteString(" here")
	}
	for i, k := range e.Accepted {
		if i == 0 {
			b.WriteString(": use a ")
		} else {
			b.WriteString(" or ")
		}
		b.WriteString(string(k))
	}
	if len(e.Accepted) > 0 {
		b.WriteString(" token")
	}
	return b.String()
}
func (e *KindError) Unwrap() error  { return ErrForbidden }
func (e *KindError) Reason() string { return "kind" }

// RateLimitError says which limit or quota was reached and when to come back. Where several
// were, it is the one to wait for. It wraps [ErrRateLimited].
type RateLimitError struct {
	Decision
	Cost   int        // what the request counted as
	Others []Decision // the other limits that refused
}

func (e *RateLimitError) Error() string {
	switch {
	case strings.HasPrefix(e.Limit, quotaPrefix):
		return fmt.Sprintf("apitoken: the quota of %d uses in a %s is used up: retry in %s", e.Quota, strings.TrimPrefix(e.Limit, quotaPrefix), e.RetryAfter.Round(time.Millisecond))
	case e.Quota == 0:
		return fmt.Sprintf("apitoken: the limit %q is zero for this token: no request is allowed; raise the limit", e.Limit)
	case e.Never:
		return fmt.Sprintf("apitoken: this counts as %d requests, and the limit %q never allows so many at once for this token: ask for less, or raise the limit or the token's share", e.Cost, e.Limit)
	}
	return fmt.Sprintf("apitoken: the limit %q of %d requests per %s is reached: retry in %s", e.Limit, e.Quota, e.Window, e.RetryAfter.Round(time.Millisecond))
}
func (e *RateLimitError) Unwrap() error  { return ErrRateLimited }
func (e *RateLimitError) Reason() string { return "rate_limited" }

// StateError says that a token's status does not allow a verb, and why. It
// wraps [ErrConflict].
type StateError struct {
	Verb   string // "edit", "revoke", "enable", ...
	Status Status // "" where it is no token's but the directory's: [Service.OwnerChanged], [Service.AgentChanged]
	Why    string // what stands in the way and what to do
}

func (e *StateError) Error() string  { return "apitoken: cannot " + e.Verb + ": " + e.Why }
func (e *StateError) Unwrap() error  { return ErrConflict }
func (e *StateError) Reason() string { return "state" }

// AlreadyIssuedError answers a repeated Issue or Rotate with the idempotency
// key of one that succeeded, and a repeated [AgentActivated]: it shows the token that was made, never its
// secret, which was shown once (S1.18, S2.30). It wraps [ErrConflict].
type AlreadyIssuedError struct {
	Token View
}

func (e *AlreadyIssuedError) Error() string {
	return "apitoken: this idempotency key already made token " + string(e.Token.ID) +
		"; its secret was shown then and cannot be shown again: if it was lost, rotate the token or issue another one under a new key"
}
func (e *AlreadyIssuedError) Unwrap() error  { return ErrConflict }
func (e *AlreadyIssuedError) Reason() string { return "already_issued" }

// OutageError says which part failed. It wraps [ErrUnavailable] and the part's
// own error, unless that one claims another family: an outage must not be taken
// for a refusal.
type OutageError struct {
	Part string // "store", "owners", "agents", "admins", "entitlements", "limits", "limiter", "quotas", "usage recorder", "replay guard", "keyring", "body", "fallback", "slow hash", "rows"
	Err  error
}

func (e *OutageError) Error() string {
	return "apitoken: " + e.Part + " unavailable: " + e.Err.Error()
}
func (e *OutageError) Unwrap() []error {
	for _, family := range []error{ErrUnauthenticated, ErrForbidden, ErrRateLimited, ErrInvalid, ErrConflict, ErrNotFound} {
		if errors.Is(e.Err, family) {
			return []error{ErrUnavailable}
		}
	}
	return []error{ErrUnavailable, e.Err}
}
func (e *OutageError) Reason() string { return "unavailable" }

func outage(part string, err error) error {
	if o, ok := errors.AsType[*OutageError](err); ok {
		return o
	}
	return &OutageError{Part: part, Err: err}
}
