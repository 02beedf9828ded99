package apitoken

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// How a [Slot] checks an older credential. "sha256" is digestLegacy there.
const (
	algorithmSHA256Raw = "sha256-raw" // HMAC of a SHA-256 of the key
	algorithmSHA512Raw = "sha512-raw"
	algorithmBcrypt    = "bcrypt"
	algorithmArgon2id  = "argon2id"
)

// digestAliasMark begins the alias of a key that is found by its whole digest:
// who has such an alias has the key.
const digestAliasMark = "key."

// legacyTag keeps these digests apart from those of token strings.
const legacyTag = "apitoken:legacy:v1:"

// digestLegacy is what is stored of an older credential: its secret must have
// 20 bytes at least, so a fast digest is no weaker than the secret is.
func digestLegacy(id, secret string) [sha256.Size]byte {
	b := make([]byte, 0, len(legacyTag)+len(id)+1+len(secret))
	b = append(append(append(append(b, legacyTag...), id...), 0), secret...)
	return sha256.Sum256(b)
}

// keyed is an HMAC under Options.ImportKey. IDs are public, and so are aliases and
// digests to whoever reads the store: without the key, none of them can be used
// to try guesses at an older key.
func (s *Service) keyed(label string, parts ...string) []byte {
	m := hmac.New(sha256.New, []byte(s.opts.ImportKey.Reveal()))
	for _, part := range append([]string{"apitoken:import:v1", label}, parts...) {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) // so that no two lists of parts are one text
		m.Write([]byte(part))
	}
	return m.Sum(nil)
}

// keyedText is n characters of base62 drawn from keyed, without bias.
func (s *Service) keyedText(n int, label string, parts ...string) string {
	out := make([]byte, 0, n)
	for block := 0; len(out) < n; block++ {
		for _, b := range s.keyed(label+string(rune('0'+block)), parts...) {
			if b < 248 && len(out) < n {
				out = append(out, base62[b%62])
			}
		}
	}
	return string(out)
}

// aliasOf is what a single key is found by: its digest or its public first bytes,
// under the import key.
func (s *Service) aliasOf(f *legacyFormat, key string) string {
	if f.byHandle {
		return s.handleAlias(f, key[:f.Handle])
	}
	return s.digestAlias(f, rawDigest(f.raw, key))
}

func (s *Service) handleAlias(f *legacyFormat, handle string) string {
	return "handle." + s.keyedText(secretLen, "handle", f.Name, handle)
}

func (s *Service) digestAlias(f *legacyFormat, sum []byte) string {
	return digestAliasMark + s.keyedText(secretLen, "key", f.Name, f.raw, string(sum))
}

// rawDigest is what the host's rows hold of a key.
func rawDigest(algorithm, key string) []byte {
	if algorithm == algorithmSHA512Raw {
		sum := sha512.Sum512([]byte(key))
		return sum[:]
	}
	sum := sha256.Sum256([]byte(key))
	return sum[:]
}

// rawSlot checks a digest of the host's. What is stored is bound to its alias, so
// that it opens no other row.
func (s *Service) rawSlot(f *legacyFormat, alias string, sum []byte) Slot {
	return Slot{Algorithm: f.raw, Prefix: f.Name, Blob: s.keyed("check", f.raw, alias, string(sum))}
}

// decodeDigest reads a digest in hex or any base64.
func decodeDigest(text string, size int) ([]byte, bool) {
	if len(text) > maxHashText {
		return nil, false
	}
	if b, err := hex.DecodeString(text); err == nil {
		return b, len(b) == size
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, ok := decodeExactly(enc, text); ok && len(b) == size {
			return b, true
		}
	}
	return nil, false
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
	f.pairID("legacy.id", cred.ID)
	if n := len(cred.Secret.Reveal()); n < minLegacySecret || n > maxLegacySecret {
		f.add("legacy.secret", "has %d bytes: %d to %d are possible; a shorter secret could be guessed, so issue a new token instead", n, minLegacySecret, maxLegacySecret)
	}
}

