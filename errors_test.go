package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

var families = map[string]error{
	"unauthenticated": apitoken.ErrUnauthenticated,
	"forbidden":       apitoken.ErrForbidden,
	"rate_limited":    apitoken.ErrRateLimited,
	"unavailable":     apitoken.ErrUnavailable,
	"invalid":         apitoken.ErrInvalid,
	"conflict":        apitoken.ErrConflict,
	"not_found":       apitoken.ErrNotFound,
}

// everyError is every error that this package exports, with its family and the
// word for logs and labels.
var everyError = []struct {
	err    error
	family error
	reason string
}{
	{apitoken.ErrUnauthenticated, apitoken.ErrUnauthenticated, "unauthenticated"},
	{apitoken.ErrForbidden, apitoken.ErrForbidden, "forbidden"},
	{apitoken.ErrRateLimited, apitoken.ErrRateLimited, "rate_limited"},
	{apitoken.ErrUnavailable, apitoken.ErrUnavailable, "unavailable"},
	{apitoken.ErrInvalid, apitoken.ErrInvalid, "invalid"},
	{apitoken.ErrConflict, apitoken.ErrConflict, "conflict"},
	{apitoken.ErrNotFound, apitoken.ErrNotFound, "not_found"},

	{apitoken.ErrNoCredential, apitoken.ErrUnauthenticated, "no_credential"},
	{apitoken.ErrMalformedToken, apitoken.ErrUnauthenticated, "malformed_token"},
	{apitoken.ErrUnknownToken, apitoken.ErrUnauthenticated, "unknown_token"},
	{apitoken.ErrWrongSecret, apitoken.ErrUnauthenticated, "wrong_secret"},
	{apitoken.ErrSuperseded, apitoken.ErrUnauthenticated, "superseded"},
	{apitoken.ErrExpired, apitoken.ErrUnauthenticated, "expired"},
	{apitoken.ErrIdle, apitoken.ErrUnauthenticated, "idle"},
	{apitoken.ErrDisabled, apitoken.ErrUnauthenticated, "disabled"},
	{apitoken.ErrRevoked, apitoken.ErrUnauthenticated, "revoked"},
	{apitoken.ErrOwnerInactive, apitoken.ErrUnauthenticated, "owner_inactive"},
	{apitoken.ErrOwnerRole, apitoken.ErrUnauthenticated, "owner_role"},
	{apitoken.ErrAgentInactive, apitoken.ErrUnauthenticated, "agent_inactive"},
	{apitoken.ErrKindUnknown, apitoken.ErrUnauthenticated, "kind_unknown"},
	{apitoken.ErrLegacyEnded, apitoken.ErrUnauthenticated, "legacy_ended"},
	{apitoken.ErrScheme, apitoken.ErrUnauthenticated, "scheme"},

	{apitoken.ErrMalformedProof, apitoken.ErrUnauthenticated, "malformed_proof"},
	{apitoken.ErrAlgorithm, apitoken.ErrUnauthenticated, "algorithm"},
	{apitoken.ErrBadSignature, apitoken.ErrUnauthenticated, "bad_signature"},
	{apitoken.ErrDERSignature, apitoken.ErrUnauthenticated, "der_signature"},
	{apitoken.ErrStale, apitoken.ErrUnauthenticated, "stale"},
	{apitoken.ErrBodyDigest, apitoken.ErrUnauthenticated, "body_digest"},
	{apitoken.ErrReplayed, apitoken.ErrUnauthenticated, "replayed"},

	{apitoken.ErrOrigin, apitoken.ErrForbidden, "origin"},
	{apitoken.ErrNetwork, apitoken.ErrForbidden, "network"},
	{apitoken.ErrMayNot, apitoken.ErrForbidden, "may_not"},
	{apitoken.ErrNotOwner, apitoken.ErrForbidden, "not_owner"},
	{&apitoken.PermissionError{Missing: []string{"a"}}, apitoken.ErrForbidden, "permission"},
	{&apitoken.KindError{Kind: "a"}, apitoken.ErrForbidden, "kind"},

	{apitoken.ErrTwoCredentials, apitoken.ErrInvalid, "two_credentials"},
	{apitoken.ErrUnreadableHeader, apitoken.ErrInvalid, "unreadable_credential"},
	{&apitoken.FieldError{Field: "name"}, apitoken.ErrInvalid, "invalid"},

	{apitoken.ErrPrivateKey, apitoken.ErrInvalid, "private_key"},
	{apitoken.ErrUnsupportedKey, apitoken.ErrInvalid, "unsupported_key"},
	{apitoken.ErrPointFormat, apitoken.ErrInvalid, "point_format"},
	{apitoken.ErrInvalidPoint, apitoken.ErrInvalid, "invalid_point"},
	{apitoken.ErrMalformedKey, apitoken.ErrInvalid, "malformed_key"},

	{apitoken.ErrVersion, apitoken.ErrConflict, "version"},
	{&apitoken.StateError{Verb: "edit"}, apitoken.ErrConflict, "state"},
	{&apitoken.AlreadyIssuedError{}, apitoken.ErrConflict, "already_issued"},
	{&apitoken.DuplicateError{Field: "id"}, apitoken.ErrConflict, "duplicate"},

	{&apitoken.RateLimitError{}, apitoken.ErrRateLimited, "rate_limited"},
	{&apitoken.OutageError{Part: "store", Err: errors.New("connection refused")}, apitoken.ErrUnavailable, "unavailable"},
}

