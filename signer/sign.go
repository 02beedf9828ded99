package signer

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/tokenry/apitoken"
)

// algorithm is the one that the token's credential has; there is nothing to choose.
func (o *Options) algorithm() string {
	if o.Key != nil {
		return apitoken.AlgorithmES256
	}
	return apitoken.AlgorithmHS256
}

// signed returns a compact JWS (RFC 7515, section 7.1) of a header and a payload.
func (o *Options) signed(header any, payload []byte) (string, error) {
	head, err := encodeJSON(header)
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(head) + "." + encode(payload)
	var signature []byte
	if o.Key != nil {
		signature, err = signES256(o.Key, input)
	} else {
		// RFC 7515 leaves open what a secret's text stands for: here its own bytes.
		signature, err = jwt.SigningMethodHS256.Sign(input, []byte(o.Secret.Reveal()))
	}
	if err != nil {
		return "", err
	}
	return input + "." + encode(signature), nil
}

// signES256 signs with a key that may be anywhere, and turns the ASN.1 that every
// crypto.Signer answers with into r‖s (RFC 7518, section 3.4).
func signES256(key crypto.Signer, input string) ([]byte, error) {
	digest := sha256.Sum256([]byte(input))
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return nil, &KeyError{err}
	}
	var r, s big.Int
	var inner cryptobyte.String
	outer := cryptobyte.String(der)
	if !outer.ReadASN1(&inner, asn1.SEQUENCE) || !outer.Empty() ||
		!inner.ReadASN1Integer(&r) || !inner.ReadASN1Integer(&s) || !inner.Empty() ||
		r.Sign() <= 0 || s.Sign() <= 0 || r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, &KeyError{errors.New("its answer is no ASN.1 signature of ECDSA on P-256")}
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return raw, nil
}

// encodeJSON writes v, always the same way: members in the order of the struct, no
// white space, nothing escaped for the sake of HTML.
func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
