package httpauth

import (
	"encoding/json"
	"net/http"

	"github.com/tokenry/apitoken"
)

// WriteSecret answers with an issued or rotated token and its secret:
//
//	{"token": {"id": …}, "secret": "acme_…"}
//
// 201 for a new token, 200 for a new value of one. No cache may keep the answer.
// This is the only place of the package that reveals a secret, and the only time
// that the holder sees it (S1.18, S2.30): if the error is not nil the holder may
// not have got it, and the token should be revoked. Nothing has been written when
// the error comes from encoding.
func WriteSecret(w http.ResponseWriter, issued apitoken.Issued) error {
	body, err := json.Marshal(struct {
		Token  apitoken.View `json:"token"`
		Secret string        `json:"secret,omitempty"`
	}{issued.Token, issued.Secret.Reveal()})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache") // for caches of HTTP/1.0 on the way
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	status := http.StatusCreated
	if !issued.Token.RotatedAt.IsZero() {
		status = http.StatusOK
	}
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}
