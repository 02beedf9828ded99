package httpauth_test

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// everyHeader reads all the headers that can carry a credential.
var everyHeader = httpauth.Options{
	Headers:            []string{"X-WallarmApi-Token", "x-api-token"},
	LegacyIDHeader:     "X-Legacy-UUID",
	LegacySecretHeader: "X-Legacy-Secret",
}

// Exactly one credential per request, from headers only (P19). The headers are
// name and value by turns.
func TestCredentials(t *testing.T) {
	t.Parallel()
	const (
		auth   = "Authorization"
		token  = "X-WallarmApi-Token"
		other  = "X-Api-Token"
		uuid   = "X-Legacy-UUID"
		secret = "X-Legacy-Secret"
	)
	one := apitoken.VerifyRequest{Token: "acme_1"}
	pair := apitoken.VerifyRequest{LegacyID: "id", LegacySecret: "s e,cret"}
	atCap := strings.Repeat("a", apitoken.MaxTokenLength)
	for _, tc := range []struct {
		name    string
		headers []string
		want    apitoken.VerifyRequest
		err     error
	}{
		{name: "none", err: apitoken.ErrNoCredential},

		{name: "Bearer", headers: []string{auth, "Bearer acme_1"}, want: one},
		{name: "bearer in lower case", headers: []string{auth, "bearer acme_1"}, want: one},
		{name: "BEARER in upper case", headers: []string{auth, "BEARER acme_1"}, want: one},
		{name: "SSWS", headers: []string{auth, "SSWS acme_1"}, want: one}, // S1.2
		{name: "ssws in lower case", headers: []string{auth, "ssws acme_1"}, want: one},
		{name: "several spaces", headers: []string{auth, "Bearer   acme_1"}, want: one},

		{name: "scheme alone", headers: []string{auth, "Bearer"}, err: apitoken.ErrUnreadableHeader},
		{name: "scheme and space", headers: []string{auth, "Bearer "}, err: apitoken.ErrUnreadableHeader},
		{name: "empty value", headers: []string{auth, ""}, err: apitoken.ErrUnreadableHeader},
		{name: "space alone", headers: []string{auth, " "}, err: apitoken.ErrUnreadableHeader},
		{name: "token without scheme", headers: []string{auth, "acme_1"}, err: apitoken.ErrUnreadableHeader},
		{name: "two words", headers: []string{auth, "Bearer acme_1 acme_2"}, err: apitoken.ErrUnreadableHeader},
		{name: "tab between words", headers: []string{auth, "Bearer acme_1\tacme_2"}, err: apitoken.ErrUnreadableHeader},
		{name: "tab after scheme", headers: []string{auth, "Bearer\tacme_1"}, err: apitoken.ErrUnreadableHeader},
		{name: "space at the end", headers: []string{auth, "Bearer acme_1 "}, err: apitoken.ErrUnreadableHeader},
		{name: "joined by a proxy", headers: []string{auth, "Bearer acme_1,Bearer acme_2"}, err: apitoken.ErrUnreadableHeader},
		{name: "two tokens joined", headers: []string{auth, "Bearer acme_1,acme_2"}, err: apitoken.ErrUnreadableHeader},
		{name: "scheme twice", headers: []string{auth, "Bearer Bearer acme_1"}, err: apitoken.ErrUnreadableHeader},
		{name: "scheme with a long s", headers: []string{auth, "ſSWS acme_1"}, err: apitoken.ErrUnreadableHeader},
		{name: "colon after scheme", headers: []string{auth, "Bearer: acme_1"}, err: apitoken.ErrUnreadableHeader},

		{name: "Basic is not ours", headers: []string{auth, "Basic YTpi"}, err: apitoken.ErrNoCredential},
		{name: "long Negotiate is not ours", headers: []string{auth, "Negotiate " + strings.Repeat("A", 8000)}, err: apitoken.ErrNoCredential},
		{name: "Basic beside a token header", headers: []string{auth, "Basic YTpi", token, "acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "Basic beside half a pair", headers: []string{auth, "Basic YTpi", uuid, "id"}, err: apitoken.ErrTwoCredentials},
		{name: "two lines, one Basic", headers: []string{auth, "Basic YTpi", auth, "Bearer acme_1"}, err: apitoken.ErrTwoCredentials},

		{name: "header of the host's", headers: []string{token, "acme_1"}, want: one}, // S3.19
		{name: "header in another case", headers: []string{"x-wallarmapi-token", "acme_1"}, want: one},
		{name: "second header of the host's", headers: []string{other, "acme_1"}, want: one},
		{name: "header empty", headers: []string{token, ""}, err: apitoken.ErrUnreadableHeader},
		{name: "header with a scheme", headers: []string{token, "Bearer acme_1"}, err: apitoken.ErrUnreadableHeader},
		{name: "header with a list", headers: []string{token, "acme_1,acme_2"}, err: apitoken.ErrUnreadableHeader},
		{name: "header not named", headers: []string{"X-Other-Token", "acme_1"}, err: apitoken.ErrNoCredential},
		{name: "Proxy-Authorization", headers: []string{"Proxy-Authorization", "Bearer acme_1"}, err: apitoken.ErrNoCredential},
		{name: "cookie", headers: []string{"Cookie", "token=acme_1"}, err: apitoken.ErrNoCredential},

		{name: "Authorization twice", headers: []string{auth, "Bearer acme_1", auth, "Bearer acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "header twice", headers: []string{token, "acme_1", token, "acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "two headers", headers: []string{token, "acme_1", other, "acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "Authorization and header", headers: []string{auth, "Bearer acme_1", token, "acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "Authorization and empty header", headers: []string{auth, "Bearer acme_1", token, ""}, err: apitoken.ErrTwoCredentials},
		{name: "too long and another", headers: []string{auth, "Bearer " + atCap, token, "acme_1"}, err: apitoken.ErrTwoCredentials},

		// S3.17: a pair is one credential.
		{name: "legacy pair", headers: []string{uuid, "id", secret, "s e,cret"}, want: pair},
		{name: "legacy ID alone", headers: []string{uuid, "id"}, err: apitoken.ErrUnreadableHeader},
		{name: "legacy secret alone", headers: []string{secret, "s"}, err: apitoken.ErrUnreadableHeader},
		{name: "legacy ID empty", headers: []string{uuid, "", secret, "s"}, err: apitoken.ErrUnreadableHeader},
		{name: "legacy secret empty", headers: []string{uuid, "id", secret, ""}, err: apitoken.ErrUnreadableHeader},
		{name: "legacy ID twice", headers: []string{uuid, "id", uuid, "id", secret, "s"}, err: apitoken.ErrTwoCredentials},
		{name: "legacy secret twice", headers: []string{uuid, "id", secret, "s", secret, "s"}, err: apitoken.ErrTwoCredentials},
		{name: "legacy pair and Authorization", headers: []string{uuid, "id", secret, "s", auth, "Bearer acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "legacy pair and header", headers: []string{uuid, "id", secret, "s", token, "acme_1"}, err: apitoken.ErrTwoCredentials},
		{name: "legacy ID and Authorization", headers: []string{uuid, "id", auth, "Bearer acme_1"}, err: apitoken.ErrTwoCredentials},

		// P16: refused like any damaged token, and before the Verifier.
		{name: "header at the cap", headers: []string{token, atCap}, want: apitoken.VerifyRequest{Token: atCap}},
		{name: "header over the cap", headers: []string{token, atCap + "a"}, err: apitoken.ErrMalformedToken},
		{name: "Authorization at the cap", headers: []string{auth, "Bearer " + atCap[7:]}, want: apitoken.VerifyRequest{Token: atCap[7:]}},
		{name: "Authorization over the cap", headers: []string{auth, "Bearer " + atCap[6:]}, err: apitoken.ErrMalformedToken},
		{name: "spaces up to the cap", headers: []string{auth, "Bearer" + strings.Repeat(" ", 1<<16) + "acme_1"}, err: apitoken.ErrMalformedToken},
		{name: "legacy ID over the cap", headers: []string{uuid, atCap + "a", secret, "s"}, err: apitoken.ErrMalformedToken},
		{name: "legacy secret over the cap", headers: []string{uuid, "id", secret, atCap + "a"}, err: apitoken.ErrMalformedToken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := present(everyHeader, request(tc.headers...))
			require.Equal(t, tc.err, err)
			if tc.err != nil {
				require.Nil(t, got, "a request that cannot be read must not reach the Verifier")
				return
			}
			require.Equal(t, tc.want.Token, got.Token)
			require.Equal(t, tc.want.LegacyID, got.LegacyID)
			require.Equal(t, tc.want.LegacySecret, got.LegacySecret)
		})
	}
}

// A token in a URL ends up in logs and histories; one in a body can be posted by a
// form of any page (P19).
func TestCredentialsOutsideOfHeadersAreNotRead(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest("POST", "/?access_token=acme_1&token=acme_1",
		strings.NewReader(url.Values{"access_token": {"acme_1"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := present(everyHeader, r)
	require.Equal(t, apitoken.ErrNoCredential, err)
	require.Nil(t, got)
	require.Equal(t, "acme_1", r.PostFormValue("access_token"), "the body is the handler's to read")
}

// Without the options only the Authorization header is read.
func TestCredentialHeadersAreOptIn(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"X-WallarmApi-Token", "X-Legacy-UUID", "X-Api-Token", ""} {
		r := request("Authorization", "Bearer acme_1")
		if name != "" {
			r.Header.Set(name, "acme_2")
		}
		got, err := present(httpauth.Options{}, r)
		require.NoError(t, err)
		require.Equal(t, "acme_1", got.Token)
	}
}

var wellFormed = regexp.MustCompile(`^([Bb][Ee][Aa][Rr][Ee][Rr]|[Ss][Ss][Ww][Ss]) +([^ \t,]+)$`)

// FuzzCredential compares the parser with a plain reading of its rules: what
// reaches the Verifier is the one credential there is (P16, P19).
func FuzzCredential(f *testing.F) {
	f.Add("Bearer acme_1", "", "", "")
	f.Add("SSWS acme_1", "", "", "")
	f.Add("Bearer acme_1\nBearer acme_2", "", "", "")
	f.Add("Basic YTpi", "acme_1", "", "")
	f.Add("", "acme_1", "", "")
	f.Add("", "", "id", "secret")
	f.Add("", "", "id", "")
	f.Add("bearer  a,b", "x\ny", "i\nj", "s")
	f.Fuzz(func(t *testing.T, authorization, token, id, secret string) {
		lines := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(s, "\n")
		}
		r := request()
		r.Header["Authorization"] = lines(authorization)
		r.Header["X-Api-Token"] = lines(token)
		r.Header["X-Legacy-Uuid"] = lines(id)
		r.Header["X-Legacy-Secret"] = lines(secret)
		total := len(lines(authorization)) + len(lines(token)) + max(len(lines(id)), len(lines(secret)))

		var want *apitoken.VerifyRequest
		if total == 1 {
			m := wellFormed.FindStringSubmatch(authorization)
			switch {
			case m != nil && len(authorization) <= apitoken.MaxTokenLength:
				want = &apitoken.VerifyRequest{Token: m[2]}
			case token != "" && len(token) <= apitoken.MaxTokenLength && !strings.ContainsAny(token, " \t,"):
				want = &apitoken.VerifyRequest{Token: token}
			case id != "" && secret != "" && len(id) <= apitoken.MaxTokenLength && len(secret) <= apitoken.MaxTokenLength:
				want = &apitoken.VerifyRequest{LegacyID: id, LegacySecret: secret}
			}
		}
		got, err := present(everyHeader, r)
		if want == nil {
			require.Nil(t, got)
			require.Contains(t, []error{
				apitoken.ErrNoCredential, apitoken.ErrTwoCredentials, apitoken.ErrUnreadableHeader, apitoken.ErrMalformedToken,
			}, err)
			return
		}
		require.NoError(t, err)
		require.Equal(t, *want, apitoken.VerifyRequest{Token: got.Token, LegacyID: got.LegacyID, LegacySecret: got.LegacySecret})
	})
}
