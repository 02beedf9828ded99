package apitoken_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
	clientside "github.com/tokenry/apitoken/signer"
)

// The ladder of README.md is compiled and run here, its ten-line path compiled in
// example_test.go and run in examples/tenlines; TestReadme keeps them in step.

// The rungs of the README's ladder, each the one before and a few lines more.

func Example_ladderBearer() {
	ctx, store, mux, user, org := context.Background(), memstore.New(), http.NewServeMux(), "ann", "acme"

	opts := apitoken.Options{Prefix: "acme"}
	tokens, err := apitoken.New(store, opts)
	check(err)
	auth := httpauth.New(tokens, httpauth.Options{})
	mux.Handle("GET /api/devices", auth.Middleware(devices))
	actor := apitoken.Actor{ID: user, Tenant: org}
	issued, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "ci"})
	check(err)

	fmt.Println(visit(mux, "/api/devices", issued.Secret))
	// Output: 200 devices of acme
}

func Example_ladderPermissions() {
	ctx, store, mux, user, org := context.Background(), memstore.New(), http.NewServeMux(), "ann", "acme"

	catalog := apitoken.MustCatalog([]apitoken.Permission{
		{Name: "devices:view", API: true},
		{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
	}, []apitoken.Role{{Name: "operator", Permissions: []string{"devices:manage"}}})
	opts := apitoken.Options{Prefix: "acme"}
	opts.Catalog = catalog
	tokens, err := apitoken.New(store, opts)
	check(err)
	auth := httpauth.New(tokens, httpauth.Options{})
	mux.Handle("GET /api/devices", auth.Require(catalog.MustRequire("devices:view"))(devices))
	mux.Handle("GET /api/lock", auth.Require(catalog.MustRequire("devices:manage"))(devices))
	actor := apitoken.Actor{ID: user, Tenant: org, Roles: []string{"operator"}}
	issued, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "ci", Permissions: []string{"devices:view"}})
	check(err)

	fmt.Println(visit(mux, "/api/devices", issued.Secret))
	fmt.Println(visit(mux, "/api/lock", issued.Secret))
	// Output:
	// 200 devices of acme
	// 403
}

func Example_ladderPlans() {
	ctx, store, mux, user, org := context.Background(), memstore.New(), http.NewServeMux(), "ann", "acme"
	catalog := ladderCatalog
	plans := map[string]apitoken.Limit{"acme": {Quota: 2, Window: time.Hour}}
	licensed := func(context.Context, string) (apitoken.Permissions, error) { return catalog.API(), nil }

	opts := apitoken.Options{Prefix: "acme"}
	opts.Catalog = catalog
	opts.Limits = map[string]apitoken.Limit{"devices": {Quota: 1000, Window: time.Hour}}
	opts.LimitFor = func(_ context.Context, p apitoken.Principal, _ string) (apitoken.Limit, bool, error) {
		plan, ok := plans[p.Tenant]
		return plan, ok, nil // false: Limits has the answer
	}
	opts.Entitlements = apitoken.EntitlementsFunc(licensed) // what the tenant has paid for
	tokens, err := apitoken.New(store, opts)
	check(err)
	auth := httpauth.New(tokens, httpauth.Options{})
	view := auth.Require(catalog.MustRequire("devices:view"))
	mux.Handle("GET /api/devices", auth.Limit("devices")(view(devices)))
	actor := apitoken.Actor{ID: user, Tenant: org, Roles: []string{"operator"}}
	issued, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "ci", Permissions: []string{"devices:view"}})
	check(err)

	for range 3 {
		fmt.Println(visit(mux, "/api/devices", issued.Secret))
	}
	// Output:
	// 200 devices of acme
	// 200 devices of acme
	// 429
}

