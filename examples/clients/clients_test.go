package clients_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/examples/signed/server"
	"github.com/tokenry/apitoken/signer"
	"github.com/tokenry/apitoken/tokenfile"
)

// program is a client: what starts it, and what else it needs to know.
type program struct {
	command []string
	dir     string
	env     []string
}

func TestShell(t *testing.T) {
	t.Parallel()
	need(t, "sh", "dash")
	need(t, "curl", "curl")
	script, err := filepath.Abs("shell/signed.sh")
	require.NoError(t, err)
	converse(t, program{command: []string{"sh", script}}, apitoken.SchemeJWS, apitoken.SchemeJWT)
}

// Node's packages are installed beside a copy of the program, as the lock file says.
func TestNode(t *testing.T) {
	t.Parallel()
	need(t, "node", "nodejs")
	need(t, "npm", "npm")
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("node")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "node_modules"))) // of a reader who tried it in place
	install := program{command: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}, dir: dir}
	out, err := install.run(t)
	require.NoError(t, err, "npm ci: it needs the npm registry: %s", out)
	converse(t, program{command: []string{"node", "client.mjs"}, dir: dir},
		apitoken.SchemeJWS, apitoken.SchemeJWT, apitoken.SchemeHTTPSignature)
}

func TestPython(t *testing.T) {
	t.Parallel()
	for _, client := range []string{"with_pyjwt.py", "with_authlib.py"} {
		t.Run(client, func(t *testing.T) {
			t.Parallel()
			converse(t, program{command: []string{python(t), client}, dir: "python", env: []string{"PYTHONDONTWRITEBYTECODE=1"}},
				apitoken.SchemeJWS, apitoken.SchemeJWT)
		})
	}
}

// S2.10, S2.11, S2.13: whatever the language, what it signs with a key of openssl's or
// with the secret of a .token file is accepted, as often as it signs anew.
func converse(t *testing.T, p program, schemes ...apitoken.Scheme) {
	w := newWorld(t)
	for _, scheme := range schemes {
		for name, own := range map[string][]string{
			"an uploaded key":    {"TOKEN_ID=" + string(w.uploaded), "PRIVATE_KEY=" + filepath.Join(w.dir, "privateKey.pem")},
			"a generated secret": {"TOKEN_FILE=" + w.file},
		} {
			t.Run(string(scheme)+" with "+name, func(t *testing.T) {
				t.Parallel()
				p := p
				p.env = append([]string{"SERVER=" + w.url, "AUDIENCE=" + server.Audience, "TUNNEL=" + server.TunnelPath}, append(own, p.env...)...)
				said := `"scheme":"` + string(scheme) + `"`
				for range 2 { // the same again is not a replay
					out, err := p.run(t, string(scheme), "GET", "/v1/devices?sort=name&q=a%2Fb%20c")
					require.NoError(t, err, "%s", out)
					require.Contains(t, out, `"query":"sort=name&q=a%2Fb%20c",`+said)
				}
				out, err := p.run(t, string(scheme), "PUT", "/v1/devices/laptop-7", `{"locked": true}`)
				require.NoError(t, err, "%s", out)
				require.Contains(t, out, `"locked":true,`+said)

				out, err = p.run(t, string(scheme), "PUT", "/v1/devices/toaster", `{"locked": true}`)
				require.Error(t, err, "the program hides that it was refused")
				require.Contains(t, out, `"reason":"not_found"`)
			})
		}
		t.Run(string(scheme)+" with another key", func(t *testing.T) {
			t.Parallel()
			p := p
			p.env = append([]string{
				"SERVER=" + w.url, "AUDIENCE=" + server.Audience, "TUNNEL=" + server.TunnelPath,
				"TOKEN_ID=" + string(w.uploaded), "PRIVATE_KEY=" + filepath.Join(keyPair(t), "privateKey.pem"),
			}, p.env...)
			out, err := p.run(t, string(scheme), "GET", "/v1/devices")
			require.Error(t, err)
			require.Contains(t, out, `"reason":"unauthenticated"`)
		})
	}
}

