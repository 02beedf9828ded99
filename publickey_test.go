package apitoken_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// openssl runs the program in dir and returns what it prints.
func openssl(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "openssl %s: %s", strings.Join(args, " "), &stderr)
	return out
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(text)
}

// keyPair makes the three files of S2.13, by its commands.
func keyPair(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	openssl(t, dir, "ecparam", "-genkey", "-name", "prime256v1", "-out", "ec256-key-pair.pem")
	openssl(t, dir, "pkcs8", "-topk8", "-inform", "pem", "-in", "ec256-key-pair.pem", "-outform", "pem", "-nocrypt", "-out", "privateKey.pem")
	openssl(t, dir, "ec", "-in", "ec256-key-pair.pem", "-pubout", "-out", "publicKey.pem")
	return dir
}

func pemText(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

var keyErrors = []error{
	apitoken.ErrPrivateKey, apitoken.ErrUnsupportedKey, apitoken.ErrPointFormat, apitoken.ErrInvalidPoint, apitoken.ErrMalformedKey,
}

// requireKeyRefused checks that text is refused with want alone, and that the
// error holds no part of it (S2.15).
func requireKeyRefused(t *testing.T, text string, want error, says string) {
	t.Helper()
	k, err := apitoken.ParsePublicKey(text)
	require.True(t, k.IsZero())
	for _, one := range keyErrors {
		if one == want {
			require.ErrorIs(t, err, one)
		} else {
			require.NotErrorIs(t, err, one)
		}
	}
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.Equal(t, apitoken.ReasonOf(want), apitoken.ReasonOf(err))
	require.Contains(t, err.Error(), says)
	for i := 0; i+12 <= len(text); i++ {
		require.NotContains(t, err.Error(), text[i:i+12], "part of the input is in the error")
	}
}

func TestUploadTheFilesOfOpenSSL(t *testing.T) {
	t.Parallel()
	dir := keyPair(t) // S2.13
	text := readFile(t, dir, "publicKey.pem")
	k, err := apitoken.ParsePublicKey(text) // S2.10 S2.12
	require.NoError(t, err)
	require.False(t, k.IsZero())

	der := openssl(t, dir, "pkey", "-pubin", "-in", "publicKey.pem", "-outform", "DER")
	require.Equal(t, der, k.DER())
	sum := sha256.Sum256(der)
	require.Equal(t, hex.EncodeToString(sum[:]), k.Fingerprint())

	k.DER()[30]++
	require.Equal(t, der, k.DER(), "the copy is the caller's")

	// S2.14
	requireKeyRefused(t, readFile(t, dir, "privateKey.pem"), apitoken.ErrPrivateKey, "upload publicKey.pem")
	requireKeyRefused(t, readFile(t, dir, "ec256-key-pair.pem"), apitoken.ErrPrivateKey, "upload publicKey.pem")
}

// S2.18
func TestParsePublicKeyShapes(t *testing.T) {
	t.Parallel()
	want := uploaded(t, newKey(t, elliptic.P256()))
	text := pemText("PUBLIC KEY", want.DER())
	lines := strings.Split(strings.TrimSpace(text), "\n")
	body := base64.StdEncoding.EncodeToString(want.DER())
	require.Len(t, body, 124)

	for name, in := range map[string]string{
		"as it comes":                   text,
		"no newline at the end":         strings.TrimSpace(text),
		"CRLF":                          strings.ReplaceAll(text, "\n", "\r\n"),
		"CR":                            strings.ReplaceAll(text, "\n", "\r"),
		"one line, spaces":              strings.ReplaceAll(text, "\n", " "),
		"one line, nothing":             strings.ReplaceAll(text, "\n", ""),
		"many lines":                    lines[0] + "\n" + strings.Join(strings.Split(body, ""), "\n") + "\n" + lines[len(lines)-1],
		"tabs":                          "\t" + strings.Join(lines, "\t\t") + "\t",
		"blank lines around":            "\n\n  " + strings.Join(lines, "\n\n") + "\n \n",
		"no-break spaces of a web page": strings.ReplaceAll(text, "\n", "\u00a0\n\u00a0"),
		"line separators":               strings.ReplaceAll(text, "\n", "\u2028"),
		"written line breaks":           strings.ReplaceAll(text, "\n", `\n`),
		"written CRLF":                  strings.ReplaceAll(text, "\n", `\r\n`),
		"byte-order mark":               "\ufeff" + text,
		"byte-order mark, no lines":     "\ufeff" + body,
		"no BEGIN and END":              strings.Join(lines[1:len(lines)-1], "\n"),
		"no BEGIN and END, one line":    body,
		"no BEGIN and END, CRLF":        strings.Join(lines[1:len(lines)-1], "\r\n") + "\r\n",
		"no padding":                    strings.ReplaceAll(text, "=", ""),
		"no padding, no lines":          strings.TrimRight(body, "="),
		"split anywhere":                body[:1] + " " + body[1:63] + "\n\n" + body[63:123] + "\t" + body[123:],
		"as long as can be":             text + strings.Repeat("\n", 4096-len(text)),
	} {
		got, err := apitoken.ParsePublicKey(in)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

func TestParsePublicKeyRefusesPrivateKeys(t *testing.T) {
	t.Parallel()
	dir := keyPair(t)
	openssl(t, dir, "pkcs8", "-topk8", "-in", "privateKey.pem", "-passout", "pass:correct horse", "-out", "encrypted.pem")
	openssl(t, dir, "pkcs8", "-topk8", "-in", "privateKey.pem", "-v1", "PBE-SHA1-3DES", "-passout", "pass:correct horse", "-out", "encrypted12.pem")
	openssl(t, dir, "ec", "-in", "privateKey.pem", "-aes128", "-passout", "pass:correct horse", "-out", "encrypted1.pem")
	openssl(t, dir, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem")
	openssl(t, dir, "rsa", "-traditional", "-in", "rsa.pem", "-out", "rsa1.pem")
	openssl(t, dir, "genpkey", "-algorithm", "ED25519", "-out", "ed.pem")
	openssl(t, dir, "ecparam", "-genkey", "-noout", "-name", "prime256v1", "-param_enc", "explicit", "-out", "explicit.pem")

	public := readFile(t, dir, "publicKey.pem")
	text := map[string]string{}
	der := map[string][]byte{}
	for _, file := range []string{"privateKey", "ec256-key-pair", "encrypted", "encrypted12", "encrypted1", "rsa", "rsa1", "ed", "explicit"} {
		text[file] = readFile(t, dir, file+".pem")
		rest := []byte(text[file])
		for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
			der[file] = block.Bytes // of the last block, the key
		}
	}
	delete(der, "encrypted1") // nothing tells its body from noise

	pasted := map[string]string{
		"public first":        public + text["privateKey"],
		"private first":       text["privateKey"] + public,
		"other case":          strings.ReplaceAll(text["privateKey"], "PRIVATE KEY", "Private Key"),
		"UTF-16":              strings.Join(strings.Split(text["privateKey"], ""), "\x00"),
		"only the END line":   text["privateKey"][strings.Index(text["privateKey"], "\n"):],
		"written line breaks": strings.ReplaceAll(text["privateKey"], "\n", `\n`),
		"one of OpenSSH":      "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
		"one of PuTTY":        "PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\nPrivate-Lines: 1\nAAAAIQDJ\n",
		"one as JSON":         `{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`,
		"EC PARAMETERS":       text["ec256-key-pair"][:strings.Index(text["ec256-key-pair"], "-----BEGIN EC PRIVATE")],
		"at the end of 4 KiB": strings.Repeat(" ", 3600) + text["privateKey"] + strings.Repeat(" ", 4096),
	}
	for file, whole := range text {
		pasted[file] = whole
	}
	for file, b := range der {
		body := base64.StdEncoding.EncodeToString(b)
		pasted[file+", body"] = body
		pasted[file+", body in lines"] = strings.Join(slices.Collect(chunks(body, 64)), "\r\n")
		pasted[file+", body for URLs"] = base64.RawURLEncoding.EncodeToString(b)
		pasted[file+", first line only"] = body[:60]
		pasted[file+", damaged"] = body[:60] + "*" + body[61:]
		pasted[file+", as PUBLIC KEY"] = pemText("PUBLIC KEY", b)
		pasted[file+", no END line"] = "-----BEGIN PUBLIC KEY-----\n" + body
		pasted[file+", no BEGIN line"] = body + "\n-----END PUBLIC KEY-----"
		pasted[file+", binary"] = string(b)
	}
	require.Len(t, pasted, 11+9+8*9)
	for name, in := range pasted {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireKeyRefused(t, in, apitoken.ErrPrivateKey, "treat it as compromised") // S2.14 S2.15
		})
	}
}

func chunks(s string, n int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > n {
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
		yield(s)
	}
}

// spki writes a SubjectPublicKeyInfo with any algorithm.
func spki(t *testing.T, point []byte, oid asn1.ObjectIdentifier, params ...any) []byte {
	t.Helper()
	algorithm, err := asn1.Marshal(oid)
	require.NoError(t, err)
	for _, p := range params {
		b, err := asn1.Marshal(p)
		require.NoError(t, err)
		algorithm = append(algorithm, b...)
	}
	type info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	der, err := asn1.Marshal(info{
		asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: algorithm},
		asn1.BitString{Bytes: point, BitLength: 8 * len(point)},
	})
	require.NoError(t, err)
	return der
}

