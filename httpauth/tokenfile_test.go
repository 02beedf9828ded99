package httpauth_test

import (
	"errors"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/tokenfile"
)

// S2.29, S1.4: ID and secret of a generated token as one file, which nothing on the
// way may keep.
func TestWriteTokenFile(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	symmetric := w.Issue(apitoken.IssueRequest{Name: "ci", Symmetric: true})
	rotated, err := w.Service.Rotate(t.Context(), w.Actor(apitokentest.User), symmetric.Token.ID, apitoken.RotateRequest{IfVersion: symmetric.Token.Version})
	require.NoError(t, err)
	for name, issued := range map[string]apitoken.Issued{"secret key": symmetric, "rotated": rotated, "bearer value": w.bearer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := httptest.NewRecorder()
			rec.Header().Set("Cache-Control", "public, max-age=60")
			require.NoError(t, httpauth.WriteTokenFile(rec, issued))
			require.Equal(t, http.StatusOK, rec.Code)
			require.Equal(t, http.Header{
				"Cache-Control": {"no-store"}, "Pragma": {"no-cache"}, "Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"},
				"Content-Disposition": {`attachment; filename="` + issued.Token.Name + "-" + string(issued.Token.ID[:8]) + `.token"`},
			}, rec.Header())
			require.Contains(t, rec.Body.String(), "Share it with nobody")
			file, err := tokenfile.Parse(rec.Body)
			require.NoError(t, err)
			require.Equal(t, issued.Token.ID, file.ID)
			require.Equal(t, issued.Secret.Reveal(), file.Secret.Reveal())
		})
	}
}

// S2.29: the private key of an uploaded public key was never here.
func TestWriteTokenFileOfAnUploadedKey(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	issued := w.Issue(apitoken.IssueRequest{PublicKey: publicPEM(fixedKey(9))})
	rec := httptest.NewRecorder()
	err := httpauth.WriteTokenFile(rec, issued)
	require.Empty(t, rec.Header(), "the handler can still answer with an error")
	require.Empty(t, rec.Body.String())
	httpauth.WriteError(rec, nil, err)
	require.Equal(t, http.StatusUnprocessableEntity, rec.Code)
	require.Contains(t, rec.Body.String(), "uploaded public key")
	require.Equal(t, "secret_key", body(t, rec)["errors"].([]any)[0].(map[string]any)["field"])
}

// Whatever the token is called, the header holds one safe name.
func TestWriteTokenFileName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"ci": "ci-2w7RkZ01.token", "": "api-2w7RkZ01.token", "..": "api-2w7RkZ01.token", "CON": "CON-2w7RkZ01.token", "ünïcode": "n-code-2w7RkZ01.token",
		"a\"; filename=\"evil.exe": "a---filename--evil-exe-2w7RkZ01.token", "a\r\nSet-Cookie: b": "a--Set-Cookie--b-2w7RkZ01.token",
		"../../etc/passwd": "etc-passwd-2w7RkZ01.token", `C:\a`: "C--a-2w7RkZ01.token", "a\x00b": "a-b-2w7RkZ01.token", "---": "api-2w7RkZ01.token",
		strings.Repeat("a", 256): strings.Repeat("a", 64) + "-2w7RkZ01.token", "日本": "api-2w7RkZ01.token", "build server": "build-server-2w7RkZ01.token",
	} {
		rec := httptest.NewRecorder()
		issued := apitoken.Issued{Token: apitoken.View{Token: apitoken.Token{ID: "2w7RkZ0123456789abcdef", Name: name}}, Secret: apitoken.NewSecret("acme_1")}
		require.NoError(t, httpauth.WriteTokenFile(rec, issued))
		require.Len(t, rec.Header(), 5)
		kind, params, err := mime.ParseMediaType(rec.Header().Get("Content-Disposition"))
		require.NoError(t, err)
		require.Equal(t, "attachment", kind)
		require.Equal(t, map[string]string{"filename": want}, params)
	}
}

func TestWriteTokenFileReportsFailure(t *testing.T) {
	t.Parallel()
	gone := errors.New("connection reset")
	w := newSignedWorld(t)
	require.Equal(t, gone, httpauth.WriteTokenFile(goneWriter{httptest.NewRecorder(), gone}, w.bearer))
}
