package conformance_test

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

type keyTest struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	Flags   []string `json:"flags"`
	Public  string   `json:"public"`
	Result  string   `json:"result"`
}

var keyErrors = []error{
	apitoken.ErrPrivateKey, apitoken.ErrUnsupportedKey, apitoken.ErrPointFormat, apitoken.ErrInvalidPoint, apitoken.ErrMalformedKey,
}

// keyError returns the one of keyErrors that err is.
func keyError(t *testing.T, err error) (found error) {
	t.Helper()
	for _, one := range keyErrors {
		if errors.Is(err, one) {
			require.NoError(t, found, "%v is two of them", err)
			found = one
		}
	}
	require.Error(t, found, "%v", err)
	return found
}

// Public keys of a set for key agreement: all that are in the one form for P-256
// are accepted. All others are refused, also those that the vectors call
// acceptable: points that are compressed, curves that are spelled out.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	_, tests := load[struct{}, keyTest](t, "ecdh_secp256r1_test.json", 612)
	accepted := 0
	refused := map[error]int{}
	for _, group := range tests {
		for _, tc := range group {
			var der bytesOf
			require.NoError(t, der.UnmarshalText([]byte(tc.Public)))
			k, err := apitoken.ParsePublicKey(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
			bare, bareErr := apitoken.ParsePublicKey(base64.StdEncoding.EncodeToString(der))
			require.Equal(t, k, bare)
			if tc.Result == "valid" {
				accepted++
				require.NoError(t, err, "%d %s", tc.ID, tc.Comment)
				require.NoError(t, bareErr)
				require.Equal(t, []byte(der), k.DER())
				continue
			}
			require.Error(t, bareErr)
			require.True(t, k.IsZero())
			refused[keyError(t, err)]++
		}
	}
	require.Equal(t, 330, accepted)
	require.Equal(t, map[error]int{
		apitoken.ErrUnsupportedKey: 71, apitoken.ErrPointFormat: 8, apitoken.ErrInvalidPoint: 20, apitoken.ErrMalformedKey: 183,
	}, refused) // 282
}

// The same keys as text.
func TestPublicKeysPEM(t *testing.T) {
	t.Parallel()
	_, tests := load[struct{}, keyTest](t, "ecdh_secp256r1_pem_test.json", 612)
	accepted, refused := 0, 0
	for _, group := range tests {
		for _, tc := range group {
			k, err := apitoken.ParsePublicKey(tc.Public)
			if tc.Result == "valid" {
				accepted++
				require.NoError(t, err, "%d %s", tc.ID, tc.Comment)
				require.False(t, k.IsZero())
				continue
			}
			refused++
			require.Error(t, err, "%d %s", tc.ID, tc.Comment)
			require.True(t, k.IsZero())
			keyError(t, err)
		}
	}
	require.Equal(t, []int{330, 282}, []int{accepted, refused})
}