// S2.13, S2.14: of the three files that the openssl commands make, the public key is
// accepted for upload, and both others sign and are refused, with what to do.
func TestOpenSSLFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var keys []*ecdsa.PrivateKey
	for _, name := range []string{"privateKey.pem", "ec256-key-pair.pem"} {
		text, err := os.ReadFile(filepath.Join(w.dir, name))
		require.NoError(t, err)
		key, err := signer.ParsePrivateKey(text)
		require.NoError(t, err, name)
		keys = append(keys, key.(*ecdsa.PrivateKey))

		transport, err := signer.New(signer.Options{Scheme: apitoken.SchemeJWT, Token: w.uploaded, Key: key, Audience: server.Audience})
		require.NoError(t, err)
		resp, err := (&http.Client{Transport: transport}).Get(w.url + "/v1/devices")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode, name)

		status, body := w.post(t, "/v1/keys", text)
		require.Equal(t, http.StatusUnprocessableEntity, status, name)
		require.Contains(t, body, "private key")
		require.Contains(t, body, "publicKey.pem")
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "---") {
				require.NotContains(t, body, strings.TrimSpace(line))
			}
		}
	}
	require.True(t, keys[0].Equal(keys[1]))
}

// Arguments of programs can be seen by everybody on a machine: the shell's own
// commands have the secret, no other program does.
func TestShellKeepsTheSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file, err := os.ReadFile(w.file)
	require.NoError(t, err)
	parsed, err := tokenfile.Parse(bytes.NewReader(file))
	require.NoError(t, err)

	bin, log := t.TempDir(), filepath.Join(t.TempDir(), "arguments")
	for _, command := range []string{"openssl", "curl", "sed", "tr", "od", "date"} {
		path, err := exec.LookPath(command)
		require.NoError(t, err)
		spy := "#!/bin/sh\nprintf '%s\\n' \"" + command + " $*\" >>'" + log + "'\nexec '" + path + "' \"$@\"\n"
		require.NoError(t, os.WriteFile(filepath.Join(bin, command), []byte(spy), 0o755))
	}
	script, err := filepath.Abs("shell/signed.sh")
	require.NoError(t, err)
	for _, scheme := range []string{"jws", "jwt"} {
		p := program{command: []string{"sh", script}, env: []string{
			"SERVER=" + w.url, "AUDIENCE=" + server.Audience, "TOKEN_FILE=" + w.file, "PATH=" + bin + ":" + os.Getenv("PATH"),
		}}
		out, err := p.run(t, scheme, "PUT", "/v1/devices/laptop-7", `{"locked":true}`)
		require.NoError(t, err, out)
	}
	arguments, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Contains(t, string(arguments), "curl -sS")
	require.Contains(t, string(arguments), "openssl dgst")
	hashed := sha256.Sum256([]byte(parsed.Secret.Reveal()))
	require.NotContains(t, string(arguments), parsed.Secret.Reveal())
	require.NotContains(t, string(arguments), hex.EncodeToString(hashed[:]), "the key of the HMAC")
}

func TestShellSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := keyPair(t)
	script, err := filepath.Abs("shell/signed.sh")
	require.NoError(t, err)
	key := []string{"SERVER=http://127.0.0.1:1", "TOKEN_ID=x", "PRIVATE_KEY=" + filepath.Join(dir, "privateKey.pem")}
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		says string
	}{
		{"nothing to do", key, nil, "usage"},
		{"an unknown scheme", key, []string{"jwe", "GET", "/"}, "jws or jwt"},
		{"a quote in the target", key, []string{"jws", "GET", `/"`}, "percent-encode"},
		{"no audience", key, []string{"jwt", "GET", "/"}, "AUDIENCE"},
		{"no server", key[1:], []string{"jws", "GET", "/"}, "SERVER"},
		{"no credential", key[:1], []string{"jws", "GET", "/"}, "TOKEN_ID"},
		{"no private key", key[:2], []string{"jws", "GET", "/"}, "PRIVATE_KEY"},
		{"the public key", append(key[:2:2], "PRIVATE_KEY="+filepath.Join(dir, "publicKey.pem")), []string{"jws", "GET", "/"}, "no EC private key"},
		{"a file that is no .token file", append(key[:1:1], "TOKEN_FILE="+filepath.Join(dir, "publicKey.pem")), []string{"jws", "GET", "/"}, "no .token file"},
		{"a server that is not there", key, []string{"jws", "GET", "/"}, "onnect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			out, err := program{command: []string{"sh", script}, env: tc.env}.run(t, tc.args...)
			require.Error(t, err)
			require.Contains(t, out, tc.says)
		})
	}
}

