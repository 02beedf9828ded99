package conformance_test

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

type ecdsaGroup struct {
	PublicKeyPEM string  `json:"publicKeyPem"`
	PublicKeyDER bytesOf `json:"publicKeyDer"`
}

type ecdsaTest struct {
	ID      int     `json:"tcId"`
	Comment string  `json:"comment"`
	Msg     bytesOf `json:"msg"`
	Sig     bytesOf `json:"sig"`
	Result  string  `json:"result"`
}

// Left out of the signatures that are accepted: the one over an empty text. No
// scheme signs nothing, and a proof of nothing is refused before its signature is
// looked at, which is checked instead.

// S2.12: every signature is accepted or refused as the vectors say.
func TestECDSA(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	groups, tests := load[ecdsaGroup, ecdsaTest](t, "ecdsa_secp256r1_sha256_p1363_test.json", 262)
	valid, invalid, empty := 0, 0, 0
	for i, g := range groups {
		id := upload(t, env, g.PublicKeyPEM)
		for _, tc := range tests[i] {
			err := verify(t, env, id, apitoken.AlgorithmES256, tc.Msg, tc.Sig)
			switch {
			case len(tc.Msg) == 0:
				empty++
				require.ErrorIs(t, err, apitoken.ErrMalformedProof, "%d %s", tc.ID, tc.Comment)
			case tc.Result == "valid":
				valid++
				require.NoError(t, err, "%d %s", tc.ID, tc.Comment)
			default:
				invalid++
				require.ErrorIs(t, err, apitoken.ErrUnauthenticated, "%d %s", tc.ID, tc.Comment)
			}
		}
	}
	require.Equal(t, []int{172, 89, 1}, []int{valid, invalid, empty})
}

// Signatures in ASN.1 are refused, whatever they hold. What they hold, where it is
// DER, is accepted or refused as r‖s as the vectors say.
func TestECDSAInASN1(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	groups, tests := load[ecdsaGroup, ecdsaTest](t, "ecdsa_secp256r1_sha256_test.json", 484)
	valid, invalid, unreadable, empty := 0, 0, 0, 0
	for i, g := range groups {
		id := upload(t, env, g.PublicKeyPEM)
		for _, tc := range tests[i] {
			err := verify(t, env, id, apitoken.AlgorithmES256, tc.Msg, tc.Sig)
			require.ErrorIs(t, err, apitoken.ErrUnauthenticated, "%d %s", tc.ID, tc.Comment)
			if len(tc.Msg) == 0 {
				empty++
				continue
			}
			sig, ok := fromDER(t, tc.Sig)
			if !ok {
				unreadable++
				require.Equal(t, "invalid", tc.Result, "%d %s", tc.ID, tc.Comment)
				continue
			}
			err = verify(t, env, id, apitoken.AlgorithmES256, tc.Msg, sig)
			if tc.Result == "valid" {
				valid++
				require.NoError(t, err, "%d %s", tc.ID, tc.Comment)
				// The operator is told what was sent instead.
				require.ErrorIs(t, verify(t, env, id, apitoken.AlgorithmES256, tc.Msg, tc.Sig), apitoken.ErrDERSignature)
			} else {
				invalid++
				require.ErrorIs(t, err, apitoken.ErrBadSignature, "%d %s", tc.ID, tc.Comment)
			}
		}
	}
	require.Equal(t, []int{173, 75, 232, 4}, []int{valid, invalid, unreadable, empty})
}

// fromDER reads a signature as DER and as nothing else.
func fromDER(t *testing.T, der []byte) ([]byte, bool) {
	t.Helper()
	var sig struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &sig)
	if err != nil || len(rest) > 0 {
		return nil, false
	}
	again, err := asn1.Marshal(sig)
	require.NoError(t, err)
	if !bytes.Equal(again, der) {
		return nil, false
	}
	return rs(sig.R, sig.S)
}

// The keys of the signatures are read the same from text and from DER.
func TestECDSAKeys(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"ecdsa_secp256r1_sha256_p1363_test.json": 262, "ecdsa_secp256r1_sha256_test.json": 484} {
		groups, _ := load[ecdsaGroup, ecdsaTest](t, name, n)
		for _, g := range groups {
			k, err := apitoken.ParsePublicKey(g.PublicKeyPEM)
			require.NoError(t, err)
			require.Equal(t, []byte(g.PublicKeyDER), k.DER())
		}
	}
}
