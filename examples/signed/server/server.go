// Package server is an HTTP API that takes bearer tokens and signed requests, for
// uploaded keys and for generated secrets. It keeps everything in memory.
package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/memstore"
)

const (
	// Audience is what request-bound JWTs are made for.
	Audience = "https://devices.example"
	// TunnelPath takes requests that are inside of a JWS.
	TunnelPath = "/jws/validate"
)

// Server is the API with its tokens.
type Server struct {
	Tokens  *apitoken.Service
	Handler http.Handler
}

// New returns a server that clients reach as host, such as 127.0.0.1:8080. A
// signature that names a host is refused for any other.
func New(host string) (*Server, error) {
	// What signs is kept sealed. A real service takes this key from where it keeps its
	// other keys, the same on all nodes, and has a store that outlives it.
	sealing := make([]byte, 32)
	rand.Read(sealing)
	keyring, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "2026-1", Key: apitoken.NewSecret(string(sealing))})
	if err != nil {
		return nil, err
	}
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{ // the store is the replay guard too
		Prefix:  "acme",
		Catalog: catalog,
		Keyring: keyring,
		Kinds: map[apitoken.Kind]apitoken.Policy{apitoken.DefaultKind: {Schemes: []apitoken.Scheme{
			apitoken.SchemeBearer, apitoken.SchemeJWS, apitoken.SchemeJWT, apitoken.SchemeHTTPSignature,
		}}},
	})
	if err != nil {
		return nil, err
	}
	auth := httpauth.New(tokens, httpauth.Options{Proofs: []httpauth.ProofReader{
		httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: Audience}),
		httpsig.New(httpsig.Options{Hosts: []string{host}}),
	}})

	api := http.NewServeMux()
	handle := func(pattern string, need apitoken.Requirement, h http.HandlerFunc) {
		api.Handle(pattern, auth.Require(need)(h))
	}
	inventory := devices{locked: map[string]bool{"laptop-7": false, "phone-2": false}}
	handle("GET /v1/devices", catalog.MustRequire("devices:view"), inventory.list)
	handle("PUT /v1/devices/{id}", catalog.MustRequire("devices:manage"), inventory.put)
	admin := tokenAdmin{tokens, auth}
	handle("POST /v1/keys", catalog.MustRequire("tokens:manage"), admin.uploadKey)
	handle("POST /v1/secrets", catalog.MustRequire("tokens:manage"), admin.generate)

	mux := http.NewServeMux()
	mux.Handle("/v1/", auth.Middleware(api))
	mux.Handle("POST "+TunnelPath, auth.Tunnel(httpauth.TunnelOptions{}, api))
	return &Server{tokens, mux}, nil
}

var catalog = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
	{Name: "tokens:manage", API: true},
}, nil)

// Alice is who the server knows: its console would name whoever has signed in.
func Alice() apitoken.Actor {
	return apitoken.Actor{ID: "alice", Tenant: "acme", Permissions: []string{"devices:manage", "tokens:manage"}}
}

// Admin issues a bearer token that may do everything. It uploads keys and has secrets
// made.
func (s *Server) Admin(ctx context.Context) (apitoken.Secret, error) {
	issued, err := s.Tokens.Issue(ctx, Alice(), apitoken.IssueRequest{Name: "terminal"})
	return issued.Secret, err
}

// tokenAdmin gives tokens that sign to the holder of a token that may.
type tokenAdmin struct {
	tokens apitoken.Issuer
	auth   *httpauth.Auth
}

// signs is what these tokens may do.
var signs = []string{"devices:manage"}

// uploadKey takes publicKey.pem as it is, and answers with the token's ID. The private
// key was never here.
func (a tokenAdmin) uploadKey(w http.ResponseWriter, r *http.Request) {
	text, err := httpauth.ReadBody(w, r, 16<<10)
	if err != nil {
		httpauth.WriteError(w, r, err)
		return
	}
	if issued, ok := a.issue(w, r, apitoken.IssueRequest{Name: "uploaded", PublicKey: string(text), Permissions: signs}); ok {
		if err := httpauth.WriteSecret(w, issued); err != nil { // there is none to show
			slog.WarnContext(r.Context(), "the answer did not reach the client", "token", issued.Token.ID, "error", err)
		}
	}
}

// generate answers with a .token file: the ID and the secret key (S2.29).
func (a tokenAdmin) generate(w http.ResponseWriter, r *http.Request) {
	if issued, ok := a.issue(w, r, apitoken.IssueRequest{Name: "generated", Symmetric: true, Permissions: signs}); ok {
		if err := httpauth.WriteTokenFile(w, issued); err != nil {
			slog.WarnContext(r.Context(), "a secret may not have reached its holder: revoke the token", "token", issued.Token.ID, "error", err)
		}
	}
}

func (a tokenAdmin) issue(w http.ResponseWriter, r *http.Request, req apitoken.IssueRequest) (apitoken.Issued, bool) {
	by, _ := a.auth.Actor(r)
	issued, err := a.tokens.Issue(r.Context(), by, req)
	if err != nil {
		httpauth.WriteError(w, r, err)
	}
	return issued, err == nil
}

// devices is what the API is for.
type devices struct {
	mu     sync.Mutex
	locked map[string]bool
}

// list answers with the query too, so that a client sees that it arrived as it was
// signed.
func (d *devices) list(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	writeJSON(w, r, map[string]any{"devices": d.locked, "query": r.URL.RawQuery})
}

func (d *devices) put(w http.ResponseWriter, r *http.Request) {
	var change struct {
		Locked *bool `json:"locked"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&change) != nil || change.Locked == nil {
		httpauth.WriteError(w, r, &apitoken.FieldError{Field: "locked", Problem: "is required, true or false, and nothing beside it"})
		return
	}
	id := r.PathValue("id")
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.locked[id]; !ok {
		httpauth.WriteError(w, r, apitoken.ErrNotFound)
		return
	}
	d.locked[id] = *change.Locked
	writeJSON(w, r, map[string]any{"id": id, "locked": d.locked[id]})
}

// writeJSON says also how the request was let in.
func writeJSON(w http.ResponseWriter, r *http.Request, answer map[string]any) {
	p, _ := httpauth.FromContext(r.Context())
	answer["scheme"], answer["token"] = p.Scheme, p.Token
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // a query has ampersands
	_ = encoder.Encode(answer)   // the client is gone: nobody to tell
}
