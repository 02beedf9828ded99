package apitoken_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func TestPeriodText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]apitoken.Period{
		"":       {},
		"P90D":   {Days: 90},
		"P1Y":    {Years: 1},
		"P1Y30D": {Years: 1, Days: 30},
	} {
		var p apitoken.Period
		require.NoError(t, p.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, p, text)
		back, err := p.MarshalText()
		require.NoError(t, err)
		require.Equal(t, text, string(back))
	}
	for _, bad := range []string{"P", "90", "90D", "p90d", "P1M", "P2W", "PT1H", "P-1D", "P1D1Y", "P90D ", "P99999999D", "P1.5D"} {
		var p apitoken.Period
		require.ErrorIs(t, p.UnmarshalText([]byte(bad)), apitoken.ErrInvalid, bad)
		require.Zero(t, p)
	}
}

// A form or a JSON body gives the expiry as one string (S2.20).
func TestExpiryText(t *testing.T) {
	t.Parallel()
	instant := time.Date(2027, 1, 31, 12, 0, 0, 5000, time.UTC)
	for text, want := range map[string]apitoken.Expiry{
		`""`:                            {},
		`"never"`:                       apitoken.NeverExpires(),
		`"2027-01-31"`:                  apitoken.ExpiresOn("2027-01-31"),
		`"2027-01-31T12:00:00.000005Z"`: apitoken.ExpiresAt(instant),
		`"P90D"`:                        apitoken.ExpiresAfter(apitoken.Period{Days: 90}),
		`"next week"`:                   apitoken.ExpiresOn("next week"),
	} {
		var got apitoken.Expiry
		require.NoError(t, json.Unmarshal([]byte(text), &got), text)
		require.Equal(t, want, got, text)
	}
	w := newWorld(t)
	_, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: plain, Name: "x", Expiry: apitoken.ExpiresOn("next week")})
	require.Equal(t, []string{"expiry"}, wrongFields(err), "the call it is given to reports it")
}
