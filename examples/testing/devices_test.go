package devices_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	devices "github.com/tokenry/apitoken/examples/testing"
	"github.com/tokenry/apitoken/httpauth"
)

// host is the server under test: its own options over the test's clock, users
// and store.
func host(t *testing.T) (*apitokentest.Env, http.Handler) {
	env := apitokentest.New(t, devices.Options())
	return env, devices.Devices(env.Service)
}

// get asks for the devices with a token and returns the answer.
func get(server http.Handler, token apitoken.Secret) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/devices", nil)
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	return w
}

func TestTokenWorks(t *testing.T) {
	t.Parallel()
	env, server := host(t)

	w := httptest.NewRecorder()
	server.ServeHTTP(w, env.Authorize(httptest.NewRequest("GET", "/devices", nil), apitoken.IssueRequest{}))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "devices of ann in acme\n", w.Body.String())
}

// A handler gets a principal in one line, without a server around it.
func TestHandlerAlone(t *testing.T) {
	t.Parallel()
	env, _ := host(t)

	r := httptest.NewRequest("GET", "/devices", nil)
	r = r.WithContext(httpauth.NewContext(r.Context(), env.Principal(apitoken.IssueRequest{})))
	w := httptest.NewRecorder()
	devices.List(w, r)
	require.Equal(t, "devices of ann in acme\n", w.Body.String())
}

func TestHandlerNotWrapped(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	devices.List(w, httptest.NewRequest("GET", "/devices", nil))
	require.Equal(t, http.StatusUnauthorized, w.Code)
}

// S2.32
func TestTokenExpiresAtTheEndOfItsDay(t *testing.T) {
	t.Parallel()
	env, server := host(t)
	token := env.Issue(apitoken.IssueRequest{Expiry: apitoken.ExpiresOn("2027-03-31")}).Secret

	lastMoment := time.Date(2027, time.March, 31, 23, 59, 59, 999_999_999, time.UTC)
	env.Clock.Set(lastMoment)
	require.Equal(t, http.StatusOK, get(server, token).Code)
	env.Clock.Advance(time.Nanosecond)
	require.Equal(t, http.StatusUnauthorized, get(server, token).Code)
}

// S1.8
func TestDeactivatedUserIsRefused(t *testing.T) {
	t.Parallel()
	env, server := host(t)
	token := env.Issue(apitoken.IssueRequest{}).Secret

	env.Owners.SetActive(apitokentest.Tenant, apitokentest.User, false)
	require.Equal(t, http.StatusUnauthorized, get(server, token).Code)
	env.Owners.SetActive(apitokentest.Tenant, apitokentest.User, true)
	require.Equal(t, http.StatusOK, get(server, token).Code)
}

func TestPermissionIsNeeded(t *testing.T) {
	t.Parallel()
	env, server := host(t)

	none := env.Issue(apitoken.IssueRequest{Permissions: []string{}}).Secret
	w := get(server, none)
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), "devices:view")

	manager := env.Issue(apitoken.IssueRequest{Permissions: []string{"devices:manage"}}).Secret
	require.Equal(t, http.StatusOK, get(server, manager).Code, "manage implies view")
}

// An outage is neither a yes nor a no: clients are told to come back.
func TestOutageIsNo401(t *testing.T) {
	t.Parallel()
	env, server := host(t)
	token := env.Issue(apitoken.IssueRequest{}).Secret

	env.Owners.Fail(errors.New("directory is down"))
	require.Equal(t, http.StatusServiceUnavailable, get(server, token).Code)
	env.Owners.Fail(nil)
	env.Store.FailCall(0)
	require.Equal(t, http.StatusServiceUnavailable, get(server, token).Code)
	env.Store.Reset()
	require.Equal(t, http.StatusOK, get(server, token).Code)
}
