package apitoken

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	maxKeyText = 4096

	beginKey = "-----BEGIN PUBLIC KEY-----"
	endKey   = "-----END PUBLIC KEY-----"
)

// ParsePublicKey reads a P-256 public key as openssl writes it, publicKey.pem of
// S2.13, of at most 4 KiB. The BEGIN and END lines are optional: both or neither.
// White space may stand anywhere or nowhere, line breaks may be written as \n, a
// byte-order mark may come first, and the padding of the base64 may be missing
// (S2.18). All else is exact: one block, labelled PUBLIC KEY, nothing around it,
// and in it the SubjectPublicKeyInfo (RFC 5480) of an uncompressed point.
//
// Errors are [ErrPrivateKey], [ErrUnsupportedKey], [ErrPointFormat],
// [ErrInvalidPoint] or [ErrMalformedKey], all of them [ErrInvalid]. They say what
// was pasted and what to do; they never repeat it (S2.14, S2.15).
func ParsePublicKey(text string) (PublicKey, error) {
	pasted := text[:min(len(text), maxKeyText)]
	plain := plainText(pasted)
	body := keyBody(plain)
	// Before any other fault: whoever pasted a private key must be told so.
	if what := privateKey(plain, body); what != "" || startsPrivate([]byte(pasted)) {
		return PublicKey{}, keyErr(ErrPrivateKey, cmp.Or(what, "a private key")+" was pasted: treat it as compromised, make a new pair, and upload publicKey.pem, which holds the public key alone")
	}
	if len(text) > maxKeyText {
		return PublicKey{}, keyErr(ErrMalformedKey, "the public key is longer than 4096 bytes: upload publicKey.pem, which has about 180")
	}
	if err := checkFrame(plain); err != nil {
		return PublicKey{}, err
	}
	der, err := decodeKey(body)
	if err != nil {
		return PublicKey{}, err
	}
	return parseCanonicalKey(der)
}

// plainText takes off a byte-order mark and makes one space of every run of white
// space, in which a line break written as \n counts.
func plainText(text string) string {
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.NewReplacer(`\r`, " ", `\n`, " ").Replace(text)
	return strings.Join(strings.FieldsFunc(text, unicode.IsSpace), " ")
}

// keyBody returns what stands between the lines of one PEM block, without white
// space, or all of a text that has no such lines. Which lines they are, and
// whether both are there, checkFrame tells.
func keyBody(text string) string {
	if _, after, found := strings.Cut(text, "-----BEGIN "); found {
		if _, body, ended := strings.Cut(after, "-----"); ended {
			text = body
		}
	}
	text, _, _ = strings.Cut(text, "-----END ")
	return strings.ReplaceAll(text, " ", "")
}

// checkFrame refuses all but one PUBLIC KEY block, with both lines or neither.
func checkFrame(text string) error {
	switch label := keyLabel(text); {
	case text == "":
		return keyErr(ErrMalformedKey, "no public key was given: upload the text of publicKey.pem")
	case strings.HasPrefix(text, "ssh-"), strings.HasPrefix(text, "ecdsa-sha2-"), strings.HasPrefix(text, "sk-"),
		strings.HasPrefix(text, "---- BEGIN SSH2"):
		return keyErr(ErrMalformedKey, sshKey)
	case strings.HasPrefix(text, "{"):
		return keyErr(ErrMalformedKey, "this is a public key as JSON (JWK): convert it to PEM, as publicKey.pem is")
	case strings.Contains(label, "CERTIFICATE REQUEST"):
		return keyErr(ErrMalformedKey, "this is a certificate request: upload the public key alone, made with openssl req -pubkey -noout -in FILE")
	case strings.Contains(label, "CERTIFICATE"):
		return keyErr(ErrMalformedKey, "this is a certificate: upload the public key alone, made with openssl x509 -pubkey -noout -in FILE")
	case label == "RSA PUBLIC KEY":
		return keyErr(ErrUnsupportedKey, "this is an RSA key"+wantedKey)
	case label != "" && label != "PUBLIC KEY":
		return keyErr(ErrMalformedKey, "this is a PEM block of another kind: upload publicKey.pem, whose lines say PUBLIC KEY")
	}
	begins, ends := strings.Count(text, "-----BEGIN "), strings.Count(text, "-----END ")
	switch {
	case begins == 0 && ends == 0:
		return nil
	case begins > 1 || ends > 1:
		return keyErr(ErrMalformedKey, "there is more than one PEM block: upload one public key")
	case !strings.Contains(text, beginKey) || !strings.Contains(text, endKey):
		return keyErr(ErrMalformedKey, "one of the BEGIN and END lines is missing or damaged: leave both as openssl wrote them, or leave both out")
	case !strings.HasPrefix(text, beginKey) || !strings.HasSuffix(text, endKey):
		return keyErr(ErrMalformedKey, "there is text outside the BEGIN and END lines: upload nothing but the block")
	case strings.Contains(text, ":"):
		return keyErr(ErrMalformedKey, "the block has PEM headers, lines with a colon: remove them")
	}
	return nil
}