// world is a server, and a client's own files: those of openssl in dir, and a .token
// file.
type world struct {
	url, dir, file string
	uploaded       apitoken.ID
	admin          apitoken.Secret
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ts := httptest.NewUnstartedServer(nil)
	s, err := server.New(ts.Listener.Addr().String())
	require.NoError(t, err)
	ts.Config.Handler = s.Handler
	ts.Start()
	t.Cleanup(ts.Close)
	w := &world{url: ts.URL, dir: keyPair(t)}
	w.admin, err = s.Admin(t.Context())
	require.NoError(t, err)

	public, err := os.ReadFile(filepath.Join(w.dir, "publicKey.pem"))
	require.NoError(t, err)
	status, body := w.post(t, "/v1/keys", public)
	require.Equal(t, http.StatusCreated, status, body)
	var issued struct {
		Token struct {
			ID apitoken.ID `json:"id"`
		} `json:"token"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &issued))
	w.uploaded = issued.Token.ID

	status, body = w.post(t, "/v1/secrets", nil)
	require.Equal(t, http.StatusOK, status, body)
	w.file = filepath.Join(w.dir, "own.token")
	require.NoError(t, os.WriteFile(w.file, []byte(body), 0o600))
	_, err = tokenfile.Parse(strings.NewReader(body))
	require.NoError(t, err)
	return w
}

func (w *world) post(t *testing.T, path string, body []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+w.admin.Reveal())
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(answer)
}

// keyPair runs the openssl commands of S2.13 as they are and returns where their files
// are.
func keyPair(t *testing.T) string {
	t.Helper()
	need(t, "openssl", "openssl")
	dir := t.TempDir()
	for _, command := range []string{
		"openssl ecparam -genkey -name prime256v1 -out ec256-key-pair.pem",
		"openssl pkcs8 -topk8 -inform pem -in ec256-key-pair.pem -outform pem -nocrypt -out privateKey.pem",
		"openssl ec -in ec256-key-pair.pem -pubout -out publicKey.pem",
	} {
		out, err := program{command: strings.Fields(command), dir: dir}.run(t)
		require.NoError(t, err, out)
	}
	return dir
}

// run returns what the program says, on both outputs, and an error unless it ends
// well.
func (p program) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args = append(p.command[1:len(p.command):len(p.command)], args...)
	cmd := exec.CommandContext(ctx, p.command[0], args...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// need fails, and never skips: a client that is not run is not known to work.
func need(t *testing.T, command, debian string) {
	t.Helper()
	_, err := exec.LookPath(command)
	require.NoErrorf(t, err, "%s is not installed: apt-get install %s, or the like", command, debian)
}

// python returns a Python that has the packages: Debian's own has, and another one may
// stand before it in the path.
func python(t *testing.T) string {
	t.Helper()
	var said string
	for _, command := range []string{"python3", "/usr/bin/python3"} {
		out, err := program{command: []string{command, "-c", "import jwt, authlib.jose, cryptography"}}.run(t)
		if err == nil {
			return command
		}
		said += command + ": " + out
	}
	require.Fail(t, "no Python with the packages: apt-get install python3-jwt python3-authlib python3-cryptography, or the like", said)
	return ""
}
