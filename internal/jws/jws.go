// Package jws is the strict front end of the schemes that sign with a compact JWS
// (RFC 7515): it takes the text apart and reads its JSON, and does no cryptography.
//
// Two readers that see different things in one signed text are the weakness it
// closes. So there is one way to write everything: no line breaks or spare bits in
// the base64, no name twice, no text after the object, no name that differs from
// another by case only. Sizes are checked before anything else.
package jws

import (
	"bytes"
	"encoding/base64"
)

// Limits bounds what [Parse] reads, in bytes.
type Limits struct {
	// MaxToken is for the whole text. Defaults to 1 MiB.
	MaxToken int
	// MaxHeader is for the header once decoded. Defaults to 8 KiB.
	MaxHeader int
}

// Compact is a compact JWS taken apart. Its signature was not checked: nothing in
// it is true yet.
type Compact struct {
	Header    []byte // decoded: see [ParseObject]
	Payload   []byte // decoded, may be empty and need not be JSON
	Signature []byte // decoded, never empty
	Signed    []byte // what the signature is over: all before the second dot, as received
}

// canonical refuses bits after the last byte: one byte string has one text.
var canonical = base64.RawURLEncoding.Strict()

// Parse takes a compact JWS apart: three parts of base64url without padding (RFC
// 7515, 3.1 and appendix C), with exactly two dots and nothing around them. The
// result shares the memory of text.
func Parse(text []byte, limits Limits) (Compact, error) {
	if limits.MaxToken <= 0 {
		limits.MaxToken = 1 << 20
	}
	if limits.MaxHeader <= 0 {
		limits.MaxHeader = 8 << 10
	}
	if len(text) > limits.MaxToken {
		return Compact{}, ErrTooLong
	}
	first := bytes.IndexByte(text, '.')
	if first < 0 {
		return Compact{}, ErrParts
	}
	if canonical.DecodedLen(first) > limits.MaxHeader {
		return Compact{}, ErrHeaderTooLong
	}
	second := bytes.IndexByte(text[first+1:], '.')
	if second < 0 {
		return Compact{}, ErrParts
	}
	second += first + 1
	if bytes.IndexByte(text[second+1:], '.') >= 0 {
		return Compact{}, ErrParts
	}
	if second+1 == len(text) {
		return Compact{}, ErrNoSignature
	}
	// The decoder passes over line breaks.
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return Compact{}, ErrBase64
	}
	buf := make([]byte, 0, canonical.DecodedLen(len(text)))
	ends := [3]int{first, second, len(text)}
	var parts [3][]byte
	start := 0
	for i, end := range ends {
		from := len(buf)
		var err error
		if buf, err = canonical.AppendDecode(buf, text[start:end]); err != nil {
			return Compact{}, ErrBase64
		}
		parts[i] = buf[from:len(buf):len(buf)]
		start = end + 1
	}
	return Compact{Header: parts[0], Payload: parts[1], Signature: parts[2], Signed: text[:second:second]}, nil
}

// unsafeHeaders change what is signed, or bring along the key to trust: a
// signature would be checked by the sender's rules (RFC 7515, 4.1.2 to 4.1.6 and
// 4.1.11; RFC 7797).
var unsafeHeaders = [...]string{"crit", "b64", "jwk", "jku", "x5c", "x5u"}

// CheckHeader refuses the header parameters with which a sender could choose how,
// or with which key, its own signature is checked. The algorithm and the key come
// from the token's record.
func CheckHeader(header Object) error {
	for _, name := range unsafeHeaders {
		if header.Has(name) {
			return ErrUnsafeHeader.of(name)
		}
	}
	return nil
}
