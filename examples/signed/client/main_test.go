package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/examples/signed/server"
	"github.com/tokenry/apitoken/tokenfile"
)

// world is a server, and the files of a client with each sort of credential.
type world struct {
	url, key, id, file, bearer string
}

func newWorld(t *testing.T) world {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	s, err := server.New(ts.Listener.Addr().String())
	require.NoError(t, err)
	ts.Config.Handler = s.Handler
	ts.Start()
	t.Cleanup(ts.Close)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	dir := t.TempDir()
	w := world{url: ts.URL, key: filepath.Join(dir, "privateKey.pem"), file: filepath.Join(dir, "own.token"), bearer: filepath.Join(dir, "bearer.token")}
	require.NoError(t, os.WriteFile(w.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	issue := func(req apitoken.IssueRequest) apitoken.Issued {
		issued, err := s.Tokens.Issue(t.Context(), server.Alice(), req)
		require.NoError(t, err)
		return issued
	}
	uploaded := issue(apitoken.IssueRequest{Name: "uploaded", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))})
	w.id = string(uploaded.Token.ID)
	for path, req := range map[string]apitoken.IssueRequest{w.file: {Name: "generated", Symmetric: true}, w.bearer: {Name: "bearer"}} {
		issued := issue(req)
		require.NoError(t, tokenfile.Write(path, tokenfile.File{ID: issued.Token.ID, Secret: issued.Secret}))
	}
	return w
}

// S2.29: a .token file is enough to sign.
func TestClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tc := range []struct {
		name string
		args []string
		says string // by the server
	}{
		{"a JWS with a key", []string{"-scheme", "jws", "-key", w.key, "-token", w.id, "GET", "/v1/devices?sort=name"}, `"query":"sort=name","scheme":"jws"`},
		{"a JWS with a file", []string{"-scheme", "jws", "-file", w.file, "PUT", "/v1/devices/phone-2", `{"locked":true}`}, `"locked":true,"scheme":"jws"`},
		{"a JWT with a key", []string{"-key", w.key, "-token", w.id, "PUT", "/v1/devices/phone-2", `{"locked":true}`}, `"locked":true,"scheme":"jwt"`},
		{"a JWT with a file", []string{"-file", w.file, "GET", "/v1/devices?sort=name"}, `"query":"sort=name","scheme":"jwt"`},
		{"a message signature with a key", []string{"-scheme", "http-signature", "-key", w.key, "-token", w.id, "GET", "/v1/devices?sort=name"}, `"query":"sort=name","scheme":"http-signature"`},
		{"a message signature with a file", []string{"-scheme", "http-signature", "-file", w.file, "PUT", "/v1/devices/phone-2", `{"locked":true}`}, `"locked":true,"scheme":"http-signature"`},
		{"a bearer token", []string{"-scheme", "bearer", "-file", w.bearer, "GET", "/v1/devices"}, `"scheme":"bearer"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out, warnings strings.Builder
			require.NoError(t, run(t.Context(), append([]string{"-server", w.url}, tc.args...), &out, &warnings), "%s", &out)
			require.Contains(t, out.String(), tc.says)
			require.Empty(t, warnings.String())
		})
	}
}

func TestClientSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tc := range []struct {
		name string
		args []string
		says string
	}{
		{"nothing to send", []string{"-file", w.file}, "method"},
		{"no credential", []string{"GET", "/v1/devices"}, "-file"},
		{"two credentials", []string{"-file", w.file, "-key", w.key, "-token", w.id, "GET", "/v1/devices"}, "-file"},
		{"no file", []string{"-file", w.file + "x", "GET", "/v1/devices"}, "no such file"},
		{"a key without its token", []string{"-key", w.key, "GET", "/v1/devices"}, "Token"},
		{"a .token file as key", []string{"-key", w.file, "-token", w.id, "GET", "/v1/devices"}, "private_key"},
		{"a secret key as bearer token", []string{"-scheme", "bearer", "-file", w.file, "GET", "/v1/devices"}, "Secret"},
		{"another token's key", []string{"-key", w.key, "-token", strings.Repeat("0", 22), "GET", "/v1/devices"}, "401"},
		{"an audience that is not meant", []string{"-audience", "https://other.example", "-file", w.file, "GET", "/v1/devices"}, "401"},
		{"a server that is not there", []string{"-server", "http://127.0.0.1:1", "-file", w.file, "GET", "/v1/devices"}, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out, warnings strings.Builder
			err := run(t.Context(), append([]string{"-server", w.url}, tc.args...), &out, &warnings)
			require.ErrorContains(t, err, tc.says)
			require.Empty(t, warnings.String())
		})
	}
}

func TestClientWarnsOfAFileThatOthersRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, os.Chmod(w.file, 0o644))
	var out, warnings strings.Builder
	require.NoError(t, run(t.Context(), []string{"-server", w.url, "-file", w.file, "GET", "/v1/devices"}, &out, &warnings))
	require.Contains(t, warnings.String(), "chmod 600")
}
