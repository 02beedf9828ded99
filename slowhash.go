package apitoken

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What a slow hash may cost. The parameters stand in the row, and a row may come
// from anywhere: beyond these it is refused, at import and again at each use.
const (
	maxArgonMemory  = 64 << 10  // KiB, so that slow hashes take 64 MiB each
	maxArgonWork    = 256 << 10 // KiB times passes
	maxArgonThreads = 16
	minBcryptCost   = 4
	maxBcryptCost   = 14 // about a second
	maxBcryptKey    = 72 // bytes; bcrypt reads no more
	maxHashText     = 256
)

// argonHash is an argon2id hash with all that it was made from but the secret.
type argonHash struct {
	memory, passes uint32 // KiB, times
	threads        uint8
	salt, sum      []byte
}

// newArgonHash hashes a secret that could be guessed, by the second parameters
// that OWASP recommends: 19 MiB, two passes.
func newArgonHash(secret string) argonHash {
	h := argonHash{memory: 19 << 10, passes: 2, threads: 1, salt: make([]byte, 16)}
	rand.Read(h.salt)
	h.sum = argon2.IDKey([]byte(secret), h.salt, h.passes, h.memory, h.threads, 32)
	return h
}

func (h argonHash) matches(secret string) bool {
	sum := argon2.IDKey([]byte(secret), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(h.sum, sum) == 1
}

// String writes h as a PHC string.
func (h argonHash) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.threads, enc.EncodeToString(h.salt), enc.EncodeToString(h.sum))
}

// parseArgonHash reads a PHC string, strictly: one text for each hash, within the
// bounds. An error says what is wrong and repeats nothing of salt or sum.
func parseArgonHash(text string) (h argonHash, err error) {
	if len(text) > maxHashText {
		return h, fmt.Errorf("is longer than %d bytes", maxHashText)
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, errors.New("is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return h, errors.New("needs the parameters m, t and p")
	}
	memory, okM := phcNumber(params[0], "m=")
	passes, okT := phcNumber(params[1], "t=")
	threads, okP := phcNumber(params[2], "p=")
	salt, okS := decodeExactly(base64.RawStdEncoding, parts[4])
	sum, okH := decodeExactly(base64.RawStdEncoding, parts[5])
	switch {
	case !okM || !okT || !okP:
		return h, errors.New("has parameters that are no numbers: m, t and p, in this order")
	case threads < 1 || threads > maxArgonThreads || passes < 1 || memory < 8*threads:
		return h, fmt.Errorf("has parameters out of bounds: p is 1 to %d, t at least 1, m at least 8 for each p", maxArgonThreads)
	case memory > maxArgonMemory || memory*passes > maxArgonWork:
		return h, fmt.Errorf("costs too much: m is at most %d, m times t at most %d", maxArgonMemory, maxArgonWork)
	case !okS || len(salt) < 8 || len(salt) > 64:
		return h, errors.New("needs a salt of 8 to 64 bytes, in base64 without padding")
	case !okH || len(sum) < 16 || len(sum) > 64:
		return h, errors.New("needs a hash of 16 to 64 bytes, in base64 without padding")
	}
	return argonHash{uint32(memory), uint32(passes), uint8(threads), salt, sum}, nil
}

// phcNumber reads a decimal of at most 7 digits, so that products of two do not
// overflow.
func phcNumber(text, name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(text, name)
	if !ok || digits == "" || len(digits) > 7 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && digits[0] != '+'
}

// decodeExactly refuses what the decoder would pass over, such as line breaks.
func decodeExactly(enc *base64.Encoding, text string) ([]byte, bool) {
	b, err := enc.Strict().DecodeString(text)
	return b, err == nil && enc.EncodeToString(b) == text
}

// checkBcrypt reads as much of a bcrypt hash as says what it costs.
func checkBcrypt(text string) error {
	const form = "is not of the form $2b$10$… with 60 characters"
	if len(text) != 60 || text[0] != '$' || text[1] != '2' || !strings.ContainsRune("aby", rune(text[2])) || text[3] != '$' || text[6] != '$' {
		return errors.New(form)
	}
	cost, err := strconv.ParseUint(text[4:6], 10, 8)
	if err != nil {
		return errors.New(form)
	}
	if cost < minBcryptCost || cost > maxBcryptCost {
		return fmt.Errorf("has cost %d: %d to %d are possible", cost, minBcryptCost, maxBcryptCost)
	}
	for i := 7; i < len(text); i++ {
		if c := text[i]; c != '.' && c != '/' && base62Digit[c] == notBase62 {
			return errors.New(form)
		}
	}
	return nil
}

// slowHashes bounds how many slow hashes are computed at once, and how many
// requests wait to begin one: callers who know nothing but a public ID can ask for
// them.
type slowHashes struct {
	slots   chan struct{}
	waiting atomic.Int64
}

func newSlowHashes(n int) *slowHashes { return &slowHashes{slots: make(chan struct{}, n)} }

var errSlowHashesBusy = errors.New("too many older credentials are being checked: try again")

// do computes one slow hash. A patient caller waits as long as ctx allows; others
// are refused when many wait already.
func (h *slowHashes) do(ctx context.Context, patient bool, compute func()) error {
	if err := ctx.Err(); err != nil {
		return outage("slow hash", err)
	}
	select {
	case h.slots <- struct{}{}:
	default:
		defer h.waiting.Add(-1)
		if h.waiting.Add(1) > int64(16*cap(h.slots)) && !patient {
			return outage("slow hash", errSlowHashesBusy)
		}
		select {
		case h.slots <- struct{}{}:
		case <-ctx.Done():
			return outage("slow hash", ctx.Err())
		}
	}
	defer func() { <-h.slots }()
	compute()
	return nil
}

// matches compares a secret with a slow hash of a slot. What this version cannot
// read matches nothing.
func (h *slowHashes) matches(ctx context.Context, slot *Slot, secret string) (match bool, err error) {
	text := string(slot.Blob)
	switch slot.Algorithm {
	case algorithmBcrypt:
		if checkBcrypt(text) != nil || len(secret) > maxBcryptKey {
			return false, nil
		}
		err = h.do(ctx, false, func() { match = bcrypt.CompareHashAndPassword(slot.Blob, []byte(secret)) == nil })
	case algorithmArgon2id:
		hash, bad := parseArgonHash(text)
		if bad != nil {
			return false, nil
		}
		err = h.do(ctx, false, func() { match = hash.matches(secret) })
	}
	return match && err == nil, err
}
