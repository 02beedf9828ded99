// Package devices shows how a host unit-tests what it builds on apitoken: the
// clock, the users and the tokens are in the test's hands, and nothing sleeps.
// devices_test.go is the point; this file is the host.
package devices

import (
	"fmt"
	"net/http"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// Catalog is the host's permissions.
var Catalog = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
}, nil)

// Options are what the host runs with, but for its clock and its look-ups, which
// main adds and a test replaces.
func Options() apitoken.Options {
	return apitoken.Options{
		Prefix:  "acme",
		Catalog: Catalog,
		Kinds:   map[apitoken.Kind]apitoken.Policy{"report": apitoken.FixedTermPolicy("")},
	}
}

// Devices answers with the devices of whoever the request acts for. It asks for
// a Verifier, so a test may bring its own.
func Devices(tokens apitoken.Verifier) http.Handler {
	auth := httpauth.New(tokens, httpauth.Options{})
	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Require(Catalog.MustRequire("devices:view"))(http.HandlerFunc(List)))
	return mux
}

// List is the handler behind the middleware.
func List(w http.ResponseWriter, r *http.Request) {
	p, ok := httpauth.FromContext(r.Context())
	if !ok { // not wrapped: show nothing
		httpauth.WriteError(w, r, apitoken.ErrNoCredential)
		return
	}
	fmt.Fprintf(w, "devices of %s in %s\n", p.Owner, p.Tenant)
}
