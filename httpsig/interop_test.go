package httpsig_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpsig"
)

// Requests that another implementation signed: see testdata/interop.mjs.
func TestInterop(t *testing.T) {
	t.Parallel()
	var file struct {
		PublicKey string
		Created   time.Time
		Host      string
		Requests  []struct {
			Name, Method, Target, Body string
			Headers                    map[string][]string
		}
	}
	text, err := os.ReadFile("testdata/interop.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &file))
	require.NotEmpty(t, file.Requests)

	env := apitokentest.New(t, options(apitokentest.NewClock(file.Created)))
	token := env.Issue(apitoken.IssueRequest{PublicKey: file.PublicKey}).Token.ID
	reader := httpsig.New(httpsig.Options{ExternalURL: "https://" + file.Host, Tag: `interop\`})
	for _, c := range file.Requests {
		request := func() *http.Request {
			r := httptest.NewRequest(c.Method, c.Target, strings.NewReader(c.Body))
			r.Host = file.Host
			for name, lines := range c.Headers {
				for _, line := range lines {
					r.Header.Add(name, line)
				}
			}
			return r
		}
		verify := func(r *http.Request) error {
			proof, err := reader.ReadProof(httptest.NewRecorder(), r)
			require.NoError(t, err, c.Name)
			require.NotNil(t, proof, c.Name)
			require.Equal(t, apitoken.ID("token"), proof.Token)
			proof.Token = token // which was not known when the requests were signed
			_, err = env.Service.Verify(t.Context(), apitoken.VerifyRequest{Proof: proof})
			return err
		}
		changed := request()
		changed.RequestURI += "x"
		require.ErrorIs(t, verify(changed), apitoken.ErrBadSignature, c.Name)
		require.NoError(t, verify(request()), c.Name)
		require.ErrorIs(t, verify(request()), apitoken.ErrReplayed, c.Name)
	}
}
