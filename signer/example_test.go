package signer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/signer"
	"github.com/tokenry/apitoken/tokenfile"
)

// newAPI is a service that ann of acme has a token of. It takes signed requests of
// both schemes.
func newAPI(req apitoken.IssueRequest) (*httptest.Server, apitoken.Issued) {
	sealing := make([]byte, 32)
	rand.Read(sealing)
	keyring := orFatal(apitoken.NewKeyring(apitoken.SealingKey{ID: "1", Key: apitoken.NewSecret(string(sealing))}))
	tokens := orFatal(apitoken.New(memstore.New(), apitoken.Options{
		Keyring: keyring,
		Kinds:   map[apitoken.Kind]apitoken.Policy{"ci": {Schemes: []apitoken.Scheme{apitoken.SchemeJWS, apitoken.SchemeJWT}}},
	}))
	auth := httpauth.New(tokens, httpauth.Options{Proofs: []httpauth.ProofReader{
		httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: "https://api.example.com"}),
	}})
	api := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s by %s, with %s", r.Method, r.URL, body, p.Owner, p.Scheme)
	}))
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("POST /jws/validate", auth.Tunnel(httpauth.TunnelOptions{}, api))
	req.Name = "ci"
	return httptest.NewServer(mux), orFatal(tokens.Issue(context.Background(), apitoken.Actor{ID: "ann", Tenant: "acme"}, req))
}

func orFatal[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// newKeyPair stands for the openssl commands that make both files.
func newKeyPair() (privateKey, publicKey []byte) {
	key := orFatal(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: orFatal(x509.MarshalPKCS8PrivateKey(key))}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: orFatal(x509.MarshalPKIXPublicKey(key.Public()))})
}

func show(resp *http.Response, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body := orFatal(io.ReadAll(resp.Body))
	fmt.Println(resp.StatusCode, string(body))
}

// A client keeps its private key to itself; the service has the public one.
func Example() {
	privateKey, publicKey := newKeyPair()
	api, issued := newAPI(apitoken.IssueRequest{PublicKey: string(publicKey)})
	defer api.Close()

	key, err := signer.ParsePrivateKey(privateKey)
	if err != nil {
		log.Fatal(err)
	}
	transport, err := signer.New(signer.Options{
		Scheme: apitoken.SchemeJWT, Token: issued.Token.ID, Key: key, Audience: "https://api.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	show(client.Get(api.URL + "/devices?sort=name"))
	show(client.Get(api.URL + "/devices?sort=name")) // another signature: no replay
	show(client.Get("https://elsewhere.example/devices"))
	// Output:
	// 200 GET /devices?sort=name  by ann, with jwt
	// 200 GET /devices?sort=name  by ann, with jwt
	// Get "https://elsewhere.example/devices": signer: this host may not be given the credential: add it to Options.Hosts, or use another client for it
}

// A service whose clients may only post to one path takes requests out of there.
func Example_tunnel() {
	api, issued := newAPI(apitoken.IssueRequest{Symmetric: true})
	defer api.Close()

	transport, err := signer.New(signer.Options{
		Scheme: apitoken.SchemeJWS, Token: issued.Token.ID, Secret: issued.Secret, TunnelPath: "/jws/validate",
	})
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	show(client.Post(api.URL+"/devices", "application/json", strings.NewReader(`{"name":"laptop-7"}`)))
	// Output:
	// 200 POST /devices {"name":"laptop-7"} by ann, with jws
}

// A .token file is all that a client needs.
func ExampleFromFile() {
	api, issued := newAPI(apitoken.IssueRequest{Symmetric: true})
	defer api.Close()
	dir := orFatal(os.MkdirTemp("", "signer"))
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "own.token") // as it was downloaded
	if err := tokenfile.Write(path, tokenfile.File{ID: issued.Token.ID, Secret: issued.Secret}); err != nil {
		log.Fatal(err)
	}

	transport, warning, err := signer.FromFile(path, signer.Options{Scheme: apitoken.SchemeJWS})
	if err != nil {
		log.Fatal(err)
	}
	if warning != "" {
		log.Print(warning) // others can read the file
	}
	show((&http.Client{Transport: transport}).Get(api.URL + "/devices"))
	// Output:
	// 200 GET /devices  by ann, with jws
}

// A mistake is named, and nothing of the file is repeated.
func ExampleParsePrivateKey() {
	_, publicKey := newKeyPair()
	_, err := signer.ParsePrivateKey(publicKey)
	fmt.Println(err)
	// Output:
	// apitoken: private_key: is a public key, which is for the service: give privateKey.pem, an EC key on P-256 (prime256v1)
}