func TestErrorsHaveOneFamily(t *testing.T) {
	t.Parallel()
	for _, tc := range everyError {
		for wrapped, err := range map[string]error{
			"":                 tc.err,
			" wrapped":         fmt.Errorf("handler: %w", tc.err),
			" joined":          errors.Join(tc.err),
			" joined, wrapped": fmt.Errorf("handler: %w", errors.Join(nil, tc.err)),
		} {
			t.Run(tc.reason+wrapped, func(t *testing.T) {
				t.Parallel()
				for name, family := range families {
					require.Equal(t, family == tc.family, errors.Is(err, family), name)
				}
				require.Equal(t, tc.reason, apitoken.ReasonOf(err))
			})
		}
	}
}

// Reasons are labels of metrics: words, and no two errors share one by accident.
func TestReasonsAreWords(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, tc := range everyError {
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, tc.reason)
		seen[tc.reason]++
	}
	for reason, n := range seen {
		switch reason {
		case "unavailable", "rate_limited", "invalid": // the family and its one typed error
			require.Equal(t, 2, n, reason)
		default:
			require.Equal(t, 1, n, reason)
		}
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	require.Empty(t, apitoken.ReasonOf(nil))
	require.Equal(t, "unknown", apitoken.ReasonOf(errors.New("something else")))
	require.Equal(t, "unknown", apitoken.ReasonOf(context.Canceled))
	require.Equal(t, "expired", apitoken.ReasonOf(errors.Join(errors.New("x"), apitoken.ErrExpired, apitoken.ErrRevoked)), "the first")
	require.Equal(t, "unavailable", apitoken.ReasonOf(&apitoken.OutageError{Part: "owners", Err: apitoken.ErrRevoked}), "an outage, whatever its cause says")
}

// P4: a part that fails refuses with 503, never with what its error claims: a
// host's directory that answers 'unauthenticated' about its own log-in must not
// make a client throw its good token away.
func TestOutageHidesOtherFamilies(t *testing.T) {
	t.Parallel()
	for _, tc := range everyError {
		if tc.family == apitoken.ErrUnavailable {
			continue
		}
		for _, cause := range []error{tc.err, fmt.Errorf("ldap: %w", tc.err), errors.Join(errors.New("x"), tc.err)} {
			err := error(&apitoken.OutageError{Part: "owners", Err: cause})
			for name, family := range families {
				require.Equal(t, family == apitoken.ErrUnavailable, errors.Is(err, family), "%s in an outage caused by %v", name, cause)
			}
			require.Nil(t, apitoken.Fields(err))
			require.ErrorContains(t, err, cause.Error(), "the operator sees it all the same")
			require.Equal(t, cause, err.(*apitoken.OutageError).Err)
		}
	}
}

func TestOutageKeepsItsCause(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("verify: %w", apitoken.Outage("store", fmt.Errorf("query: %w", context.DeadlineExceeded)))
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "apitoken: store unavailable: query: context deadline exceeded")

	inner := apitoken.Outage("limiter", errors.New("x"))
	require.Equal(t, inner, apitoken.Outage("store", fmt.Errorf("again: %w", inner)), "the part that failed is named, not the one that passed it on")
}

