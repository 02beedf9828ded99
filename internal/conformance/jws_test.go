package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/internal/jws"
)

type jwsGroup struct {
	Comment string    `json:"comment"`
	Public  *jwkOrSet `json:"public"`
	Private *jwkOrSet `json:"private"`
}

type jwsTest struct {
	ID      int    `json:"tcId"`
	Comment string `json:"comment"`
	JWS     string `json:"jws"`
	Result  string `json:"result"`
}

// jwk is a key of the vectors (RFC 7517).
type jwk struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	ID    string `json:"kid"`
	Alg   string `json:"alg"`
	X, Y  b64
	K     b64
	N, E  b64
}

type jwkOrSet struct {
	jwk
	Keys []jwk `json:"keys"`
}

type b64 []byte

func (b *b64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawURLEncoding.DecodeString(string(text))
	return err
}

// excluded are vectors whose answer is not ours, by file and number, with the
// answer that is.
var excluded = map[string]map[int]struct {
	accepted bool
	why      string
}{
	"json_web_signature_test.json": {
		354: {true, "the use of the key is enc: an uploaded key has no such attribute"},
		356: {true, "the operation of the key is encrypt: an uploaded key has no such attribute"},
		367: {true, "the text is that of vector 357, which is valid"},
		370: {true, "the text is that of vector 357, which is valid"},
		372: {false, "the header is not base64: a lenient decoder would pass over the character"},
		373: {false, "the payload is not base64: a lenient decoder would pass over the character"},
	},
}

// Signatures of algorithms that tokens do not have (RSA, P-521) are refused whatever
// the vectors say: their keys cannot be uploaded, and no token of another algorithm
// takes them.
//
// The payloads are no JSON: what the scheme asks of them comes after the signature.
// Of the other files for JSON, json_web_crypto_test.json repeats these signatures,
// json_web_key_test.json is about attributes and sets of keys in a form that cannot
// be uploaded, and json_web_encryption_test.json is about encryption.
func TestJWS(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	stranger := upload(t, env, strangersKey)
	const name = "json_web_signature_test.json"
	groups, tests := load[jwsGroup, jwsTest](t, name, 401)
	counts := map[string]int{}
	for i, g := range groups {
		key := g.Private
		if g.Public != nil {
			key = g.Public
		}
		check := checkerOf(t, env, key.jwk)
		for _, tc := range tests[i] {
			want := tc.Result == "valid"
			if ex, ok := excluded[name][tc.ID]; ok {
				counts["excluded"]++
				require.NotEqual(t, ex.accepted, want, "%d: needs no exclusion", tc.ID)
				want = ex.accepted
			}
			if check == nil {
				counts["other algorithm, "+tc.Result]++
				require.Error(t, read(tc.JWS, key.ID, func(alg string, c jws.Compact) error {
					return verify(t, env, stranger, alg, c.Signed, c.Signature)
				}), "%d %s", tc.ID, tc.Comment)
				continue
			}
			err := read(tc.JWS, key.ID, check)
			if want {
				counts["accepted"]++
				require.NoError(t, err, "%d %s", tc.ID, tc.Comment)
			} else {
				counts["refused"]++
				require.Error(t, err, "%d %s", tc.ID, tc.Comment)
			}
		}
	}
	require.Equal(t, map[string]int{
		"accepted": 14, "refused": 67, "excluded": 6, // the six are among the first two
		"other algorithm, valid": 34, "other algorithm, invalid": 286,
	}, counts)
}

// read is what a scheme does with a compact JWS before its signature is checked.
func read(text, kid string, check func(alg string, c jws.Compact) error) error {
	c, err := jws.Parse([]byte(text), jws.Limits{})
	if err != nil {
		return err
	}
	header, err := jws.ParseObject(c.Header)
	if err != nil {
		return err
	}
	if err := jws.CheckHeader(header); err != nil {
		return err
	}
	if got, err := header.String("kid"); err != nil || got != kid {
		return errors.Join(errors.New("another key ID"), err)
	}
	alg, err := header.String("alg")
	if err != nil {
		return err
	}
	return check(alg, c)
}

// checkerOf makes a token that has the key, and returns what checks signatures of
// it; nil for keys that no token can have. Secret keys are generated, so theirs are
// checked by the primitive itself.
func checkerOf(t *testing.T, env *apitokentest.Env, key jwk) func(alg string, c jws.Compact) error {
	t.Helper()
	switch {
	case key.Type == "oct" && key.Alg == "HS256":
		return func(alg string, c jws.Compact) error {
			if alg != apitoken.AlgorithmHS256 {
				return apitoken.ErrAlgorithm
			}
			return jwt.SigningMethodHS256.Verify(string(c.Signed), c.Signature, []byte(key.K))
		}
	case key.Type == "EC" && key.Curve == "P-256":
		id := upload(t, env, ecText(t, key, elliptic.P256()))
		return func(alg string, c jws.Compact) error {
			return verify(t, env, id, alg, c.Signed, c.Signature)
		}
	case key.Type == "EC":
		require.Equal(t, "P-521", key.Curve)
		_, err := apitoken.ParsePublicKey(ecText(t, key, elliptic.P521()))
		require.ErrorIs(t, err, apitoken.ErrUnsupportedKey)
	default:
		require.Equal(t, "RSA", key.Type)
		text := keyText(t, &rsa.PublicKey{N: new(big.Int).SetBytes(key.N), E: int(new(big.Int).SetBytes(key.E).Int64())})
		_, err := apitoken.ParsePublicKey(text)
		require.ErrorIs(t, err, apitoken.ErrUnsupportedKey)
	}
	return nil
}

func ecText(t *testing.T, key jwk, curve elliptic.Curve) string {
	t.Helper()
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, key.X, key.Y))
	require.NoError(t, err)
	return keyText(t, public)
}

func keyText(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// strangersKey is of a token that has nothing to do with the vectors: the
// generator of the curve.
const strangersKey = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
