package promapitoken_test

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/promapitoken"
)

// What an Observer adds to a Verify, and to a decision of a limit.
func BenchmarkObserver(b *testing.B) {
	o, _ := observe(b, promapitoken.Options{})
	b.Run("Verified", func(b *testing.B) {
		b.ReportAllocs()
		v := apitoken.Verification{Call: "verify", Kind: "ci", Scheme: apitoken.SchemeBearer, Start: time.Now(), Took: 2 * time.Microsecond}
		for b.Loop() {
			o.Verified(b.Context(), v)
		}
	})
	b.Run("Limited", func(b *testing.B) {
		b.ReportAllocs()
		d := apitoken.Decision{Limit: "read", Allowed: true}
		for b.Loop() {
			o.Limited(b.Context(), d)
		}
	})
}
