package httpauth

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/tokenfile"
)

// WriteTokenFile answers with an issued or rotated token as a .token file for the
// holder to save (S2.29): package [tokenfile] reads it. Its name has the token's
// name and the beginning of its ID. It takes the place of [WriteSecret], and what is
// said of caches and of errors there is true here.
//
// A token whose public key was uploaded has no secret: the error is then an
// [apitoken.FieldError] of secret_key, and nothing has been written.
func WriteTokenFile(w http.ResponseWriter, issued apitoken.Issued) error {
	var file bytes.Buffer
	if err := tokenfile.Encode(&file, tokenfile.File{ID: issued.Token.ID, Secret: issued.Secret}); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache") // for caches of HTTP/1.0 on the way
	h.Set("Content-Disposition", `attachment; filename="`+tokenFileName(&issued.Token)+`"`)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(file.Bytes())
	return err
}

const (
	maxFileName = 64
	idInName    = 8
)

// tokenFileName keeps of a name what is safe in a header and in every file system.
// With the ID behind it, it is none of the names that some systems reserve.
func tokenFileName(t *apitoken.View) string {
	safe := func(s string, limit int) string {
		s = strings.Map(func(r rune) rune {
			if r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
				return r
			}
			return '-'
		}, s)
		return strings.Trim(s[:min(len(s), limit)], "-")
	}
	name := safe(t.Name, maxFileName)
	if name == "" {
		name = "api"
	}
	return name + "-" + safe(string(t.ID), idInName) + ".token"
}