func Example_ladderOwners() {
	ctx, store, mux, user, org := context.Background(), memstore.New(), http.NewServeMux(), "ann", "acme"
	catalog := ladderCatalog
	people := map[string]*ladderPerson{"ann": {"operator", true}}
	find := func(_ context.Context, _, user string) (ladderPerson, error) {
		if p, ok := people[user]; ok {
			return *p, nil
		}
		return ladderPerson{}, apitoken.ErrNotFound
	}

	opts := apitoken.Options{Prefix: "acme"}
	opts.Catalog = catalog
	opts.Owners = apitoken.OwnersFunc(func(ctx context.Context, tenant, user string) (apitoken.Standing, error) {
		p, err := find(ctx, tenant, user) // apitoken.ErrNotFound: no such user; any other error: an outage, 503
		permissions, _ := catalog.Role(p.role)
		return apitoken.Standing{Active: p.active, Permissions: permissions, Roles: []string{p.role}}, err
	})
	tokens, err := apitoken.New(store, opts)
	check(err)
	auth := httpauth.New(tokens, httpauth.Options{})
	mux.Handle("GET /api/devices", auth.Require(catalog.MustRequire("devices:view"))(devices))
	actor := apitoken.Actor{ID: user, Tenant: org}
	issued, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "ci", Permissions: []string{"devices:view"}})
	check(err)

	fmt.Println(visit(mux, "/api/devices", issued.Secret))
	people["ann"].active = false
	fmt.Println(visit(mux, "/api/devices", issued.Secret))
	people["ann"].active = true
	fmt.Println(visit(mux, "/api/devices", issued.Secret))
	// Output:
	// 200 devices of acme
	// 401
	// 200 devices of acme
}

func Example_ladderKinds() {
	ctx, store, mux, user, org := context.Background(), memstore.New(), http.NewServeMux(), "ann", "acme"
	catalog := ladderCatalog
	opts := apitoken.Options{Prefix: "acme"}
	opts.Catalog = catalog
	opts.Owners = apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) {
		return apitoken.Standing{Active: true, Permissions: catalog.API(), Roles: []string{"operator"}}, nil
	})

	personal := apitoken.PersonalPolicy()
	personal.CreatorRoles, personal.ManagerRoles = []string{"operator"}, []string{"operator"} // your names
	opts.Kinds = map[apitoken.Kind]apitoken.Policy{
		apitoken.DefaultKind: {}, // tokens issued before there were kinds
		"personal":           personal,
		"report":             apitoken.FixedTermPolicy(""),
	}
	opts.DefaultKind = "personal"
	tokens, err := apitoken.New(store, opts)
	check(err)
	auth := httpauth.New(tokens, httpauth.Options{})
	mux.Handle("GET /api/devices", auth.RequireKind("personal")(devices))
	issued, err := tokens.Issue(ctx, apitoken.Actor{ID: user, Tenant: org}, apitoken.IssueRequest{Name: "mine"})
	check(err)
	report, err := tokens.Issue(ctx, apitoken.Actor{ID: user, Tenant: org}, apitoken.IssueRequest{Kind: "report", Name: "weekly"})
	check(err)

	fmt.Println(visit(mux, "/api/devices", issued.Secret))
	fmt.Println(visit(mux, "/api/devices", report.Secret))
	// Output:
	// 200 devices of acme
	// 403
}