// keyLabel returns the label of the first PEM block, "" where there is none.
func keyLabel(text string) string {
	_, after, _ := strings.Cut(text, "-----BEGIN ")
	label, _, _ := strings.Cut(after, "-----")
	return label
}

// decodeKey reads standard base64, padded or not, and accepts one text for each
// key.
func decodeKey(body string) ([]byte, error) {
	enc := base64.RawStdEncoding
	if strings.HasSuffix(body, "=") {
		enc = base64.StdEncoding
	}
	der, ok := decodeExactly(enc, body)
	if ok {
		return der, nil
	}
	if strings.ContainsAny(body, "-_") {
		return nil, keyErr(ErrMalformedKey, "the public key has characters that base64 in PEM does not have, such as - and _: upload publicKey.pem as openssl wrote it")
	}
	return nil, keyErr(ErrMalformedKey, "the public key is not base64, or a part of it is missing: upload publicKey.pem, whole, as text")
}

// A public key that is not in the stored form, by its object identifiers.
var (
	oidECPublicKey = "\x2a\x86\x48\xce\x3d\x02\x01"
	oidP256        = "\x2a\x86\x48\xce\x3d\x03\x01\x07"

	otherKeys = map[string]string{
		"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01": "an RSA key",
		"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x07": "an RSA key",
		"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a": "an RSA key",
		"\x2a\x86\x48\xce\x38\x04\x01":         "a DSA key",
		"\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01": "a Diffie-Hellman key",
		"\x2a\x86\x48\xce\x3e\x02\x01":         "a Diffie-Hellman key",
		"\x2b\x65\x6e":                         "an X25519 key",
		"\x2b\x65\x6f":                         "an X448 key",
		"\x2b\x65\x70":                         "an Ed25519 key",
		"\x2b\x65\x71":                         "an Ed448 key",
	}
	otherCurves = map[string]string{
		"\x2b\x81\x04\x00\x21":                 "P-224",
		"\x2b\x81\x04\x00\x22":                 "P-384",
		"\x2b\x81\x04\x00\x23":                 "P-521",
		"\x2b\x81\x04\x00\x0a":                 "secp256k1",
		"\x2a\x86\x48\xce\x3d\x03\x01\x01":     "P-192",
		"\x2b\x24\x03\x03\x02\x08\x01\x01\x07": "brainpoolP256r1",
		"\x2a\x81\x1c\xcf\x55\x01\x82\x2d":     "SM2",
	}
)

const (
	sshKey    = "this is a public key in the form of SSH: if it is on P-256, convert it with ssh-keygen -e -m pkcs8 -f FILE"
	wantedKey = ": an EC key on P-256 (prime256v1) is wanted, as openssl ecparam -genkey -name prime256v1 makes it"
)

// explainKey says why der is not the one form of a P-256 key.
func explainKey(der []byte) error {
	if bytes.HasPrefix(der, []byte("\x00\x00\x00")) { // the length of an SSH algorithm's name
		return keyErr(ErrMalformedKey, sshKey)
	}
	in := cryptobyte.String(der)
	var info, algorithm, oid, bits cryptobyte.String
	switch {
	case !in.ReadASN1(&info, asn1.SEQUENCE):
		return keyErr(ErrMalformedKey, "the public key is damaged, cut off, or not written as DER: upload publicKey.pem as openssl wrote it")
	case !in.Empty():
		return keyErr(ErrMalformedKey, "there are bytes after the public key: upload publicKey.pem as openssl wrote it")
	case info.PeekASN1Tag(asn1.INTEGER):
		return keyErr(ErrUnsupportedKey, "this is an RSA key"+wantedKey)
	case !info.ReadASN1(&algorithm, asn1.SEQUENCE):
		return keyErr(ErrMalformedKey, "this is no public key: upload the text of publicKey.pem, whole")
	case !algorithm.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER):
		return keyErr(ErrMalformedKey, "this is a certificate, a certificate request or the like: upload the public key alone")
	}
	if string(oid) != oidECPublicKey {
		return keyErr(ErrUnsupportedKey, "this is "+cmp.Or(otherKeys[string(oid)], "a key of another algorithm")+wantedKey)
	}
	if algorithm.PeekASN1Tag(asn1.SEQUENCE) {
		return keyErr(ErrUnsupportedKey, "this EC key spells out the parameters of its curve: name the curve with "+convertKey+"; it must be P-256")
	}
	var curve cryptobyte.String
	if !algorithm.ReadASN1(&curve, asn1.OBJECT_IDENTIFIER) || !algorithm.Empty() {
		return keyErr(ErrMalformedKey, "this EC key does not name its curve: upload publicKey.pem as openssl wrote it")
	}
	if string(curve) != oidP256 {
		return keyErr(ErrUnsupportedKey, "this is an EC key on "+cmp.Or(otherCurves[string(curve)], "another curve")+wantedKey)
	}
	if !info.ReadASN1(&bits, asn1.BIT_STRING) || !info.Empty() || len(bits) < 2 || bits[0] != 0 {
		return keyErr(ErrMalformedKey, "the public key is damaged: upload publicKey.pem as openssl wrote it")
	}
	return explainPoint(bits[1:])
}

