package conformance_test

import (
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"math/big"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// load reads a file of vectors that must have exactly so many: a shorter one would
// show less than it seems to.
func load[G, T any](t *testing.T, name string, want int) (groups []G, tests [][]T) {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, name)
	require.NoError(t, err)
	var f struct {
		NumberOfTests int               `json:"numberOfTests"`
		TestGroups    []json.RawMessage `json:"testGroups"`
	}
	require.NoError(t, json.Unmarshal(data, &f))
	require.Equal(t, want, f.NumberOfTests, name)
	n := 0
	for _, raw := range f.TestGroups {
		var g G
		var inner struct {
			Tests []T `json:"tests"`
		}
		require.NoError(t, json.Unmarshal(raw, &g))
		require.NoError(t, json.Unmarshal(raw, &inner))
		groups, tests = append(groups, g), append(tests, inner.Tests)
		n += len(inner.Tests)
	}
	require.Equal(t, want, n, name)
	return groups, tests
}

// bytesOf is a text of hexadecimal digits in a file of vectors.
type bytesOf []byte

func (b *bytesOf) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

const kind apitoken.Kind = "api"

// newEnv returns a service whose tokens may sign.
func newEnv(t *testing.T) *apitokentest.Env {
	t.Helper()
	keys, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "k1", Key: apitoken.NewSecret("0123456789abcdef0123456789abcdef")})
	require.NoError(t, err)
	return apitokentest.New(t, apitoken.Options{
		Keyring: keys,
		Kinds:   map[apitoken.Kind]apitoken.Policy{kind: {Schemes: []apitoken.Scheme{apitoken.SchemeJWT}}},
	})
}

// upload issues a token for a public key.
func upload(t *testing.T, env *apitokentest.Env, publicKey string) apitoken.ID {
	t.Helper()
	return env.Issue(apitoken.IssueRequest{PublicKey: publicKey}).Token.ID
}

// verify presents a signed text as the parser of a scheme does.
func verify(t *testing.T, env *apitokentest.Env, id apitoken.ID, algorithm string, signed, signature []byte) error {
	t.Helper()
	p, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: &apitoken.Proof{
		Scheme: apitoken.SchemeJWT, Token: id, Algorithm: algorithm,
		Signed: signed, Signature: signature, Created: env.Clock.Now(),
		Repeatable: true, // many vectors differ in nothing but the signature
	}})
	if err == nil {
		require.Equal(t, id, p.Token)
	}
	return err
}

// rs writes r‖s, and whether both fit.
func rs(r, s *big.Int) ([]byte, bool) {
	out := make([]byte, 64)
	if r.Sign() < 0 || s.Sign() < 0 || r.BitLen() > 256 || s.BitLen() > 256 {
		return nil, false
	}
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, true
}
