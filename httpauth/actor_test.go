package httpauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

// A change made with a token is audited with the client's address and the token.
func TestActor(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{Catalog: catalog})
	caller, target := env.Issue(apitoken.IssueRequest{}), env.Issue(apitoken.IssueRequest{})
	auth := httpauth.New(env.Service, httpauth.Options{})
	h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, ok := auth.Actor(r)
		require.True(t, ok)
		require.NoError(t, env.Service.Revoke(r.Context(), actor, target.Token.ID, "test"))
		w.WriteHeader(http.StatusNoContent)
	}))
	require.Equal(t, http.StatusNoContent, answer(h, request("Authorization", "Bearer "+caller.Secret.Reveal())).Code)

	var last apitoken.Event
	for e, err := range env.Service.History(t.Context(), env.Actor(apitokentest.User), target.Token.ID) {
		require.NoError(t, err)
		last = e
	}
	require.Equal(t, apitoken.EventRevoked, last.Type)
	require.Equal(t, caller.Token.ID, last.Via)
	require.Equal(t, "192.0.2.1", last.Address.String())

	_, ok := auth.Actor(request())
	require.False(t, ok, "nobody has verified this one")
}
