package apitoken

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"unsafe"

	"github.com/golang-jwt/jwt/v5"
)

// Credential says what proves that a request is a token's.
type Credential string

// The credentials.
const (
	CredentialBearer     Credential = "bearer"     // a token string, sent along
	CredentialSymmetric  Credential = "symmetric"  // a generated secret key that signs (S2.11)
	CredentialAsymmetric Credential = "asymmetric" // a key pair made outside; the public key is here (S2.10)
)

// credentialOf says what a slot checks, "" for an algorithm that this version does
// not know.
func credentialOf(slot *Slot) Credential {
	switch slot.Algorithm {
	case algorithmSHA256:
		return CredentialBearer
	case AlgorithmHS256:
		return CredentialSymmetric
	case AlgorithmES256:
		return CredentialAsymmetric
	}
	return ""
}

// signingMark follows the kind's prefix in a secret key, which is otherwise formed
// as a token string: it names its token, so that it is found when it leaks, and it
// is not hexadecimal, which some JavaScript takes for the bytes themselves.
const signingMark = "_sk"

// newValue is what a request for a value asks for.
type newValue struct {
	credential Credential
	key        PublicKey
}

// wanted reads which value a request asks for; before is what the token has, "" for
// a new token.
func (f *faults) wanted(publicKey string, symmetric bool, before Credential, r *kindRules, keyring bool) newValue {
	v := newValue{credential: before}
	switch {
	case publicKey != "" && symmetric:
		f.add("symmetric", "cannot be given together with public_key: choose one")
	case publicKey != "":
		v.credential = CredentialAsymmetric
		var err error
		if v.key, err = ParsePublicKey(publicKey); err != nil {
			f.addErr(&keyError{err})
		}
	case symmetric:
		v.credential = CredentialSymmetric
		if !keyring {
			f.add("symmetric", "needs a place to keep the secret key sealed: set Options.Keyring, or upload a public_key")
		}
	case before == CredentialAsymmetric:
		f.add("public_key", "is required: this token signs with a key of its holder's, so give the new public key")
	case before == CredentialSymmetric && !keyring:
		f.add("symmetric", "needs a place to keep the secret key sealed: set Options.Keyring, or upload a public_key")
	case before == "" && r.bearer:
		v.credential = CredentialBearer
	case before == "" || before == CredentialBearer && !r.bearer:
		f.add("public_key", "is required, or set symmetric: tokens of kind %q sign their requests", r.kind)
	}
	if (publicKey != "" || symmetric) && !r.signs {
		field := "public_key"
		if symmetric {
			field = "symmetric"
		}
		f.add(field, "is not for tokens of kind %q: its Policy.Schemes has none that signs", r.kind)
	}
	return v
}

// keyError names the field of a public key that was refused.
type keyError struct{ err error }

func (e *keyError) Error() string { return e.err.Error() }
func (e *keyError) Unwrap() []error {
	return []error{&FieldError{Field: "public_key", Problem: strings.TrimPrefix(e.err.Error(), "apitoken: ")}, e.err}
}
func (e *keyError) Reason() string { return ReasonOf(e.err) }

// putValue gives the record a new primary value and returns what its holder is
// shown of it: nothing for a public key.
func (s *Service) putValue(ctx context.Context, rec *Record, prefix string, v newValue) (Secret, error) {
	t := &rec.Token
	if v.credential == CredentialAsymmetric {
		rec.Primary = Slot{Algorithm: AlgorithmES256, Prefix: prefix, Blob: v.key.DER()}
		t.Hint = "SHA256:" + v.key.Fingerprint()[:12] + "…"
		return Secret{}, nil
	}
	secret := randomBase62(secretLen)
	slot := Slot{Algorithm: algorithmSHA256, Prefix: prefix}
	if v.credential == CredentialSymmetric {
		slot = Slot{Algorithm: AlgorithmHS256, Prefix: prefix + signingMark, Blob: []byte(secret)}
	} else {
		sum := digestSecret(secret)
		slot.Blob = sum[:]
	}
	var err error
	if rec.Primary, err = s.sealed(ctx, t, slot); err != nil {
		return Secret{}, err
	}
	t.Hint = hintOf(slot.Prefix, t.ID)
	return NewSecret(formatToken(slot.Prefix, t.ID, secret)), nil
}

// secretCheck is a [Slot] made ready. The zero secretCheck matches nothing.
type secretCheck struct {
	digest  [sha256.Size]byte // of a bearer value or secret key; of the public key
	prefix  string
	bearer  bool // the value may be presented as it is
	shown   bool // there is a value that may be found: all but public keys
	signing *signingKey
}

// signingKey checks signatures.
type signingKey struct {
	algorithm string
	public    PublicKey // of AlgorithmES256
	secret    []byte    // of AlgorithmHS256: the text as it was shown
}

// checkOf reads a slot. One of an algorithm that this version does not know, or
// that holds what it should not, matches nothing.
func (s *Service) checkOf(ctx context.Context, t *Token, slot *Slot) (secretCheck, error) {
	k := secretCheck{prefix: slot.Prefix}
	blob, err := s.opened(ctx, t, slot)
	if err != nil {
		return secretCheck{}, err
	}
	switch slot.Algorithm {
	case algorithmSHA256:
		if len(blob) == sha256.Size {
			copy(k.digest[:], blob)
			k.bearer, k.shown = true, true
		}
	case AlgorithmHS256:
		if len(blob) == secretLen && slot.KeyID != "" {
			secret := string(blob)
			k.digest, k.shown = digestSecret(secret), true
			k.signing = &signingKey{algorithm: AlgorithmHS256, secret: []byte(formatToken(slot.Prefix, t.ID, secret))}
		}
	case AlgorithmES256:
		if key, err := parseCanonicalKey(blob); err == nil {
			k.digest = sha256.Sum256(blob)
			k.signing = &signingKey{algorithm: AlgorithmES256, public: key}
		}
	}
	return k, nil
}

// checksOf reads both values of a record.
func (s *Service) checksOf(ctx context.Context, rec *Record) (primary, previous secretCheck, err error) {
	if primary, err = s.checkOf(ctx, &rec.Token, &rec.Primary); err == nil {
		previous, err = s.checkOf(ctx, &rec.Token, &rec.Previous)
	}
	return primary, previous, err
}

// matches compares a presented bearer value in constant time. The prefix is
// public; it is compared so that exactly one string opens a token.
func (k *secretCheck) matches(sum *[sha256.Size]byte, prefix string) bool {
	return subtle.ConstantTimeCompare(k.digest[:], sum[:]) == 1 && k.prefix == prefix && k.bearer
}

// isOf reports whether a value that was found is this one, whatever it opens.
func (k *secretCheck) isOf(sum *[sha256.Size]byte, prefix string) bool {
	return subtle.ConstantTimeCompare(k.digest[:], sum[:]) == 1 && k.prefix == prefix && k.shown
}

// same reports whether two checks are of one value.
func (k *secretCheck) same(other *secretCheck) bool {
	return k.digest == other.digest && k.prefix == other.prefix && k.bearer == other.bearer && (k.signing == nil) == (other.signing == nil)
}

// verifies reports whether signature is the key's over signed.
func (k *signingKey) verifies(signed, signature []byte) bool {
	if k.algorithm == AlgorithmES256 {
		return k.public.verifyES256(signed, signature)
	}
	// The library takes text; it only reads it.
	text := unsafe.String(unsafe.SliceData(signed), len(signed))
	return len(signature) == sha256.Size && jwt.SigningMethodHS256.Verify(text, signature, k.secret) == nil
}
