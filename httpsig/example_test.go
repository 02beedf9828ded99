package httpsig_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/memstore"
)

// A client makes a key pair and uploads the public key; its requests are signed
// with the private one, which it keeps to itself.
func Example() {
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Kinds: map[apitoken.Kind]apitoken.Policy{"ci": {Schemes: []apitoken.Scheme{apitoken.SchemeHTTPSignature}}},
	})
	check(err)
	server := httptest.NewUnstartedServer(nil)
	auth := httpauth.New(tokens, httpauth.Options{Proofs: []httpauth.ProofReader{
		httpsig.New(httpsig.Options{Hosts: []string{server.Listener.Addr().String()}}), // "api.example.com"
	}})
	server.Config.Handler = auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s by %s: %s", p.Scheme, p.Owner, body)
	}))
	server.StartTLS()
	defer server.Close()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	check(err)
	publicKey := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	issued, err := tokens.Issue(context.Background(), apitoken.Actor{ID: "alice", Tenant: "acme"},
		apitoken.IssueRequest{Name: "ci", PublicKey: publicKey})
	check(err)

	transport, err := httpsig.NewTransport(httpsig.TransportOptions{
		Token: issued.Token.ID, Key: key, Base: server.Client().Transport,
	})
	check(err)
	client := &http.Client{Transport: transport}
	resp, err := client.Post(server.URL+"/devices", "application/json", strings.NewReader(`{"name":"d1"}`))
	check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	check(err)
	fmt.Println(resp.StatusCode, string(answer))

	resp, err = server.Client().Get(server.URL + "/devices")
	check(err)
	resp.Body.Close()
	fmt.Println(resp.StatusCode, resp.Header.Get("Accept-Signature"))
	// Output:
	// 200 http-signature by alice: {"name":"d1"}
	// 401 sig1=("@method" "@target-uri" "content-digest" "content-type");created
}

// Behind a proxy that ends TLS and puts its own Host into requests, signatures are
// for what clients see.
func ExampleOptions_externalURL() {
	httpsig.New(httpsig.Options{ExternalURL: "https://api.example.com", Hosts: []string{"backend:8080"}})
	// Where the proxy passes the Host on:
	httpsig.New(httpsig.Options{Hosts: []string{"https://api.example.com", "https://eu.example.com"}})

	fmt.Println(httpsig.Options{}.Check())
	// Output: httpsig: Options.Hosts is empty: name the hosts that clients send requests to, such as api.example.com
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