var (
	oidEC   = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidP256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7}
)

func TestParsePublicKeyRefuses(t *testing.T) {
	t.Parallel()
	dir := keyPair(t)
	openssl(t, dir, "req", "-new", "-key", "privateKey.pem", "-subj", "/CN=test", "-out", "csr.pem")
	openssl(t, dir, "req", "-x509", "-new", "-key", "privateKey.pem", "-subj", "/CN=test", "-out", "cert.pem")
	openssl(t, dir, "ec", "-in", "privateKey.pem", "-pubout", "-conv_form", "compressed", "-out", "compressed.pem")
	openssl(t, dir, "ec", "-in", "privateKey.pem", "-pubout", "-conv_form", "hybrid", "-out", "hybrid.pem")
	openssl(t, dir, "ec", "-in", "privateKey.pem", "-pubout", "-param_enc", "explicit", "-out", "explicit.pem")
	public := readFile(t, dir, "publicKey.pem")
	key, err := apitoken.ParsePublicKey(public)
	require.NoError(t, err)

	// other makes the public key of another algorithm.
	other := func(args ...string) string {
		openssl(t, dir, append([]string{"genpkey", "-out", "other.pem"}, args...)...)
		return string(openssl(t, dir, "pkey", "-in", "other.pem", "-pubout"))
	}
	curve := func(name string) string { return other("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+name) }
	rsa := other("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
	rsa1 := string(openssl(t, dir, "rsa", "-in", "other.pem", "-RSAPublicKey_out"))
	block := func(der []byte) string { return pemText("PUBLIC KEY", der) }
	bare := func(text string) string {
		b, _ := pem.Decode([]byte(text))
		return base64.StdEncoding.EncodeToString(b.Bytes)
	}
	replaced := func(i int, b ...byte) string { // in the DER
		der := key.DER()
		copy(der[i:], b)
		return block(der)
	}
	point := key.DER()[26:]
	p, _ := new(big.Int).SetString("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", 16)
	body := base64.StdEncoding.EncodeToString(key.DER())
	ssh := base64.StdEncoding.EncodeToString(slices.Concat([]byte("\x00\x00\x00\x13ecdsa-sha2-nistp256\x00\x00\x00\x08nistp256\x00\x00\x00\x41"), point))

	for _, tc := range []struct {
		name, in string
		want     error
		says     string
	}{
		{"P-384", curve("P-384"), apitoken.ErrUnsupportedKey, "on P-384: an EC key on P-256 (prime256v1) is wanted"},
		{"P-521", curve("P-521"), apitoken.ErrUnsupportedKey, "on P-521"},
		{"P-224", curve("P-224"), apitoken.ErrUnsupportedKey, "on P-224"},
		{"P-192", curve("P-192"), apitoken.ErrUnsupportedKey, "on P-192"},
		{"secp256k1", curve("secp256k1"), apitoken.ErrUnsupportedKey, "on secp256k1"},
		{"brainpool", curve("brainpoolP256r1"), apitoken.ErrUnsupportedKey, "on brainpoolP256r1"},
		{"SM2", curve("SM2"), apitoken.ErrUnsupportedKey, "on SM2"},
		{"a curve without a name here", curve("sect283k1"), apitoken.ErrUnsupportedKey, "on another curve"},
		{"P-384, bare", bare(curve("P-384")), apitoken.ErrUnsupportedKey, "on P-384"},
		{"explicit parameters", readFile(t, dir, "explicit.pem"), apitoken.ErrUnsupportedKey, "-param_enc named_curve"},
		{"RSA", rsa, apitoken.ErrUnsupportedKey, "an RSA key: an EC key on P-256"},
		{"RSA, bare", bare(rsa), apitoken.ErrUnsupportedKey, "an RSA key"},
		{"RSA, PKCS#1", rsa1, apitoken.ErrUnsupportedKey, "an RSA key"},
		{"RSA, PKCS#1, bare", bare(rsa1), apitoken.ErrUnsupportedKey, "an RSA key"},
		{"RSA-PSS", other("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"), apitoken.ErrUnsupportedKey, "an RSA key"},
		{"Ed25519", other("-algorithm", "ED25519"), apitoken.ErrUnsupportedKey, "an Ed25519 key"},
		{"Ed448", other("-algorithm", "ED448"), apitoken.ErrUnsupportedKey, "an Ed448 key"},
		{"X25519", other("-algorithm", "X25519"), apitoken.ErrUnsupportedKey, "an X25519 key"},
		{"X448", other("-algorithm", "X448"), apitoken.ErrUnsupportedKey, "an X448 key"},
		{"Diffie-Hellman", other("-algorithm", "DH", "-pkeyopt", "group:ffdhe2048"), apitoken.ErrUnsupportedKey, "a Diffie-Hellman key"},
		{"DSA", block(spki(t, point, asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, []int{7})), apitoken.ErrUnsupportedKey, "a DSA key"},
		{"an unknown algorithm", block(spki(t, point, asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 18})), apitoken.ErrUnsupportedKey, "another algorithm"},
		{"ECDH only", block(spki(t, point, asn1.ObjectIdentifier{1, 3, 132, 1, 12}, oidP256)), apitoken.ErrUnsupportedKey, "another algorithm"},

		{"compressed", readFile(t, dir, "compressed.pem"), apitoken.ErrPointFormat, "is compressed: convert it with openssl ec"},
		{"hybrid", readFile(t, dir, "hybrid.pem"), apitoken.ErrPointFormat, "-conv_form uncompressed"},
		{"compressed, bare", bare(readFile(t, dir, "compressed.pem")), apitoken.ErrPointFormat, "is compressed"},

		{"off the curve", replaced(90, point[64]^1), apitoken.ErrInvalidPoint, "no point of the curve"},
		{"all zero", replaced(27, make([]byte, 64)...), apitoken.ErrInvalidPoint, "no point of the curve"},
		{"infinity", block(spki(t, []byte{0}, oidEC, oidP256)), apitoken.ErrInvalidPoint, "infinity"},
		{"infinity in 65 bytes", replaced(26, make([]byte, 65)...), apitoken.ErrInvalidPoint, "infinity"},
		{"x is p", replaced(27, p.Bytes()...), apitoken.ErrInvalidPoint, "no point of the curve"},
		{"y is p", replaced(59, p.Bytes()...), apitoken.ErrInvalidPoint, "no point of the curve"},
		{"an unknown form", replaced(26, 5), apitoken.ErrInvalidPoint, "no point of the curve"},

		{"nothing", "", apitoken.ErrMalformedKey, "no public key was given"},
		{"white space", " \r\n\t" + `\n`, apitoken.ErrMalformedKey, "no public key was given"},
		{"too long", public + strings.Repeat("\n", 4097-len(public)), apitoken.ErrMalformedKey, "longer than 4096 bytes"},
		{"certificate", readFile(t, dir, "cert.pem"), apitoken.ErrMalformedKey, "a certificate: upload the public key alone"},
		{"certificate, bare", bare(readFile(t, dir, "cert.pem")), apitoken.ErrMalformedKey, "a certificate"},
		{"certificate request", readFile(t, dir, "csr.pem"), apitoken.ErrMalformedKey, "a certificate request: upload the public key alone"},
		{"certificate request, bare", bare(readFile(t, dir, "csr.pem")), apitoken.ErrMalformedKey, "a certificate"},
		{"SSH", "ecdsa-sha2-nistp256 " + ssh + " me@host", apitoken.ErrMalformedKey, "ssh-keygen"},
		{"SSH, RSA", "ssh-rsa AAAAB3NzaC1yc2E=", apitoken.ErrMalformedKey, "ssh-keygen"},
		{"SSH, bare", ssh, apitoken.ErrMalformedKey, "ssh-keygen"},
		{"SSH2", "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", apitoken.ErrMalformedKey, "ssh-keygen"},
		{"JWK", `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, apitoken.ErrMalformedKey, "JWK"},
		{"PGP", "-----BEGIN PGP PUBLIC KEY BLOCK-----\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----", apitoken.ErrMalformedKey, "another kind"},
		{"label EC PUBLIC KEY", pemText("EC PUBLIC KEY", key.DER()), apitoken.ErrMalformedKey, "another kind"},
		{"label in lower case", strings.ToLower(beginLine) + body + strings.ToLower(endLine), apitoken.ErrMalformedKey, "not have"},
		{"two blocks", public + public, apitoken.ErrMalformedKey, "more than one PEM block"},
		{"two bodies", body + "\n" + body, apitoken.ErrMalformedKey, "not base64"},
		{"two bodies in a block", beginLine + body + body + endLine, apitoken.ErrMalformedKey, "not base64"},
		{"only BEGIN", beginLine + "\n" + body, apitoken.ErrMalformedKey, "BEGIN and END lines is missing"},
		{"only END", body + "\n" + endLine, apitoken.ErrMalformedKey, "BEGIN and END lines is missing"},
		{"END of another label", beginLine + body + "-----END CERTIFICATE-----", apitoken.ErrMalformedKey, "missing or damaged"},
		{"END before BEGIN", endLine + body + beginLine, apitoken.ErrMalformedKey, "outside"},
		{"four dashes", "----BEGIN PUBLIC KEY----" + body + "----END PUBLIC KEY----", apitoken.ErrMalformedKey, "not have"},
		{"text before", "my key:\n" + public, apitoken.ErrMalformedKey, "outside the BEGIN and END lines"},
		{"text after", public + "\nthanks", apitoken.ErrMalformedKey, "outside the BEGIN and END lines"},
		{"quotes", `"` + body + `"`, apitoken.ErrMalformedKey, "not base64"},
		{"PEM headers", beginLine + "\nProc-Type: 4\n\n" + body + "\n" + endLine, apitoken.ErrMalformedKey, "PEM headers"},
		{"empty block", block(nil), apitoken.ErrMalformedKey, "damaged"},
		{"a foreign character", body[:50] + "é" + body[50:], apitoken.ErrMalformedKey, "not base64"},
		{"a zero byte", body[:50] + "\x00" + body[50:], apitoken.ErrMalformedKey, "not base64"},
		{"URL alphabet", strings.Repeat("-_", 61), apitoken.ErrMalformedKey, "not have, such as - and _"},
		{"one = too few", body[:123], apitoken.ErrMalformedKey, "not base64"},
		{"one = too many", body + "=", apitoken.ErrMalformedKey, "not base64"},
		{"= in the middle", body[:60] + "=" + body[60:], apitoken.ErrMalformedKey, "not base64"},
		{"last bits set", body[:121] + string(body[121]+1) + "==", apitoken.ErrMalformedKey, "not base64"},
		{"one character lost", body[:60] + body[61:], apitoken.ErrMalformedKey, ""},
		{"first line lost", strings.Join(strings.Split(public, "\n")[2:3], ""), apitoken.ErrMalformedKey, ""},
		{"cut off", body[:64], apitoken.ErrMalformedKey, "cut off"},
		{"trailing byte", block(append(key.DER(), 0)), apitoken.ErrMalformedKey, "bytes after the public key"},
		{"length in BER", block(slices.Concat([]byte{0x30, 0x81, 0x59}, key.DER()[2:])), apitoken.ErrMalformedKey, "not written as DER"},
		{"indefinite length", block(slices.Concat([]byte{0x30, 0x80}, key.DER()[2:], []byte{0, 0})), apitoken.ErrMalformedKey, "not written as DER"},
		{"inner length in BER", block(slices.Concat([]byte{0x30, 0x5a, 0x30, 0x81, 0x13}, key.DER()[4:])), apitoken.ErrMalformedKey, ""},
		{"unused bits", replaced(25, 1), apitoken.ErrMalformedKey, ""},
		{"no curve", block(spki(t, point, oidEC)), apitoken.ErrMalformedKey, "does not name its curve"},
		{"NULL for the curve", block(spki(t, point, oidEC, asn1.NullRawValue)), apitoken.ErrMalformedKey, "does not name its curve"},
		{"something after the curve", block(spki(t, point, oidEC, oidP256, asn1.NullRawValue)), apitoken.ErrMalformedKey, "does not name its curve"},
		{"point too short", block(spki(t, point[:64], oidEC, oidP256)), apitoken.ErrMalformedKey, "wrong length"},
		{"point too long", block(spki(t, slices.Concat(point, []byte{0}), oidEC, oidP256)), apitoken.ErrMalformedKey, "wrong length"},
		{"no point", block(spki(t, nil, oidEC, oidP256)), apitoken.ErrMalformedKey, "damaged"},
		{"point alone", base64.StdEncoding.EncodeToString(point), apitoken.ErrMalformedKey, ""},
		{"binary", string(key.DER()), apitoken.ErrMalformedKey, "base64"},
		{"hexadecimal", hex.EncodeToString(key.DER()), apitoken.ErrMalformedKey, ""},
		{"the octet string instead of bits", replaced(23, 4), apitoken.ErrMalformedKey, "damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			requireKeyRefused(t, tc.in, tc.want, tc.says)
		})
	}
}

const (
	beginLine = "-----BEGIN PUBLIC KEY-----"
	endLine   = "-----END PUBLIC KEY-----"
)

// The command that refusals recommend does what they say.
func TestConvertedKeysAreAccepted(t *testing.T) {
	t.Parallel()
	dir := keyPair(t)
	want, err := apitoken.ParsePublicKey(readFile(t, dir, "publicKey.pem"))
	require.NoError(t, err)
	for _, option := range [][]string{{"-conv_form", "compressed"}, {"-conv_form", "hybrid"}, {"-param_enc", "explicit"}} {
		openssl(t, dir, append([]string{"ec", "-in", "privateKey.pem", "-pubout", "-out", "publicKey.pem"}, option...)...)
		_, err := apitoken.ParsePublicKey(readFile(t, dir, "publicKey.pem"))
		require.Error(t, err)

		_, command, found := strings.Cut(err.Error(), "openssl ")
		require.True(t, found, err)
		command, _, _ = strings.Cut(command, ";")
		openssl(t, dir, strings.Fields(command)...)
		got, err := apitoken.ParsePublicKey(readFile(t, dir, "converted.pem"))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
