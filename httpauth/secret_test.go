package httpauth_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

// The secret is shown once, in an answer that nothing on the way may keep (S1.18).
func TestWriteSecret(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{Prefix: "acme"})
	issued := env.Issue(apitoken.IssueRequest{Name: "ci"})
	rotated, err := env.Service.Rotate(t.Context(), env.Actor(apitokentest.User), issued.Token.ID, apitoken.RotateRequest{IfVersion: issued.Token.Version})
	require.NoError(t, err)
	for _, tc := range []struct {
		name   string
		issued apitoken.Issued
		status int
	}{
		{"issued", issued, http.StatusCreated},
		{"rotated", rotated, http.StatusOK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			w.Header().Set("Cache-Control", "public, max-age=60")
			require.NoError(t, httpauth.WriteSecret(w, tc.issued))
			require.Equal(t, tc.status, w.Code)
			require.Equal(t, http.Header{
				"Cache-Control": {"no-store"}, "Pragma": {"no-cache"},
				"Content-Type": {"application/json"}, "X-Content-Type-Options": {"nosniff"},
			}, w.Header())
			var got struct {
				Token  struct{ ID, Name, Hint string }
				Secret string
			}
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
			require.Equal(t, string(issued.Token.ID), got.Token.ID)
			require.Equal(t, "ci", got.Token.Name)
			require.Equal(t, tc.issued.Secret.Reveal(), got.Secret)
		})
	}
}

// A token without a secret, such as one with an uploaded key, has none to write.
func TestWriteSecretWithoutSecret(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	require.NoError(t, httpauth.WriteSecret(w, apitoken.Issued{Token: apitoken.View{Token: apitoken.Token{ID: "x"}}}))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.NotContains(t, body(t, w), "secret")
}

// The caller hears when the holder may not have got the secret.
func TestWriteSecretReportsFailure(t *testing.T) {
	t.Parallel()
	gone := errors.New("connection reset")
	issued := apitoken.Issued{Secret: apitoken.NewSecret("acme_canary")}
	require.Equal(t, gone, httpauth.WriteSecret(goneWriter{httptest.NewRecorder(), gone}, issued))

	w := httptest.NewRecorder()
	issued.Token.CreatedAt = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) // RFC 3339 has no such year
	err := httpauth.WriteSecret(w, issued)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "canary")
	require.Empty(t, w.Header(), "the handler can still answer with an error")
	require.Empty(t, w.Body.String())
}

type goneWriter struct {
	http.ResponseWriter
	err error
}

func (w goneWriter) Write([]byte) (int, error) { return 0, w.err }
