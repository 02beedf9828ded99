package httpsig

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/dunglas/httpsfv"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// digests are what Content-Digest says (RFC 9530, section 2), nil for an algorithm
// that it does not name.
type digests struct{ sha256, sha512 []byte }

// parseDigests reads Content-Digest. Algorithms that are not known, or not safe
// (RFC 9530, section 5), are passed over; one that is known must be there.
func parseDigests(lines []string) (d digests, err error) {
	if _, err := joined("Content-Digest", lines); err != nil {
		return d, err
	}
	fields, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return d, malformed("Content-Digest cannot be read: %w", err)
	}
	for _, known := range []struct {
		name string
		size int
		to   *[]byte
	}{{"sha-256", sha256.Size, &d.sha256}, {"sha-512", sha512.Size, &d.sha512}} {
		member, ok := fields.Get(known.name)
		if !ok {
			continue
		}
		one, _ := member.(httpsfv.Item)
		sum, ok := one.Value.([]byte)
		if !ok || len(sum) != known.size {
			return digests{}, malformed("Content-Digest has no %d bytes for %s", known.size, known.name)
		}
		*known.to = sum
	}
	if d.sha256 == nil && d.sha512 == nil {
		return d, malformed("Content-Digest has neither sha-256 nor sha-512")
	}
	return d, nil
}

// check reads the body, compares it with every digest and puts it back. Without
// any digest there must be no body.
func (d *digests) check(w http.ResponseWriter, req *http.Request, most int64) error {
	body, err := httpauth.ReadBody(w, req, most)
	if err != nil {
		return err
	}
	if d.sha256 == nil && d.sha512 == nil && len(body) > 0 {
		return fmt.Errorf("httpsig: there is a body, and the signature does not cover its digest: %w", apitoken.ErrBodyDigest)
	}
	if d.sha256 != nil {
		sum := sha256.Sum256(body)
		if subtle.ConstantTimeCompare(sum[:], d.sha256) != 1 {
			return fmt.Errorf("httpsig: sha-256 of Content-Digest differs: %w", apitoken.ErrBodyDigest)
		}
	}
	if d.sha512 != nil {
		sum := sha512.Sum512(body)
		if subtle.ConstantTimeCompare(sum[:], d.sha512) != 1 {
			return fmt.Errorf("httpsig: sha-512 of Content-Digest differs: %w", apitoken.ErrBodyDigest)
		}
	}
	return nil
}

// contentDigest writes the field Content-Digest of a body.
func contentDigest(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}
