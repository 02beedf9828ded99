package apitoken_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// The row 'usage recording on' of docs/promises.md: recording cannot be switched
// off, so it is measured by itself, beside the verification that it is a part of.
func BenchmarkUsage(b *testing.B) {
	store := memstore.New()
	service, err := apitoken.New(store, apitoken.Options{})
	require.NoError(b, err)
	issued, err := service.Issue(b.Context(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"})
	require.NoError(b, err)
	rec, err := store.Record(b.Context(), issued.Token.ID)
	require.NoError(b, err)
	req := apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Address: netip.MustParseAddr("192.0.2.7")}
	b.Run("verification", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := service.Verify(b.Context(), req); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("recording", func(b *testing.B) {
		b.ReportAllocs()
		now := apitoken.SystemClock.Now()
		for b.Loop() {
			service.RecordUse(rec, now, req.Address)
		}
	})
}