// explainPoint says why a P-256 key with this point (SEC 1, 2.3.3) is refused.
func explainPoint(point []byte) error {
	switch {
	case point[0] == 2 || point[0] == 3:
		return keyErr(ErrPointFormat, "the point of this public key is compressed: convert it with "+convertKey)
	case point[0] == 6 || point[0] == 7:
		return keyErr(ErrPointFormat, "the point of this public key is in hybrid form: convert it with "+convertKey)
	case point[0] == 0:
		return keyErr(ErrInvalidPoint, "this public key is the point at infinity, which nobody can sign for: make a new pair")
	case len(point) == 1+2*32:
		return keyErr(ErrInvalidPoint, "this public key is no point of the curve P-256, or it was damaged: upload publicKey.pem as openssl wrote it")
	}
	return keyErr(ErrMalformedKey, "the point of this public key has a wrong length: upload publicKey.pem as openssl wrote it")
}

// keyErr says more than its parent: what was pasted, and what to do.
func keyErr(parent error, text string) error {
	return &refusal{parent: parent, reason: ReasonOf(parent), text: text}
}

// privateKey says what kind of private key was pasted, also a damaged one; "" if
// it is none. It would rather warn once too often.
func privateKey(text, body string) string {
	upper := strings.ToUpper(strings.ReplaceAll(text, "\x00", "")) // UTF-16 too
	switch label := keyLabel(upper); {
	case strings.Contains(upper, "PRIVATE KEY"), strings.Contains(upper, "PRIVATEKEY"), strings.Contains(upper, "PRIVATE-LINES"):
		return "a private key"
	case label == "EC PARAMETERS":
		return "a file of a key pair"
	case strings.HasPrefix(upper, "{") && strings.Contains(upper, `"D"`):
		return "a private key as JSON (JWK)"
	}
	if startsPrivate(decodeStart(body)) {
		return "a private key"
	}
	return ""
}

// decodeStart decodes as much of body as is base64, of either alphabet.
func decodeStart(body string) []byte {
	body = strings.NewReplacer("-", "+", "_", "/").Replace(body)
	end := strings.IndexFunc(body, func(r rune) bool {
		return r > unicode.MaxASCII || base62Digit[r] == notBase62 && r != '+' && r != '/'
	})
	if end >= 0 {
		body = body[:end]
	}
	der, _ := base64.RawStdEncoding.DecodeString(body[:len(body)/4*4])
	return der
}

// oidsPBE are how an encrypted PKCS#8 key begins (RFC 8018), inside two sequences.
var oidsPBE = [][]byte{
	{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05}, // PKCS#5: PBES1, PBES2
	{0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c}, // PKCS#12
}

// startsPrivate looks at the first bytes only, because part of a private key is a
// leak too. PKCS#8 (RFC 5958), SEC 1 (RFC 5915) and PKCS#1 (RFC 8017) begin with a
// version of 0 or 1 where a public key has its algorithm.
func startsPrivate(der []byte) bool {
	in, ok := enterSequence(der)
	if !ok {
		return false
	}
	if len(in) >= 3 && in[0] == 2 && in[1] == 1 && in[2] <= 1 {
		return true
	}
	in, ok = enterSequence(in)
	return ok && slices.ContainsFunc(oidsPBE, func(oid []byte) bool { return bytes.HasPrefix(in, oid) })
}

// enterSequence returns what follows the tag and length of a sequence, of which
// the end may be missing.
func enterSequence(der []byte) ([]byte, bool) {
	if len(der) < 2 || der[0] != 0x30 {
		return nil, false
	}
	head := 2
	if der[1] > 0x80 {
		head += int(der[1] & 0x7f)
	}
	if head > len(der) {
		return nil, false
	}
	return der[head:], true
}