func Example_ladderSignatures() {
	ctx, store, mux, user, org := context.Background(), memstore.New(), http.NewServeMux(), "ann", "acme"
	catalog := ladderCatalog
	opts := apitoken.Options{Prefix: "acme"}
	opts.Catalog = catalog
	opts.Owners = apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) {
		return apitoken.Standing{Active: true, Permissions: catalog.API(), Roles: []string{"operator"}}, nil
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // the client's: it stays there
	check(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(err)
	publicKey := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	keyring, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "2027-03", Key: apitoken.NewSecret(rand.Text() + "abcdef")})
	check(err)

	personal := apitoken.PersonalPolicy()
	personal.CreatorRoles, personal.ManagerRoles = []string{"operator"}, []string{"operator"} // your names
	personal.Schemes = []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeJWT, apitoken.SchemeJWS}
	opts.Kinds = map[apitoken.Kind]apitoken.Policy{"personal": personal}
	opts.DefaultKind = "personal"
	opts.Keyring = keyring // for Symmetric: a generated secret key is sealed, not hashed
	tokens, err := apitoken.New(store, opts)
	check(err)
	jwts := httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: "https://api.example"})
	auth := httpauth.New(tokens, httpauth.Options{Proofs: []httpauth.ProofReader{jwts}})
	mux.Handle("POST /jws/validate", auth.Tunnel(httpauth.TunnelOptions{}, mux))
	mux.Handle("GET /api/devices", auth.RequireKind("personal")(devices))
	actor := apitoken.Actor{ID: user, Tenant: org}
	issued, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "ci", PublicKey: publicKey}) // or Symmetric: true
	check(err)

	generated, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "script", Symmetric: true}) // S2.19: the other choice
	check(err)

	server := httptest.NewServer(mux)
	defer server.Close()
	for _, client := range []clientside.Options{
		{Scheme: apitoken.SchemeJWT, Token: issued.Token.ID, Key: key, Audience: "https://api.example"},
		{Scheme: apitoken.SchemeJWS, Token: generated.Token.ID, Secret: generated.Secret},
	} {
		transport, err := clientside.New(client)
		check(err)
		resp, err := (&http.Client{Transport: transport}).Get(server.URL + "/api/devices")
		check(err)
		body, err := io.ReadAll(resp.Body)
		check(errors.Join(err, resp.Body.Close()))
		fmt.Println(resp.StatusCode, string(body))
	}
	resp, err := http.Get(server.URL + "/api/devices") // unsigned
	check(err)
	fmt.Println(resp.StatusCode)
	check(resp.Body.Close())
	// Output:
	// 200 devices of acme
	// 200 devices of acme
	// 401
}

var ladderCatalog = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
}, []apitoken.Role{{Name: "operator", Permissions: []string{"devices:manage"}}})

type ladderPerson struct {
	role   string
	active bool
}

var devices = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, _ := httpauth.FromContext(r.Context())
	fmt.Fprintf(w, "devices of %s", p.Tenant)
})

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// visit presents a token and returns the answer's status, with the body when it
// is the handler's.
func visit(h http.Handler, path string, token apitoken.Secret) string {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return fmt.Sprint(w.Code)
	}
	return fmt.Sprint(w.Code, " ", w.Body)
}

// TestReadme catches a README whose code no longer compiles: every Go block, and
// both sides of every diff, stand in the examples line by line.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	requireCompiled := func(lines []string, file string) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		block, compiled := flush(lines), flush(strings.Split(string(text), "\n"))
		require.Truef(t, strings.Contains("\n"+compiled+"\n", "\n"+block+"\n"), "%s does not have this block of README.md:\n%s", file, block)
	}

	blocks := fenced(string(readme))
	require.Len(t, blocks["go"], 1, "the ten-line path")
	require.Len(t, blocks["diff"], 5, "the rungs")
	for _, block := range blocks["go"] {
		require.Len(t, block, 10, "the ten-line path")
		requireCompiled(block, "example_test.go")
		requireCompiled(block, "examples/tenlines/main.go") // where it runs
	}
	for _, block := range blocks["diff"] {
		var before, after []string
		compare := func() {
			requireCompiled(before, "example_readme_test.go")
			requireCompiled(after, "example_readme_test.go")
			before, after = nil, nil
		}
		for _, line := range block {
			switch mark, code := line[:1], line[1:]; mark {
			case "-":
				before = append(before, code)
			case "+":
				after = append(after, code)
			case " ":
				before, after = append(before, code), append(after, code)
			case "@":
				compare()
			default:
				require.Failf(t, "a line of a diff begins with +, -, @ or a space", "%q", line)
			}
		}
		compare()
	}
}

// fenced returns the code blocks of a Markdown text by language.
func fenced(text string) map[string][][]string {
	blocks := make(map[string][][]string)
	language, inside := "", false
	var block []string
	for line := range strings.SplitSeq(text, "\n") {
		switch fence, ok := strings.CutPrefix(line, "```"); {
		case ok && inside:
			blocks[language] = append(blocks[language], block)
			inside, block = false, nil
		case ok:
			language, inside = fence, true
		case inside:
			block = append(block, line)
		}
	}
	return blocks
}

// flush takes indentation and alignment away, so that a block is found wherever
// it stands.
func flush(lines []string) string {
	var out []string
	for _, line := range lines {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(out, "\n")
}