func TestFields(t *testing.T) {
	t.Parallel()
	a, b, c := &apitoken.FieldError{Field: "a"}, &apitoken.FieldError{Field: "b"}, &apitoken.FieldError{Field: "c"}
	require.Nil(t, apitoken.Fields(nil))
	require.Nil(t, apitoken.Fields(errors.New("x")))
	require.Nil(t, apitoken.Fields(apitoken.ErrInvalid))
	require.Equal(t, []*apitoken.FieldError{a}, apitoken.Fields(a))
	require.Equal(t, []*apitoken.FieldError{a}, apitoken.Fields(fmt.Errorf("x: %w", a)))
	nested := fmt.Errorf("x: %w", errors.Join(a, errors.New("y"), errors.Join(b, nil, fmt.Errorf("z: %w", c))))
	require.Equal(t, []*apitoken.FieldError{a, b, c}, apitoken.Fields(nested), "in the order they were found")
	require.Equal(t, []*apitoken.FieldError{a, b}, apitoken.Fields(fmt.Errorf("%w and %w", a, b)))
}

// Every message begins with the package's name, and those that an operator or a
// caller can act on say how.
func TestErrorMessagesSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, tc := range everyError {
		require.True(t, strings.HasPrefix(tc.err.Error(), "apitoken: "), tc.err.Error())
	}
	for _, err := range []error{
		apitoken.ErrNoCredential, apitoken.ErrMalformedToken, apitoken.ErrWrongSecret, apitoken.ErrSuperseded, apitoken.ErrExpired, apitoken.ErrIdle,
		apitoken.ErrDisabled, apitoken.ErrRevoked, apitoken.ErrOwnerInactive, apitoken.ErrAgentInactive, apitoken.ErrKindUnknown, apitoken.ErrLegacyEnded,
		apitoken.ErrScheme, apitoken.ErrDERSignature, apitoken.ErrStale, apitoken.ErrReplayed,
		apitoken.ErrPrivateKey, apitoken.ErrUnsupportedKey, apitoken.ErrPointFormat, apitoken.ErrInvalidPoint, apitoken.ErrMalformedKey,
		apitoken.ErrTwoCredentials, apitoken.ErrVersion,
	} {
		_, advice, found := strings.Cut(strings.TrimPrefix(err.Error(), "apitoken: "), ": ")
		require.True(t, found, err.Error())
		require.NotEmpty(t, advice, err.Error())
	}
	for want, err := range map[string]error{
		"apitoken: name: is required":                                                 &apitoken.FieldError{Field: "name", Problem: "is required"},
		"apitoken: missing permission a, b: use a token that has it":                  &apitoken.PermissionError{Missing: []string{"a", "b"}},
		"apitoken: missing resource group eu: use a token that has it":                &apitoken.PermissionError{Groups: []string{"eu"}},
		"apitoken: the token lacks a required permission":                             &apitoken.PermissionError{},
		"apitoken: a personal token is not accepted for deploy: use a node token":     &apitoken.KindError{Kind: "personal", Use: "deploy", Accepted: []apitoken.Kind{"node"}}, // S3.22
		"apitoken: a node token is not accepted here: use a personal or shared token": &apitoken.KindError{Kind: "node", Accepted: []apitoken.Kind{"personal", "shared"}},
		"apitoken: a node token is not accepted for x":                                &apitoken.KindError{Kind: "node", Use: "x"},
		"apitoken: cannot edit: it is revoked":                                        &apitoken.StateError{Verb: "edit", Status: apitoken.StatusRevoked, Why: "it is revoked"},
		"apitoken: the alias is taken by another token":                               &apitoken.DuplicateError{Field: "alias"},
	} {
		require.EqualError(t, err, want)
	}
}

// S1.18, S2.30: the answer to a repeated request names the token, not its secret.
func TestAlreadyIssuedErrorNamesTheToken(t *testing.T) {
	t.Parallel()
	err := &apitoken.AlreadyIssuedError{Token: apitoken.View{Token: apitoken.Token{ID: "4fXk2QpWmR7tYc9BvN1sHd"}, EndsAt: time.Now()}}
	require.ErrorContains(t, err, "4fXk2QpWmR7tYc9BvN1sHd")
	require.ErrorContains(t, err, "rotate the token or issue another one")
}
