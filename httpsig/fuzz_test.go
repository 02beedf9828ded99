package httpsig_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpsig"
)

// FuzzSignatureInput compares the parser with a general one: what is accepted here
// is accepted there, with the same labels in the same order, and is written the same
// way; and what is written is read as itself.
func FuzzSignatureInput(f *testing.F) {
	for _, seed := range []string{
		`sig1=("@method" "@target-uri" "content-digest");created=1618884473;keyid="k";nonce="n"`,
		`a=(  "x"   "y" ); created=007;tag="a\"b\\" , b=("z";key="v");n=?0;t=t/o:k*;d=-1.250, c=:YQ==:, d, e=1`,
		`sig1=()`, `*=("")`, `a=(`, `a=("b"`, `a="\`, `a=-`, `a=?`, `a=1.`, `a=:`, `a,`, ``,
		`f=:YQ:,g=:YQ=:, h=:Y===:`, `i=:YQ=a:`, `a=("x");created=-0;expires=-000000000000001`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		labels, members, err := httpsig.ParseInputs(text)
		oracle, other := httpsfv.UnmarshalDictionary([]string{text})
		if err != nil {
			return
		}
		require.NoError(t, other)
		require.Len(t, labels, len(oracle.Names()))
		for i, label := range labels {
			require.Equal(t, oracle.Names()[i], label)
			if members[i] == "" {
				continue
			}
			member, _ := oracle.Get(label)
			written, err := httpsfv.Marshal(member.(httpsfv.InnerList))
			require.NoError(t, err)
			require.Equal(t, written, members[i])
			_, again, err := httpsig.ParseInputs("again=" + members[i])
			require.NoError(t, err)
			require.Equal(t, []string{members[i]}, again)
		}
	})
}

// FuzzWritten is the other way round: what a general library writes is read, and
// written the same way again.
func FuzzWritten(f *testing.F) {
	f.Add("sig1", "@method", "content-digest", "key", "n", int64(1618884473))
	f.Add("*", "", `"`, `\`, "~ ", int64(-1))
	f.Fuzz(func(t *testing.T, label, first, second, keyID, nonce string, created int64) {
		list := httpsfv.InnerList{Items: []httpsfv.Item{httpsfv.NewItem(first), httpsfv.NewItem(second)}, Params: httpsfv.NewParams()}
		list.Params.Add("created", created)
		list.Params.Add("keyid", keyID)
		list.Params.Add("nonce", nonce)
		fields := httpsfv.NewDictionary()
		fields.Add(label, list)
		text, err := httpsfv.Marshal(fields)
		if err != nil {
			return
		}
		labels, members, err := httpsig.ParseInputs(text)
		require.NoError(t, err)
		require.Equal(t, []string{label}, labels)
		require.Equal(t, text, label+"="+members[0])
	})
}

// FuzzRequest reads whole requests: what comes out is a proof that says what the
// request says, or a refusal of a known family, never a panic.
func FuzzRequest(f *testing.F) {
	const good = `sig1=("@method" "@target-uri");created=1618884473;keyid="k";nonce="n"`
	f.Add("GET", "/a?b", host, good, "sig1=:AAAA:", "", "")
	f.Add("POST", "/", host, strings.Replace(good, "uri", `uri" "content-digest" "content-type`, 1), "sig1=:AAAA:", digest("x"), "x")
	f.Add("GET", "//a%2Fb", host+":80", `sig1=("@method" "@authority" "@path" "@query" "@scheme" "host");created=1;keyid="k";nonce="n"`, "sig1=:AAAA:", "", "")
	f.Add("PUT", "/", "other", good, "sig1", "=", "x")
	reader := httpsig.New(httpsig.Options{Hosts: []string{host}})
	f.Fuzz(func(t *testing.T, method, target, host, input, signature, digest, body string) {
		raw := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\nSignature-Input: " + input + "\r\nSignature: " + signature +
			"\r\nContent-Type: text/plain\r\nContent-Digest: " + digest + "\r\nTransfer-Encoding: chunked\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		if r.Body, r.ContentLength = http.NoBody, 0; body != "" {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
		proof, err := reader.ReadProof(httptest.NewRecorder(), r)
		if err != nil {
			require.Nil(t, proof)
			require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
			return
		}
		if proof == nil {
			require.Empty(t, strings.TrimSpace(strings.Join(r.Header["Signature-Input"], "")))
			return
		}
		require.Equal(t, apitoken.SchemeHTTPSignature, proof.Scheme)
		require.NotEmpty(t, proof.Nonce)
		require.NotEmpty(t, proof.Signature)
		base := string(proof.Signed)
		lines := strings.Split(base, "\n")
		require.Contains(t, lines, `"@method": `+r.Method)
		require.True(t, strings.HasPrefix(lines[len(lines)-1], `"@signature-params": ("`))
		if proof.CheckBody != nil {
			err := proof.CheckBody(t.Context())
			if err != nil {
				require.ErrorIs(t, err, apitoken.ErrBodyDigest)
			}
		}
		again, err := reader.ReadProof(httptest.NewRecorder(), r)
		require.NoError(t, err)
		require.Equal(t, base, string(again.Signed))
	})
}
