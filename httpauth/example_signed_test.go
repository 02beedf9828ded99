package httpauth_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
)

// newSigningTokens returns a Service whose tokens may sign in these ways, and the
// token of a client that holds a generated secret key.
func newSigningTokens(schemes ...apitoken.Scheme) (*apitoken.Service, apitoken.Issued) {
	key := make([]byte, 32) // a program reads it from where it keeps such keys
	rand.Read(key)
	keyring, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "2027", Key: apitoken.NewSecret(string(key))})
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Prefix: "acme", Keyring: keyring,
		Kinds: map[apitoken.Kind]apitoken.Policy{apitoken.DefaultKind: {Schemes: schemes}},
	})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := tokens.Issue(context.Background(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci", Symmetric: true})
	if err != nil {
		log.Fatal(err)
	}
	return tokens, issued
}

// A client signs requests with a JWT of its own for each, made by any JWT library,
// and never sends its secret.
func ExampleNewBoundJWT() {
	tokens, issued := newSigningTokens(apitoken.SchemeJWT)
	auth := httpauth.New(tokens, httpauth.Options{Proofs: []httpauth.ProofReader{
		httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: "https://api.example"}),
	}})
	api := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprintf(w, "%s %s for %s", r.Method, r.URL.Path, p.Owner)
	}))

	// The client.
	const payload = `{"name":"printer"}`
	digest := sha256.Sum256([]byte(payload))
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": rand.Text(), "aud": "https://api.example",
		"method": "POST", "uri": "/devices?dry=1", "body_sha256": hex.EncodeToString(digest[:]),
	})
	t.Header["kid"] = issued.Token.ID
	signed, err := t.SignedString([]byte(issued.Secret.Reveal()))
	if err != nil {
		log.Fatal(err)
	}
	send := func(target string) {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(payload))
		r.Header.Set("Authorization", "Bearer "+signed)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()[:min(24, w.Body.Len())]))
	}

	send("/devices?dry=0") // not what was signed
	send("/devices?dry=1")
	send("/devices?dry=1") // a copy
	// Output:
	// 401 {"title":"Unauthorized",
	// 200 POST /devices for ann
	// 401 {"title":"Unauthorized",
}

// A client posts each request inside a JWS, and the API behind the tunnel does not
// notice.
func ExampleAuth_Tunnel() {
	tokens, issued := newSigningTokens(apitoken.SchemeJWS)
	auth := httpauth.New(tokens, httpauth.Options{})
	api := http.NewServeMux()
	api.Handle("GET /devices/{id}", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprintf(w, "device %s in %s, for %s", r.PathValue("id"), r.FormValue("unit"), p.Owner)
	})))
	mux := http.NewServeMux()
	mux.Handle("POST /jws/validate", auth.Tunnel(httpauth.TunnelOptions{}, api))

	// The client.
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{}) // no body: {}
	t.Header["kid"] = issued.Token.ID
	t.Header["method"] = "GET"
	t.Header["content-type"] = "application/json"
	t.Header["uri"] = "/devices/7"
	t.Header["query-string"] = "unit=cm"
	t.Header["issuedAt"] = time.Now().UnixMilli()
	signed, err := t.SignedString([]byte(issued.Secret.Reveal()))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/jws/validate", strings.NewReader(signed)))
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()[:min(26, w.Body.Len())]))
	}
	// Output:
	// 200 device 7 in cm, for ann
	// 401 {"title":"Unauthorized","s
}

// The holder of a new token downloads it as a file.
func ExampleWriteTokenFile() {
	tokens, _ := newSigningTokens(apitoken.SchemeJWT)
	issue := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issued, err := tokens.Issue(r.Context(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: r.FormValue("name"), Symmetric: true})
		if err == nil {
			err = httpauth.WriteTokenFile(w, issued)
		}
		if err != nil {
			httpauth.WriteError(w, r, err)
		}
	})
	w := httptest.NewRecorder()
	issue.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/tokens?name=build", nil))
	fmt.Println(w.Code, w.Header().Get("Cache-Control"))
	fmt.Println(strings.HasPrefix(w.Header().Get("Content-Disposition"), `attachment; filename="build-`))
	fmt.Println(strings.Split(w.Body.String(), "\n")[1])
	// Output:
	// 200 no-store
	// true
	// # Keep it safe, like a password. Share it with nobody, and never put it into
}
