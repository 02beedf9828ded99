package main

import (
	"net/http"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// newAPI routes requests. The whole mux stands behind the middleware, so that a
// route added tomorrow without a requirement is at least not open to strangers.
func newAPI(tokens apitoken.Manager, devices *inventory) http.Handler {
	auth := httpauth.New(tokens, httpauth.Options{})
	mux := http.NewServeMux()
	handle := func(pattern string, need apitoken.Requirement, h http.HandlerFunc) {
		mux.Handle(pattern, auth.Require(need)(h))
	}
	handle("GET /v1/devices/{id}", viewDevices, devices.serve(devices.get))
	handle("POST /v1/devices/{id}/lock", manageDevices, devices.serve(devices.lock))
	mux.Handle("GET /v1/reports/devices", auth.Require(viewReports)(auth.Limit("reports")(http.HandlerFunc(devices.report))))
	mux.Handle("POST /v1/nodes", auth.Use("deploy")(http.HandlerFunc(deploy)))

	admin := tokenAdmin{tokens}
	handle("POST /v1/tokens", manageTokens, call(auth, admin.issue))
	handle("GET /v1/tokens", manageTokens, call(auth, admin.list))
	handle("GET /v1/tokens/{id}", manageTokens, call(auth, admin.get))
	handle("PATCH /v1/tokens/{id}", manageTokens, call(auth, admin.edit))
	handle("DELETE /v1/tokens/{id}", manageTokens, call(auth, admin.delete))
	handle("POST /v1/tokens/{id}/disable", manageTokens, call(auth, admin.disable))
	handle("POST /v1/tokens/{id}/enable", manageTokens, call(auth, admin.enable))
	handle("POST /v1/tokens/{id}/rotate", manageTokens, call(auth, admin.rotate))
	handle("POST /v1/tokens/{id}/revoke", manageTokens, call(auth, admin.revoke))
	handle("POST /v1/tokens/find", manageTokens, call(auth, admin.find))
	handle("POST /v1/tokens/explain", manageTokens, call(auth, admin.explain))
	return auth.Middleware(mux)
}

// principal is who the request acts for. The middleware stands before every
// handler; without it this is the zero Principal, which has no rights.
func principal(r *http.Request) apitoken.Principal {
	p, _ := httpauth.FromContext(r.Context())
	return p
}

// serve answers with a device of the principal's tenant. Who asks for a field by
// name is told what is missing; who does not never sees it.
func (inv *inventory) serve(find func(tenant, id string) (device, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p := principal(r)
		if err := p.Check(viewDevices.Asking(r.URL.Query()["field"]...)); err != nil {
			httpauth.WriteError(w, r, err)
			return
		}
		d, ok := find(p.Tenant, r.PathValue("id"))
		if !ok {
			httpauth.WriteError(w, r, apitoken.ErrNotFound)
			return
		}
		if !p.Shows(viewDevices, "geoData") {
			d.GeoData = nil
		}
		writeJSON(w, d)
	}
}

func (inv *inventory) report(w http.ResponseWriter, r *http.Request) {
	all, locked := inv.count(principal(r).Tenant)
	writeJSON(w, map[string]int{"devices": all, "locked": locked})
}

func deploy(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, map[string]string{"tenant": principal(r).Tenant, "node": "starting"})
}
