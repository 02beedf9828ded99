package httpsig_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpsig"
)

// BenchmarkVerify is a whole verification of a signed request, from the header to the
// principal, beside the one operation that it cannot do without. The bars of the
// promises: 1.10 times, 40 allocations; what is refused without it, 0.15 times.
func BenchmarkVerify(b *testing.B) {
	w := newWorld(b, httpsig.Options{InsecureRepeatable: true})
	c := w.keyClient(b, ann())
	reader := httpsig.New(httpsig.Options{Hosts: []string{host}, InsecureRepeatable: true})
	sign := func(c *client) *http.Request {
		return c.signed(get("/devices?page=2"), c.params()+`;alg="ecdsa-p256-sha256"`, "@method", "GET", "@target-uri", "http://"+host+"/devices?page=2")
	}
	good, rw := sign(c), httptest.NewRecorder()
	verify := func(r *http.Request) error {
		proof, err := reader.ReadProof(rw, r)
		if err != nil {
			return err
		}
		_, err = w.Service.Verify(b.Context(), apitoken.VerifyRequest{Proof: proof})
		return err
	}
	b.Run("raw", func(b *testing.B) {
		sum := sha256.Sum256([]byte("x"))
		der, err := ecdsa.SignASN1(rand.Reader, c.key, sum[:])
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&c.key.PublicKey, sum[:], der) {
				b.Fatal("not verified")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := verify(good); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := reader.ReadProof(rw, good); err != nil {
				b.Fatal(err)
			}
		}
	})
	const body = `{"name":"d1"}`
	signed := c.good("/devices", body)
	b.Run("body", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			signed.Body = io.NopCloser(strings.NewReader(body))
			if err := verify(signed); err != nil {
				b.Fatal(err)
			}
		}
	})
	stranger := *c
	stranger.id = "0123456789012345678901"
	foreign := sign(c)
	foreign.Host = "other"
	refuse := func(name string, r *http.Request, want error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !errors.Is(verify(r), want) {
					b.Fatal("accepted")
				}
			}
		})
	}
	refuse("refuse_key_id", sign(&stranger), apitoken.ErrUnknownToken)
	refuse("refuse_host", foreign, apitoken.ErrMalformedProof)
	w.Clock.Advance(time.Hour)
	refuse("refuse_time", good, apitoken.ErrStale)
}
