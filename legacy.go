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
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// LegacyFormat describes one sort of key that the host's own system issued
// before, so that its rows can be imported and its keys go on working. What is
// presented is held to the shape given here before anything is hashed or asked.
//
// A key is one string, presented as [VerifyRequest].Token, or with Pair the secret
// of an ID and secret, presented as LegacyID and LegacySecret (S3.17).
type LegacyFormat struct {
	// Name is named by [ImportRow].Format and goes into what is stored: never change
	// it. Required; taking the format out of [Options].Legacy refuses all its keys.
	Name string
	// Kind of the tokens that its keys become, unless a row says otherwise. Defaults
	// to [Options].DefaultKind.
	Kind Kind
	// Pair: the format is of secrets that come with an ID of their own.
	Pair bool
	// Prefix begins every key. "" = nothing does.
	Prefix string
	// MinLength and MaxLength bound a key in bytes, the prefix counted. Both are
	// required; at most 512, 256 for a pair's secret and 72 for bcrypt, which reads
	// no more.
	MinLength, MaxLength int
	// Alphabet is every character that may follow the prefix. Defaults to the 94
	// visible characters of ASCII.
	Alphabet string
	// Digest says what the rows hold.
	Digest LegacyDigest
	// Handle is how many of a key's first bytes, the prefix counted, are public and
	// unique, and stand in the row. A slow hash can be found by nothing else, so
	// bcrypt, argon2id and keys that could be guessed need it; pairs are found by
	// their ID and others by their digest.
	Handle int
	// Guessable: the keys were not drawn at random, so what is stored of them must be
	// a slow hash. Keys that have less than 20 bytes beyond Handle or Prefix count as
	// guessable in any case. It matters where rows hold the keys themselves.
	Guessable bool
}

// LegacyDigest says what the rows of a [LegacyFormat] hold.
type LegacyDigest string

// What rows may hold. Digests are of the whole key, or of a pair's secret, and
// nothing else.
const (
	LegacyPlain    LegacyDigest = ""         // the key itself, in ImportRow.Secret
	LegacySHA256   LegacyDigest = "sha256"   // in hex or base64, in ImportRow.Digest
	LegacySHA512   LegacyDigest = "sha512"   // in hex or base64
	LegacyBcrypt   LegacyDigest = "bcrypt"   // $2a$, $2b$ or $2y$, cost 4 to 14
	LegacyArgon2id LegacyDigest = "argon2id" // a PHC string, at most 64 MiB, and 256 MiB times passes
)

// LegacyKey is an older credential that was presented and is not known yet, for
// [Options].Fallback. It has the shape of its format; nothing else is known of it.
type LegacyKey struct {
	Format string
	ID     string // of a pair
	Handle string // the first bytes of the key, where the format has them
	Secret Secret // the key, or the pair's secret
}

// How a [Slot] checks an older credential. "sha256" is digestLegacy there.
const (
	algorithmSHA256Raw = "sha256-raw" // HMAC of a SHA-256 of the key
	algorithmSHA512Raw = "sha512-raw"
	algorithmBcrypt    = "bcrypt"
	algorithmArgon2id  = "argon2id"
)

