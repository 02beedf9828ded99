package apitoken

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"unicode/utf8"
)

// legacyTag keeps these digests apart from those of token strings.
const legacyTag = "apitoken:legacy:v1:"

// digestLegacy is what is stored of an older credential: its secret must have
// 20 bytes at least, so a fast digest is no weaker than the secret is.
func digestLegacy(id, secret string) [sha256.Size]byte {
	b := make([]byte, 0, len(legacyTag)+len(id)+1+len(secret))
	b = append(append(append(append(b, legacyTag...), id...), 0), secret...)
	return sha256.Sum256(b)
}

// checkLegacy checks the older credential of a request to issue.
func (f *faults) checkLegacy(cred LegacyCredential, r *kindRules) {
	if cred.ID == "" && cred.Secret.IsZero() {
		return
	}
	if !r.Legacy {
		f.add("legacy", "tokens of kind %q take no older credential: use a kind whose policy has Legacy", r.kind)
		return
	}
	if !validLegacyID(cred.ID) {
		f.add("legacy.id", "needs 1 to %d bytes of UTF-8 without control characters", maxLegacyID)
	}
	if n := len(cred.Secret.Reveal()); n < minLegacySecret || n > maxLegacySecret {
		f.add("legacy.secret", "has %d bytes: %d to %d are possible; a shorter secret could be guessed, so issue a new token instead", n, minLegacySecret, maxLegacySecret)
	}
}

// validLegacyID keeps away from the store what it cannot hold: a database refuses
// such text with an error, which would be an outage.
func validLegacyID(id string) bool {
	return id != "" && len(id) <= maxLegacyID && utf8.ValidString(id) && !hasControl(id, false)
}

// identifyLegacy finds the token of an ID and secret of an older kind. The two
// are one credential (S3.17).
func (s *Service) identifyLegacy(ctx context.Context, req *VerifyRequest, found *identified) error {
	id, secret := req.LegacyID, req.LegacySecret
	if id == "" || secret == "" {
		return ErrNoCredential
	}
	if !validLegacyID(id) || len(secret) < minLegacySecret || len(secret) > maxLegacySecret {
		return ErrMalformedToken
	}
	now := s.now()
	rec, err := s.store.GetByAlias(ctx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return outage("store", err)
	}
	blob := s.dummy.Primary.Blob
	if err == nil && !rec.Legacy.IsZero() {
		blob = rec.Legacy.Blob
	}
	sum := digestLegacy(id, secret)
	match := subtle.ConstantTimeCompare(blob, sum[:]) == 1
	if err != nil {
		return ErrUnknownToken
	}
	found.c, found.now, found.scheme = s.compile(rec), now, SchemeLegacy
	switch {
	case rec.Legacy.IsZero():
		return ErrLegacyEnded
	case !match:
		return ErrWrongSecret
	}
	return nil
}
