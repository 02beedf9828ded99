package httpauth

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tokenry/apitoken"
)

// FromContext returns who the request acts for. It reports false where no layer
// has verified the request: in handlers that are not wrapped, outside of the
// layers, and for requests without a credential that [Auth.Optional] let through.
func FromContext(ctx context.Context) (apitoken.Principal, bool) {
	if v, ok := ctx.Value(principalKey{}).(*verified); ok {
		return v.principal, true
	}
	return apitoken.Principal{}, false
}

// NewContext returns a context in which [FromContext] finds p, for tests of
// handlers. It opens nothing: a layer verifies such a request like any other.
func NewContext(ctx context.Context, p apitoken.Principal) context.Context {
	return &verified{Context: ctx, principal: p}
}

type principalKey struct{}

// verified is the context of a verified request. It is a context and not a value
// in one, which saves an allocation. It is found under principalKey, whoever
// verified, and under the Auth that verified, so that nested layers of two Auths
// do not take each other's principal for their own.
type verified struct {
	context.Context
	auth      *Auth // nil = NewContext
	principal apitoken.Principal
	decisions []apitoken.Decision // of the limits of the layer that verified, and of quotas
}

func (v *verified) Value(key any) any {
	switch k := key.(type) {
	case principalKey:
		return v
	case *Auth:
		if k == v.auth {
			return v
		}
	}
	return v.Context.Value(key)
}

// String keeps the token's record out of a printed context.
func (v *verified) String() string {
	return fmt.Sprintf("%v.WithPrincipal(%s)", v.Context, v.principal.Token)
}

// Actor returns who the verified request acts for as the actor of managing calls,
// for APIs that let a token manage tokens: [apitoken.Principal.Actor] with the
// client's address for the audit events. It reports false where FromContext does.
// The request ID is the host's to fill in.
func (a *Auth) Actor(r *http.Request) (apitoken.Actor, bool) {
	p, ok := FromContext(r.Context())
	if !ok {
		return apitoken.Actor{}, false
	}
	actor := p.Actor()
	actor.Address, _ = a.ClientAddr(r) // unreadable: the layer would have refused
	return actor, true
}
