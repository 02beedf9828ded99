package apitoken

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"slices"
	"unsafe"
)

// Secret holds the text of a token or a key so that no printing shows it: it
// writes itself as [redacted] through fmt, log/slog, encoding/json and
// encoding/gob, and as an address where reflection reaches past those. The
// zero Secret holds nothing.
//
// Reveal is the one way to the text, and easy to find with grep. Treat it like
// a password: hand it to its holder once, store it nowhere (S1.4).
type Secret struct {
	text func() string
}

// NewSecret wraps text. The library does so itself with what it generates;
// hosts need it in tests and for credentials they import.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: func() string { return text }}
}

const redacted = "[redacted]"

// Reveal returns the text, "" for the zero Secret.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return s.text()
}

// IsZero reports whether s holds nothing.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns a placeholder.
func (s Secret) String() string { return redacted }

// GoString returns a placeholder.
func (s Secret) GoString() string { return redacted }

// Format writes a placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary returns a placeholder.
func (s Secret) MarshalBinary() ([]byte, error) { return []byte(redacted), nil }

// GobEncode returns a placeholder.
func (s Secret) GobEncode() ([]byte, error) { return []byte(redacted), nil }

// The token string: <prefix>_<id><secret><checksum>.
//
// The prefix is the kind's, so that secret scanners can match it. The rest is
// base62 of fixed length, so the string is cut at its last underscore. The
// checksum is the CRC-32 (IEEE) of all before it, so that a damaged string is
// refused without asking the store, and a scanner can tell a token from noise.
const (
	idLen     = 22
	secretLen = 43
	sumLen    = 6
	bodyLen   = idLen + secretLen + sumLen

	// MaxTokenLength bounds a credential in bytes; longer input is refused
	// unread.
	MaxTokenLength = 512
	maxPrefix      = 64
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// base62Digit[c] is the value of a base62 character, and has notBase62 set for
// all others.
var base62Digit = func() (t [256]byte) {
	for i := range t {
		t[i] = notBase62
	}
	for i, c := range base62 {
		t[c] = byte(i)
	}
	return t
}()

const notBase62 = 0x80

func isBase62(s string) bool {
	var all byte
	for ; len(s) >= 5; s = s[5:] { // five at a time: this runs on every request
		all |= base62Digit[s[0]] | base62Digit[s[1]] | base62Digit[s[2]] | base62Digit[s[3]] | base62Digit[s[4]]
	}
	for i := range len(s) {
		all |= base62Digit[s[i]]
	}
	return all&notBase62 == 0
}

// randomBase62 returns n characters without modulo bias: bytes of 248 and more
// (4 × 62) are thrown away.
func randomBase62(n int) string {
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		rand.Read(buf[:]) // never fails: crypto/rand ends the program instead
		for _, b := range buf {
			if b < 248 && len(out) < n {
				out = append(out, base62[b%62])
			}
		}
	}
	return string(out)
}

func newID() ID { return ID(randomBase62(idLen)) }

// checksum adds s to the checksum of what stands before it. It reads s in place:
// crc32's assembly makes a copied buffer escape to the heap, and this runs on
// every request.
func checksum(before uint32, s string) uint32 {
	return crc32.Update(before, crc32.IEEETable, unsafe.Slice(unsafe.StringData(s), len(s)))
}

func encodeChecksum(sum uint32) (out [sumLen]byte) {
	for i := sumLen - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return out
}

// hasChecksum reports whether text stands for sum. Reading six digits is cheaper
// than writing them, and as each is in base62, one text stands for each sum.
func hasChecksum(text string, sum uint32) bool {
	var n uint64
	for i := 0; i < sumLen; i += 2 {
		n = n*(62*62) + uint64(base62Digit[text[i]])*62 + uint64(base62Digit[text[i+1]])
	}
	return n == uint64(sum) && isBase62(text)
}

func formatToken(prefix string, id ID, secret string) string {
	head := prefix + "_" + string(id) + secret
	sum := encodeChecksum(checksum(0, head))
	return head + string(sum[:])
}

// knownPrefix is a prefix of the host's, and the checksum up to and with the
// underscore that follows it.
type knownPrefix struct {
	text string
	sum  uint32
}

func newKnownPrefix(p string) knownPrefix { return knownPrefix{p, checksum(0, p+"_")} }

// tokenParts are slices of the presented string. They are unverified and do
// not leave the verifier.
type tokenParts struct {
	prefix string
	id     ID
	secret string
}

// parseToken takes a token string apart, or says that it is none: length,
// underscore, prefix, checksum, alphabet, in that order and without a store call.
// No known prefixes mean that any will do.
func parseToken(s string, known []knownPrefix) (tokenParts, bool) {
	cut := len(s) - bodyLen - 1
	if cut < 1 || cut > maxPrefix || s[cut] != '_' {
		return tokenParts{}, false
	}
	if known == nil {
		known = []knownPrefix{{s[:cut], checksum(0, s[:cut+1])}}
	}
	i := slices.IndexFunc(known, func(p knownPrefix) bool { return p.text == s[:cut] })
	if i < 0 {
		return tokenParts{}, false
	}
	body, sum := s[cut+1:len(s)-sumLen], s[len(s)-sumLen:]
	if !hasChecksum(sum, checksum(known[i].sum, body)) || !isBase62(body) {
		return tokenParts{}, false
	}
	return tokenParts{prefix: known[i].text, id: ID(body[:idLen]), secret: body[idLen:]}, true
}

// validPrefix reports whether p is [a-z][a-z0-9]*(_[a-z0-9]+)*.
func validPrefix(p string) bool {
	if p == "" || len(p) > maxPrefix || p[0] < 'a' || p[0] > 'z' || p[len(p)-1] == '_' {
		return false
	}
	for i := range len(p) {
		c := p[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' && p[i-1] != '_') {
			return false
		}
	}
	return true
}

// digestTag keeps the digests apart from any other SHA-256 of the same text.
// Tag and secret fill 55 bytes: one block of SHA-256, a second would cost as
// much again.
const digestTag = "apitoken:v1:"

// algorithmSHA256 names digestSecret, and digestLegacy, in a [Slot].
const algorithmSHA256 = "sha256"

func digestSecret(secret string) [sha256.Size]byte {
	var b [len(digestTag) + secretLen]byte
	copy(b[:], digestTag)
	copy(b[len(digestTag):], secret)
	return sha256.Sum256(b[:])
}

// hintOf shows how a token string begins: its prefix and four characters of
// its ID, both public.
func hintOf(prefix string, id ID) string { return prefix + "_" + string(id[:4]) + "…" }