const (
	minImportKey = 32
	maxFormats   = 16

	// digestAliasMark begins the alias of a key that is found by its whole digest:
	// who has such an alias has the key.
	digestAliasMark = "key."
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

// legacyFormat is a format made ready.
type legacyFormat struct {
	LegacyFormat
	byHandle bool   // keys are found by their first bytes and checked by a slow hash
	raw      string // algorithm of the digest that other keys are found by
	allowed  [256]bool
}

// newLegacyFormats checks the formats of Options.
func newLegacyFormats(o *Options, bad func(field, format string, args ...any)) []*legacyFormat {
	if n := len(o.ImportKey.Reveal()); len(o.Legacy) > 0 && n < minImportKey {
		bad("ImportKey", "has %d bytes: older keys need one of %d random bytes or more, kept like a password and never changed", n, minImportKey)
	}
	if o.Fallback != nil && len(o.Legacy) == 0 {
		bad("Fallback", "is asked about older keys: describe them in Legacy")
	}
	if len(o.Legacy) > maxFormats {
		bad("Legacy", "has %d formats: at most %d are possible", len(o.Legacy), maxFormats)
	}
	var formats []*legacyFormat
	for i, plain := range o.Legacy {
		f := &legacyFormat{LegacyFormat: plain}
		badHere := func(field, format string, args ...any) { bad(fmt.Sprintf("Legacy[%d].%s", i, field), format, args...) }
		f.check(o, badHere)
		if slices.ContainsFunc(formats, func(g *legacyFormat) bool { return g.Name == f.Name }) {
			badHere("Name", "%q is there twice", clip(f.Name))
		}
		formats = append(formats, f)
	}
	return formats
}

func (f *legacyFormat) check(o *Options, bad func(field, format string, args ...any)) {
	if f.Name == "" || len(f.Name) > maxClip || hasControl(f.Name, false) {
		bad("Name", "needs 1 to %d bytes without control characters", maxClip)
	}
	if f.Kind == "" {
		f.Kind = o.DefaultKind
	}
	if _, ok := o.Kinds[f.Kind]; !ok {
		bad("Kind", "%q is not in Kinds: add it there or name another", clip(string(f.Kind)))
	}
	longest, digests := MaxTokenLength, []LegacyDigest{LegacyPlain, LegacySHA256, LegacySHA512, LegacyBcrypt, LegacyArgon2id}
	if f.Pair {
		longest = maxLegacySecret
	}
	if f.Digest == LegacyBcrypt {
		longest = maxBcryptKey
	}
	if f.MinLength < 1 || f.MinLength <= len(f.Prefix) || f.MaxLength < f.MinLength || f.MaxLength > longest {
		bad("MinLength", "and MaxLength are %d and %d: give the lengths of a whole key, more than the prefix's %d and at most %d", f.MinLength, f.MaxLength, len(f.Prefix), longest)
	}
	if !slices.Contains(digests, f.Digest) {
		bad("Digest", "%q is unknown: use one of %q", clip(string(f.Digest)), digests)
	}
	for c := byte(' '); c <= '~'; c++ {
		f.allowed[c] = f.Alphabet == "" && c != ' ' || strings.IndexByte(f.Alphabet, c) >= 0
	}
	for i := range len(f.Alphabet) {
		if !f.allowed[f.Alphabet[i]] {
			bad("Alphabet", "may have visible characters of ASCII and the space only")
			break
		}
	}
	f.raw = algorithmSHA256Raw
	if f.Digest == LegacySHA512 {
		f.raw = algorithmSHA512Raw
	}
	public := max(f.Handle, len(f.Prefix))
	slow := f.Digest == LegacyBcrypt || f.Digest == LegacyArgon2id || f.Digest == LegacyPlain && (f.Guessable || f.MinLength-public < minLegacySecret)
	f.byHandle = slow && !f.Pair
	switch {
	case f.byHandle && f.Handle == 0:
		bad("Handle", "is required: a key with a slow hash is found by its public first bytes only; without them such keys cannot be imported, issue new tokens")
	case f.Handle != 0 && !f.byHandle:
		bad("Handle", "is only for single keys with a slow hash: remove it")
	case f.byHandle && (f.Handle <= len(f.Prefix) || f.Handle >= f.MinLength):
		bad("Handle", "is %d: give more than the prefix's %d bytes and less than MinLength", f.Handle, len(f.Prefix))
	}
}

// fits reports whether key has the shape of the format.
func (f *legacyFormat) fits(key string) bool {
	return len(key) >= f.MinLength && len(key) <= f.MaxLength && f.begins(key)
}

// begins reports whether s has the prefix and beyond it only the alphabet.
func (f *legacyFormat) begins(s string) bool {
	if !strings.HasPrefix(s, f.Prefix) {
		return false
	}
	for i := len(f.Prefix); i < len(s); i++ {
		if !f.allowed[s[i]] {
			return false
		}
	}
	return true
}

// guessable reports whether a pair's secret needs a slow hash.
func (f *legacyFormat) guessable(secret string) bool {
	return f.Guessable || len(secret)-len(f.Prefix) < minLegacySecret
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
	found.c, found.scheme = s.compile(rec), SchemeLegacy
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
