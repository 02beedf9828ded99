package httpauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// FuzzBoundJWT compares the reader with encoding/json and golang-jwt, for what it lets
// through: they see the same token, request and times in it.
func FuzzBoundJWT(f *testing.F) {
	const header = `{"alg":"HS256","kid":"a"}`
	claims := func(more string) string {
		return `{"iat":1800000000,"exp":1800000300,"jti":"12345678","aud":"` + audience + `","method":"GET","uri":"/v1?a=1"` + more + `}`
	}
	for _, more := range []string{
		"", `,"iss":"a","sub":"a"`, `,"sub":"b"`, `,"nbf":1800000000`, `,"body_sha256":"` + digestOf("") + `"`, `,"body_sha256":""`, `,"Aud":"x"`, `,"\u0061ud":"x"`,
		`,"iat":1`, `,"exp":1800000300`, `,"a":[{"b":1,"b":2}]`, `,"aud":["x"]`, `}`,
	} {
		f.Add([]byte(header), []byte(claims(more)))
	}
	f.Add([]byte(`{"alg":"HS256","kid":"a","crit":["exp"]}`), []byte(claims("")))
	f.Add([]byte(`{"alg":"HS256","kid":"a","KID":"b"}`), []byte(claims("")))
	f.Add([]byte(`{"alg":"none","kid":"\u0061"}`), []byte(`{"aud":["x","`+audience+`"],"iat":1.8e9}`))
	reader := httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: audience})
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		input := encode(header) + "." + encode(payload)
		r := boundRequest(http.MethodGet, "/v1?a=1", "", input+".c2ln")
		proof, err := reader.ReadProof(nil, r)
		if err != nil {
			require.ErrorIs(t, err, apitoken.ErrMalformedProof)
			require.Nil(t, proof)
			return
		}
		if proof == nil {
			require.Greater(t, len(input), 8000, "a text with two dots is a JWT unless it is too long")
			return
		}
		require.Equal(t, apitoken.SchemeJWT, proof.Scheme)
		require.Equal(t, input, string(proof.Signed))
		require.Equal(t, "sig", string(proof.Signature))

		var head map[string]any
		require.NoError(t, json.Unmarshal(header, &head))
		require.Equal(t, head["kid"], string(proof.Token))
		require.Equal(t, head["alg"], proof.Algorithm)
		require.NotEmpty(t, proof.Algorithm)
		for _, name := range []string{"crit", "b64", "jwk", "jku", "x5c", "x5u"} {
			require.NotContains(t, head, name)
		}

		var claims jwt.MapClaims
		require.NoError(t, json.Unmarshal(payload, &claims))
		audiences, err := claims.GetAudience()
		require.NoError(t, err)
		require.Contains(t, audiences, audience)
		require.Equal(t, http.MethodGet, claims["method"])
		require.Equal(t, "/v1?a=1", claims["uri"])
		require.Equal(t, claims["jti"], proof.Nonce)
		n := utf8.RuneCountInString(proof.Nonce)
		require.True(t, n >= 8 && n <= 128)
		issued, err := claims.GetIssuedAt()
		require.NoError(t, err)
		require.Equal(t, issued.Unix(), proof.Created.Unix())
		ends, err := claims.GetExpirationTime()
		require.NoError(t, err)
		require.Equal(t, ends.Unix(), proof.Expires.Unix())
		life := proof.Expires.Sub(proof.Created).Seconds()
		require.True(t, life > 0 && life <= 300)
		for _, name := range []string{"iss", "sub"} {
			if value, ok := claims[name]; ok {
				require.Equal(t, string(proof.Token), fmt.Sprint(value))
			}
		}
		digest, ok := claims["body_sha256"]
		err = proof.CheckBody(t.Context())
		require.Equal(t, !ok || digest == digestOf(""), err == nil)
	})
}
