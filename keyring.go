package apitoken

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// KeyWrapper seals what checks tokens before it is stored, and opens it again, so
// that a stolen database is of no use (P10) and no secret that signs is kept in the
// clear (S2.15). [Keyring] is one with keys in memory; a key management service
// fits behind it too: it is asked when a value is made and when a record is loaded,
// which with a cache or memstore is once.
//
// It is safe for concurrent use and honours its context. Any error is an outage.
type KeyWrapper interface {
	// Primary returns the ID of the key that seals now, 1 to 64 bytes.
	Primary() string
	// Wrap seals plaintext, at most 64 bytes, with a key, into at most 1,024 bytes.
	// associated is authenticated and not kept: Unwrap gets the same.
	Wrap(ctx context.Context, keyID string, plaintext, associated []byte) ([]byte, error)
	// Unwrap opens what Wrap sealed with that key and that associated data, and
	// fails for anything else.
	Unwrap(ctx context.Context, keyID string, sealed, associated []byte) ([]byte, error)
}

// SealingKey is a key of a [Keyring].
type SealingKey struct {
	// ID stands beside everything that the key seals: 1 to 64 printable ASCII
	// characters. A key that was given an ID keeps it.
	ID string
	// Key is 32 random bytes, kept apart from the database and from its backups.
	Key Secret
}

// Keyring is a [KeyWrapper] over keys in memory: AES-256-GCM with a random nonce.
// It is safe for concurrent use. Make it with [NewKeyring].
//
// To change keys, put the new key on all nodes behind the old one, then in front of
// it, then call [Service.Rewrap], then leave the old key out.
type Keyring struct {
	primary string
	keys    map[string]cipher.AEAD
}

var _ KeyWrapper = (*Keyring)(nil)

// NewKeyring returns a keyring whose first key seals; all of them open. Errors are
// of [ErrInvalid], joined, a [FieldError] for each key that is wrong.
func NewKeyring(keys ...SealingKey) (*Keyring, error) {
	k := &Keyring{keys: make(map[string]cipher.AEAD)}
	var f faults
	if len(keys) == 0 {
		f.add("keys", "is empty: give one key at least")
	}
	for i, key := range keys {
		at := fmt.Sprintf("keys[%d]", i)
		if !validKeyID(key.ID) {
			f.add(at+".id", "needs 1 to %d printable ASCII characters", maxKeyID)
		} else if _, twice := k.keys[key.ID]; twice {
			f.add(at+".id", "%q is there already: give each key an ID of its own", key.ID)
		}
		text := key.Key.Reveal()
		if len(text) != sealingKeyLen {
			f.add(at+".key", "has %d bytes: give %d random bytes, decoded if they are kept as text", len(text), sealingKeyLen)
			continue
		}
		block, err := aes.NewCipher([]byte(text))
		if err != nil {
			return nil, err
		}
		if k.keys[key.ID], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, err
		}
	}
	if err := f.join(); err != nil {
		return nil, err
	}
	k.primary = keys[0].ID
	return k, nil
}

const (
	sealingKeyLen = 32
	maxKeyID      = 64
	maxBlob       = 1024
)

func validKeyID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return id != "" && len(id) <= maxKeyID
}

// Primary returns the ID of the first key.
func (k *Keyring) Primary() string { return k.primary }

// Wrap implements [KeyWrapper].
func (k *Keyring) Wrap(_ context.Context, keyID string, plaintext, associated []byte) ([]byte, error) {
	aead, err := k.key(keyID)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plaintext, associated), nil
}

// Unwrap implements [KeyWrapper].
func (k *Keyring) Unwrap(_ context.Context, keyID string, sealed, associated []byte) ([]byte, error) {
	aead, err := k.key(keyID)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed, associated)
	if err != nil {
		return nil, fmt.Errorf("what key %q sealed does not open: it was changed, or moved from another row, or the key is another one", keyID)
	}
	return plaintext, nil
}

func (k *Keyring) key(id string) (cipher.AEAD, error) {
	if aead, ok := k.keys[id]; ok {
		return aead, nil
	}
	return nil, fmt.Errorf("the keyring has no key %q: add it again, behind the primary one", clip(id))
}

// Format writes a placeholder, whatever the verb: no printing shows the keys.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue returns a placeholder.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder.
func (k *Keyring) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// sealed fills a slot with what checks a value, sealed if there is a keyring. What
// is not secret, a public key, is stored as it is.
func (s *Service) sealed(ctx context.Context, t *Token, slot Slot) (Slot, error) {
	switch {
	case slot.Algorithm == AlgorithmES256 || s.opts.Keyring == nil && slot.Algorithm == algorithmSHA256:
		return slot, nil
	case s.opts.Keyring == nil:
		return Slot{}, outage("keyring", errors.New("there is none, and nothing but a digest is stored without: set Options.Keyring"))
	}
	slot.KeyID = s.opts.Keyring.Primary()
	blob, err := s.opts.Keyring.Wrap(ctx, slot.KeyID, slot.Blob, sealBinding(t, &slot))
	if err != nil {
		return Slot{}, outage("keyring", err)
	}
	if !validKeyID(slot.KeyID) || len(blob) > maxBlob {
		return Slot{}, outage("keyring", fmt.Errorf("it answered with a key ID of %d and a text of %d bytes: %d and %d are possible", len(slot.KeyID), len(blob), maxKeyID, maxBlob))
	}
	slot.Blob = blob
	return slot, nil
}

// opened returns what a slot holds.
func (s *Service) opened(ctx context.Context, t *Token, slot *Slot) ([]byte, error) {
	if slot.KeyID == "" {
		return slot.Blob, nil
	}
	if s.opts.Keyring == nil {
		return nil, outage("keyring", errors.New("the token is sealed and there is no keyring: set Options.Keyring"))
	}
	blob, err := s.opts.Keyring.Unwrap(ctx, slot.KeyID, slot.Blob, sealBinding(t, slot))
	if err != nil {
		return nil, outage("keyring", err)
	}
	return blob, nil
}

// sealBinding is what ties a sealed text to its place: tenant, token, what it is
// for, and the key. A slot moves from Primary to Previous when its token is
// rotated, so which of the two it is does not count.
func sealBinding(t *Token, slot *Slot) []byte {
	var b []byte
	for _, part := range []string{"apitoken:seal:v1", t.Tenant, string(t.ID), slot.Algorithm, slot.Prefix, slot.KeyID} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}
