package apitoken

import (
	"fmt"
	"slices"
	"strings"
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

const (
	minImportKey = 32
	maxFormats   = 16
)

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
