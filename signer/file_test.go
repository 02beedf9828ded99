package signer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
	"github.com/tokenry/apitoken/tokenfile"
)

// S2.29: what was downloaded is all that a client needs.
func TestFromFile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, secret string
		opts         signer.Options
		want         []string // the fields that are wrong
	}{
		{"a secret key", secretKey, signer.Options{Scheme: apitoken.SchemeJWS}, nil},
		{"a secret key for a JWT", secretKey, signer.Options{Scheme: apitoken.SchemeJWT, Audience: "x"}, nil},
		{"a bearer token", bearer, signer.Options{}, nil},
		{"a secret key without a scheme", secretKey, signer.Options{}, []string{"Secret"}},
		{"another credential", secretKey, signer.Options{Scheme: apitoken.SchemeJWS, Token: tokenID, Key: newKey(t), Secret: apitoken.NewSecret(secretKey)},
			[]string{"Key", "Secret", "Token"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "own.token")
			require.NoError(t, tokenfile.Write(path, tokenfile.File{ID: tokenID, Secret: apitoken.NewSecret(tc.secret)}))
			var sent base
			tc.opts.Base = &sent
			transport, warning, err := signer.FromFile(path, tc.opts)
			require.Empty(t, warning)
			if tc.want != nil {
				require.Nil(t, transport)
				var fields []string
				for _, fault := range apitoken.Fields(err) {
					fields = append(fields, fault.Field)
				}
				require.ElementsMatch(t, tc.want, fields)
				require.NotContains(t, err.Error(), tc.secret)
				return
			}
			require.NoError(t, err)
			_, err = transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
			require.NoError(t, err)
			out, jws := sent.last()
			switch tc.opts.Scheme {
			case apitoken.SchemeJWS:
				header, _ := parts(t, jws, []byte(tc.secret))
				require.Contains(t, header, `"kid":"`+string(tokenID)+`"`)
			case apitoken.SchemeJWT:
				header, _ := parts(t, out.Header.Get("Authorization")[len("Bearer "):], []byte(tc.secret))
				require.Contains(t, header, `"kid":"`+string(tokenID)+`"`)
			default:
				require.Equal(t, "Bearer "+tc.secret, out.Header.Get("Authorization"))
			}
		})
	}
}

func TestFromFileThatOthersRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "own.token")
	_, _, err := signer.FromFile(path, signer.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, tokenfile.Write(path, tokenfile.File{ID: tokenID, Secret: apitoken.NewSecret(bearer)}))
	require.NoError(t, os.Chmod(path, 0o644))
	transport, warning, err := signer.FromFile(path, signer.Options{})
	require.NoError(t, err)
	require.NotNil(t, transport)
	require.Contains(t, warning, "chmod 600")
}
