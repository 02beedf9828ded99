package apitoken

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Children of [ErrInvalid] that [ParsePublicKey] returns. None repeats any of
// what was pasted. The error itself says more: what it was, and what to do.
var (
	ErrPrivateKey     = child(ErrInvalid, "private_key", "this holds a private key: treat it as compromised and make a new pair; upload publicKey.pem only")
	ErrUnsupportedKey = child(ErrInvalid, "unsupported_key", "this is another kind of key: upload an EC public key on P-256 (prime256v1)")
	ErrPointFormat    = child(ErrInvalid, "point_format", "the point of this public key is not in uncompressed form: convert it with "+convertKey)
	ErrInvalidPoint   = child(ErrInvalid, "invalid_point", "this public key is no point of the curve P-256: make it again from the private key")
	ErrMalformedKey   = child(ErrInvalid, "malformed_key", "this is no public key: upload the text of publicKey.pem, whole")
)

const (
	// convertKey turns every P-256 public key that openssl reads into the form
	// wanted here.
	convertKey = "openssl ec -pubin -in publicKey.pem -conv_form uncompressed -param_enc named_curve -pubout -out converted.pem"

	keyLen       = len(keyPrefix) + 1 + 2*32
	signatureLen = 2 * 32
)

// keyPrefix is all of the SubjectPublicKeyInfo of a P-256 key (RFC 5480) before
// its point: the key is an ecPublicKey on prime256v1, and 65 bytes follow.
const keyPrefix = "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"

// PublicKey is a P-256 public key, the only kind that can be uploaded (S2.12).
// It is immutable. The zero PublicKey is none. Two are the same key if their
// fingerprints are equal.
type PublicKey struct {
	key *parsedKey
}

type parsedKey struct {
	ecdsa *ecdsa.PublicKey
	der   [keyLen]byte
}

// IsZero reports whether k is none.
func (k PublicKey) IsZero() bool { return k.key == nil }

// DER returns the SubjectPublicKeyInfo (RFC 5480) of k, 91 bytes, nil for the zero
// PublicKey. It is the caller's to keep.
func (k PublicKey) DER() []byte {
	if k.key == nil {
		return nil
	}
	return bytes.Clone(k.key.der[:])
}

// Fingerprint returns the SHA-256 of [PublicKey.DER] in lower-case hexadecimal, ""
// for the zero PublicKey. The owner of the key gets the same from
//
//	openssl pkey -pubin -in publicKey.pem -outform DER | sha256sum
func (k PublicKey) Fingerprint() string {
	if k.key == nil {
		return ""
	}
	sum := sha256.Sum256(k.key.der[:])
	return hex.EncodeToString(sum[:])
}

// parseCanonicalKey reads the one form in which keys are stored.
func parseCanonicalKey(der []byte) (PublicKey, error) {
	if len(der) != keyLen || string(der[:len(keyPrefix)]) != keyPrefix {
		return PublicKey{}, explainKey(der)
	}
	point := der[len(keyPrefix):]
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return PublicKey{}, explainPoint(point)
	}
	return PublicKey{&parsedKey{ecdsa: key, der: [keyLen]byte(der)}}, nil
}

// verifyES256 reports whether signature is r‖s of k over signed (RFC 7518, 3.4;
// RFC 9421, 3.3.4). High values of s are accepted, half of all signers make them:
// a replay is known by what was signed, never by its signature.
func (k PublicKey) verifyES256(signed, signature []byte) bool {
	if k.key == nil || len(signature) != signatureLen {
		return false
	}
	var buf [2 + 2*(2+33)]byte
	der := append(buf[:0], 0x30, 0)
	der = appendInteger(der, signature[:signatureLen/2])
	der = appendInteger(der, signature[signatureLen/2:])
	der[1] = byte(len(der) - 2)
	digest := sha256.Sum256(signed)
	return ecdsa.VerifyASN1(k.key.ecdsa, digest[:], der)
}

// appendInteger writes the DER of a big-endian unsigned number of at most 32 bytes.
func appendInteger(der, n []byte) []byte {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	if n[0] >= 0x80 {
		der = append(der, 2, byte(len(n)+1), 0)
	} else {
		der = append(der, 2, byte(len(n)))
	}
	return append(der, n...)
}

// isDERSignature reports whether sig has the form that openssl and many libraries
// write where r‖s is wanted: the operator is told so.
func isDERSignature(sig []byte) bool {
	in := cryptobyte.String(sig)
	var seq, r, s cryptobyte.String
	return in.ReadASN1(&seq, asn1.SEQUENCE) && in.Empty() &&
		seq.ReadASN1(&r, asn1.INTEGER) && seq.ReadASN1(&s, asn1.INTEGER) && seq.Empty() &&
		len(r) > 0 && len(r) <= 33 && len(s) > 0 && len(s) <= 33
}
