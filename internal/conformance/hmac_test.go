package conformance_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

type hmacGroup struct {
	TagSize int `json:"tagSize"` // in bits
}

type hmacTest struct {
	ID      int     `json:"tcId"`
	Comment string  `json:"comment"`
	Key     bytesOf `json:"key"`
	Msg     bytesOf `json:"msg"`
	Tag     bytesOf `json:"tag"`
	Result  string  `json:"result"`
}

// The primitive that checks HS256 does so as the vectors say, with the keys of the
// vectors, which no token can have: secret keys are generated. Tags cut to 128 bits
// are none of HS256's, even where the vectors take them for good.
func TestHMAC(t *testing.T) {
	t.Parallel()
	groups, tests := load[hmacGroup, hmacTest](t, "hmac_sha256_test.json", 174)
	valid, invalid, cut := 0, 0, 0
	for i, g := range groups {
		for _, tc := range tests[i] {
			err := jwt.SigningMethodHS256.Verify(string(tc.Msg), tc.Tag, []byte(tc.Key))
			switch {
			case g.TagSize != 256:
				cut++
				require.Error(t, err, "%d %s", tc.ID, tc.Comment)
			case tc.Result == "valid":
				valid++
				require.NoError(t, err, "%d %s", tc.ID, tc.Comment)
			default:
				invalid++
				require.Error(t, err, "%d %s", tc.ID, tc.Comment)
			}
		}
	}
	require.Equal(t, []int{33, 54, 87}, []int{valid, invalid, cut})
}

// A token's secret key signs the texts of the vectors: the key is the bytes of the
// text that was shown. What the vectors do to their invalid tags is done to these.
func TestHMACOfATokensSecret(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	issued := env.Issue(apitoken.IssueRequest{Symmetric: true})
	id, other := issued.Token.ID, env.Issue(apitoken.IssueRequest{Symmetric: true}).Token.ID
	_, tests := load[hmacGroup, hmacTest](t, "hmac_sha256_test.json", 174)
	accepted, refused := 0, 0
	for _, group := range tests {
		for _, tc := range group {
			if len(tc.Msg) == 0 {
				continue // no scheme signs nothing
			}
			h := hmac.New(sha256.New, []byte(issued.Secret.Reveal()))
			h.Write(tc.Msg)
			sum := h.Sum(nil)
			accepted++
			require.NoError(t, verify(t, env, id, apitoken.AlgorithmHS256, tc.Msg, sum))
			require.ErrorIs(t, verify(t, env, other, apitoken.AlgorithmHS256, tc.Msg, sum), apitoken.ErrBadSignature)
			require.ErrorIs(t, verify(t, env, id, apitoken.AlgorithmES256, tc.Msg, sum), apitoken.ErrAlgorithm)

			// The same difference from the right tag as in the vector.
			h = hmac.New(sha256.New, tc.Key)
			h.Write(tc.Msg)
			right := h.Sum(nil)
			damaged := bytes.Clone(sum)[:len(tc.Tag)]
			for i := range damaged {
				damaged[i] ^= right[i] ^ tc.Tag[i]
			}
			if !bytes.Equal(damaged, sum) {
				refused++
				require.ErrorIs(t, verify(t, env, id, apitoken.AlgorithmHS256, tc.Msg, damaged), apitoken.ErrBadSignature, "%d %s", tc.ID, tc.Comment)
			}
		}
	}
	require.Equal(t, []int{114, 84}, []int{accepted, refused})
}