func (f *faults) pairID(field, id string) {
	if !validLegacyID(id) {
		f.add(field, "needs 1 to %d bytes of UTF-8 without control characters", maxLegacyID)
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
	issued := len(secret) >= minLegacySecret && len(secret) <= maxLegacySecret // as Issue binds them
	fits := func(f *legacyFormat) bool { return f.Pair && f.fits(secret) }
	if !validLegacyID(id) || !issued && !slices.ContainsFunc(s.legacy, fits) {
		return ErrMalformedToken
	}
	found.now = s.now()
	rec, err := s.store.GetByAlias(ctx, id)
	switch {
	case err == nil:
		return s.openLegacy(ctx, rec, secret, func(format string) bool {
			return format == "" && issued || slices.ContainsFunc(s.legacy, func(f *legacyFormat) bool { return f.Name == format && fits(f) })
		}, found)
	case !errors.Is(err, ErrNotFound):
		return outage("store", err)
	}
	sum := digestLegacy(id, secret) // the same work as for a known ID whose secret is strong
	_ = subtle.ConstantTimeCompare(s.dummy.Primary.Blob, sum[:])
	for _, f := range s.legacy {
		if !fits(f) {
			continue
		}
		if err := s.fallBack(ctx, f, LegacyKey{Format: f.Name, ID: id, Secret: NewSecret(secret)}, id, found); err != ErrUnknownToken {
			return err
		}
	}
	return ErrUnknownToken
}

// identifyKey finds the token of a single key of an older format. What has no
// format's shape is refused before the clock is read.
func (s *Service) identifyKey(ctx context.Context, key string, found *identified) error {
	refusal := ErrMalformedToken
	for _, f := range s.legacy {
		if f.Pair || !f.fits(key) {
			continue
		}
		if refusal == ErrMalformedToken {
			refusal, found.now = ErrUnknownToken, s.now()
		}
		alias := s.aliasOf(f, key)
		rec, err := s.store.GetByAlias(ctx, alias)
		switch {
		case err == nil:
			return s.openLegacy(ctx, rec, key, func(format string) bool { return format == f.Name }, found)
		case !errors.Is(err, ErrNotFound):
			return outage("store", err)
		}
		k := LegacyKey{Format: f.Name, Handle: key[:f.Handle], Secret: NewSecret(key)}
		if err := s.fallBack(ctx, f, k, alias, found); err != ErrUnknownToken {
			return err
		}
	}
	return refusal
}

// openLegacy checks an older secret against the record that its alias names. A
// slow hash is computed here and in no other place of verification: only once a
// token was found, and only so many at once.
func (s *Service) openLegacy(ctx context.Context, rec *Record, secret string, of func(format string) bool, found *identified) error {
	refusal := ErrWrongSecret
	switch {
	case rec.Legacy.IsZero():
		refusal = ErrLegacyEnded
	case of(rec.Legacy.Prefix):
		match, err := s.opens(ctx, &rec.Legacy, rec.Alias, secret)
		if err != nil {
			return err
		}
		if match {
			refusal = nil
		}
	}
	c, err := s.compile(ctx, rec)
	if err != nil {
		return err
	}
	found.c, found.scheme = c, SchemeLegacy
	return refusal
}

// opens compares an older secret with what is stored of it. An algorithm that this
// version does not know matches nothing.
func (s *Service) opens(ctx context.Context, slot *Slot, alias, secret string) (bool, error) {
	switch slot.Algorithm {
	case algorithmSHA256:
		sum := digestLegacy(alias, secret)
		return subtle.ConstantTimeCompare(slot.Blob, sum[:]) == 1, nil
	case algorithmSHA256Raw, algorithmSHA512Raw:
		sum := s.keyed("check", slot.Algorithm, alias, string(rawDigest(slot.Algorithm, secret)))
		return subtle.ConstantTimeCompare(slot.Blob, sum) == 1, nil
	}
	return s.slow.matches(ctx, slot, secret)
}

// ofOldKey finds the token of an older single key that is imported, for managing
// calls. One that a rotation ended is found if what found it proves it: a whole
// digest does, public first bytes do not. All else is ErrNotFound.
func (s *Service) ofOldKey(ctx context.Context, key string) (*Record, error) {
	found := identified{noImport: true}
	err := s.identifyKey(ctx, key, &found)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case found.c == nil:
		return nil, ErrNotFound
	}
	rec := found.c.principal.rec
	if ended := err == ErrLegacyEnded && strings.HasPrefix(rec.Alias, digestAliasMark); err != nil && !ended {
		return nil, ErrNotFound
	}
	return rec, nil
}
