package httpauth_test

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// A group of endpoints with one requirement: the layer goes around their mux.
func ExampleAuth_RequirePermission() {
	catalog := apitoken.MustCatalog([]apitoken.Permission{
		{Name: "devices:view", API: true},
		{Name: "scripts:run", API: true},
	}, nil)
	tokens, token := newTokens(apitoken.Options{Catalog: catalog}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{Catalog: catalog})

	scripts := http.NewServeMux()
	scripts.HandleFunc("GET /scripts/{id}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a script") })
	scripts.HandleFunc("POST /scripts/{id}/run", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "runs") })

	mux := http.NewServeMux()
	mux.Handle("/scripts/", auth.RequirePermission("scripts:run")(scripts))
	mux.Handle("GET /devices", auth.RequirePermission("devices:view")(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all devices") })))

	get(mux, "/devices", token)
	get(mux, "/scripts/7", token)
	// Output:
	// 200 all devices
	// 403 {"title":"Forbidden","status":403,"detail":"missing permission scripts:run: use a token that has it","reason":"permission","missing":["scripts:run"]}
}

// A misspelt permission stops the program when it starts, not the first client.
func ExampleAuth_RequirePermission_misspelt() {
	catalog := apitoken.MustCatalog([]apitoken.Permission{{Name: "devices:view", API: true}}, nil)
	tokens, _ := newTokens(apitoken.Options{Catalog: catalog}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{Catalog: catalog})

	defer func() { fmt.Println(recover()) }()
	auth.RequirePermission("devices:veiw")
	// Output:
	// apitoken: permissions[0]: "devices:veiw" is no permission of this catalog: check the spelling
}

// Layers nest in any order. The request is verified once.
func ExampleAuth_Limit() {
	tokens, token := newTokens(apitoken.Options{
		Limits: map[string]apitoken.Limit{"devices": {Quota: 1, Window: time.Hour}},
	}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{})

	mux := http.NewServeMux()
	mux.Handle("GET /devices", auth.Limit("devices")(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "all devices") })))
	api := auth.Middleware(mux)

	get(api, "/devices", token)
	get(api, "/other", token)
	// Output:
	// 200 all devices
	// 404 404 page not found
}

// Only node tokens may deploy, and whoever brings another is told so.
func ExampleAuth_Use() {
	tokens, token := newTokens(apitoken.Options{
		Kinds:       map[apitoken.Kind]apitoken.Policy{"personal": {}, "node": {Ownership: apitoken.OwnedByTenant}},
		DefaultKind: "personal",
		Uses:        map[string][]apitoken.Kind{"deploy": {"node"}},
	}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{})

	get(auth.Use("deploy")(http.NotFoundHandler()), "/deployments", token)
	// Output:
	// 403 {"title":"Forbidden","status":403,"detail":"a personal token is not accepted for deploy: use a node token","reason":"kind","kinds":["node"]}
}
