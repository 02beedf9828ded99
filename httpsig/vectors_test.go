package httpsig_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpsig"
)

// What follows is published in RFC 9421, appendix B.
const (
	rfcPublicKey = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----`
	rfcSharedSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
	rfcCreated      = 1618884473
)

// rfcRequest is the message test-request of appendix B.2 with further fields.
func rfcRequest(t *testing.T, fields ...string) *http.Request {
	t.Helper()
	text := "POST /foo?param=Value&Pet=dog HTTP/1.1\r\nHost: example.com\r\nDate: Tue, 20 Apr 2021 02:07:55 GMT\r\n" +
		"Content-Type: application/json\r\n" +
		"Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:\r\n" +
		"Content-Length: 18\r\n" + strings.Join(fields, "") + "\r\n{\"hello\": \"world\"}"
	return read(t, text)
}

func read(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	require.NoError(t, err)
	return r
}

// RFC 9421, B.2.5: hmac-sha256.
func TestVectorB25(t *testing.T) {
	t.Parallel()
	reader := httpsig.New(httpsig.Options{Hosts: []string{"https://example.com"}})
	base, signature, err := reader.Base(rfcRequest(t,
		`Signature-Input: sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`+"\r\n",
		"Signature: sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:\r\n"))
	require.NoError(t, err)
	require.Equal(t, `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`, string(base))
	key, err := base64.StdEncoding.DecodeString(rfcSharedSecret)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, key)
	mac.Write(base)
	require.Equal(t, mac.Sum(nil), signature)
}

// RFC 9421, B.3: ecdsa-p256-sha256 over a request, behind a proxy that ends TLS.
func TestVectorB3(t *testing.T) {
	t.Parallel()
	const cert = `:MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:`
	reader := httpsig.New(httpsig.Options{Hosts: []string{"service.internal.example"}})
	base, signature, err := reader.Base(read(t, "POST /foo?param=Value&Pet=dog HTTP/1.1\r\nHost: service.internal.example\r\n"+
		"Date: Tue, 20 Apr 2021 02:07:55 GMT\r\nContent-Type: application/json\r\nContent-Length: 18\r\nClient-Cert: "+cert+"\r\n"+
		`Signature-Input: ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`+"\r\n"+
		"Signature: ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:\r\n\r\n"+
		`{"hello": "world"}`))
	require.NoError(t, err)
	require.Equal(t, `"@path": /foo
"@query": ?param=Value&Pet=dog
"@method": POST
"@authority": service.internal.example
"client-cert": `+cert+`
"@signature-params": ("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256"`, string(base))
	require.NoError(t, verifyRFC(t, base, signature))
	base[0] ^= 1
	require.ErrorIs(t, verifyRFC(t, base, signature), apitoken.ErrBadSignature)
}

// RFC 9421, B.2.4: ecdsa-p256-sha256 over a response. The base is the RFC's own, as
// responses are not read here.
func TestVectorB24(t *testing.T) {
	t.Parallel()
	signature, err := base64.StdEncoding.DecodeString("wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==")
	require.NoError(t, err)
	base := []byte(`"@status": 200
"content-type": application/json
"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
"content-length": 23
"@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"`)
	require.NoError(t, verifyRFC(t, base, signature))
	base[12] = '4'
	require.ErrorIs(t, verifyRFC(t, base, signature), apitoken.ErrBadSignature)
}

// verifyRFC has a Service check a signature of the RFC's P-256 key, at the time at
// which it was made.
func verifyRFC(t *testing.T, base, signature []byte) error {
	t.Helper()
	created := time.Unix(rfcCreated, 0)
	env := apitokentest.New(t, options(apitokentest.NewClock(created)))
	issued := env.Issue(apitoken.IssueRequest{PublicKey: rfcPublicKey})
	_, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: &apitoken.Proof{
		Scheme: apitoken.SchemeHTTPSignature, Token: issued.Token.ID, Signed: base, Signature: signature, Created: created,
	}})
	return err
}
