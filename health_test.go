package apitoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// S1.22: the colours, with both sides of every border.
func TestHealthAtEveryBorder(t *testing.T) {
	t.Parallel()
	const tick = time.Microsecond
	used := func(ago time.Duration) func(*apitoken.Token) {
		return func(tok *apitoken.Token) { tok.Usage = apitoken.Usage{Uses: 1, LastUsed: noon.Add(-ago)} }
	}
	expires := func(in time.Duration) func(*apitoken.Token) {
		return func(tok *apitoken.Token) { tok.ExpiresAt = noon.Add(in) }
	}
	sliding := func(created time.Duration) func(*apitoken.Token) {
		return func(tok *apitoken.Token) { tok.CreatedAt, tok.Terms.Idle = noon.Add(-created), 30*day }
	}
	state := func(s apitoken.State, c apitoken.Cause) func(*apitoken.Token) {
		return func(tok *apitoken.Token) { tok.State, tok.Cause, tok.StateAt = s, c, noon.Add(-time.Hour) }
	}
	byHand, revoked := state(apitoken.StateDisabled, apitoken.CauseByHand), state(apitoken.StateRevoked, apitoken.CauseByHand)
	disables := func(tok *apitoken.Token) { tok.Terms.AfterExpiry = apitoken.ExpiryDisables }
	type changes = []func(*apitoken.Token)

	for name, tc := range map[string]struct {
		changes changes
		want    apitoken.Color
	}{
		"never used, no expiry":                    {nil, apitoken.ColorGrey},
		"used now":                                 {changes{used(0)}, apitoken.ColorGreen},
		"used 72 h ago":                            {changes{used(72 * time.Hour)}, apitoken.ColorGreen},
		"used more than 72 h ago":                  {changes{used(72*time.Hour + tick)}, apitoken.ColorGrey},
		"used, by a clock that ran ahead":          {changes{used(-time.Minute)}, apitoken.ColorGreen},
		"used long ago, no expiry":                 {changes{used(1000 * day)}, apitoken.ColorGrey},
		"expires in 7 d":                           {changes{expires(7 * day)}, apitoken.ColorRed},
		"expires in more than 7 d":                 {changes{expires(7*day + tick)}, apitoken.ColorGrey},
		"expires in more than 7 d, used":           {changes{expires(7*day + tick), used(0)}, apitoken.ColorGreen},
		"expires in 7 d, used: red before green":   {changes{expires(7 * day), used(0)}, apitoken.ColorRed},
		"expires in a moment":                      {changes{expires(tick)}, apitoken.ColorRed},
		"expires now":                              {changes{expires(0)}, apitoken.ColorRed},
		"expired, used just before":                {changes{expires(-tick), used(tick)}, apitoken.ColorRed},
		"expired long ago":                         {changes{expires(-1000 * day)}, apitoken.ColorRed},
		"expired, which counts as disabled":        {changes{expires(-day), disables}, apitoken.ColorRed},
		"expired and swept":                        {changes{expires(-day), disables, state(apitoken.StateDisabled, apitoken.CauseExpired)}, apitoken.ColorRed},
		"sliding, 7 d of idle time left":           {changes{sliding(23 * day)}, apitoken.ColorRed},
		"sliding, more than 7 d left":              {changes{sliding(23*day - tick)}, apitoken.ColorGrey},
		"sliding, renewed by use":                  {changes{sliding(100 * day), used(day)}, apitoken.ColorGreen},
		"sliding, used 23 d ago":                   {changes{sliding(100 * day), used(23 * day)}, apitoken.ColorRed},
		"sliding, idle: it is revoked":             {changes{sliding(30 * day)}, apitoken.ColorNone},
		"revoked":                                  {changes{revoked}, apitoken.ColorNone},
		"revoked, used":                            {changes{revoked, used(0)}, apitoken.ColorNone},
		"revoked, expires soon":                    {changes{revoked, expires(day)}, apitoken.ColorNone},
		"revoked, expired":                         {changes{revoked, expires(-day)}, apitoken.ColorNone},
		"disabled":                                 {changes{byHand}, apitoken.ColorNone},
		"disabled, used":                           {changes{byHand, used(0)}, apitoken.ColorNone},
		"disabled, expires soon":                   {changes{byHand, expires(day)}, apitoken.ColorNone},
		"disabled, expired since: expired is red":  {changes{byHand, expires(-day)}, apitoken.ColorRed},
		"disabled by its owner's leaving":          {changes{state(apitoken.StateDisabled, apitoken.CauseOwner)}, apitoken.ColorNone},
		"the earlier of expiry and idle time, red": {changes{sliding(25 * day), expires(300 * day)}, apitoken.ColorRed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := apitoken.View{Token: apitoken.Token{State: apitoken.StateActive, CreatedAt: noon.Add(-200 * day)}}
			for _, change := range tc.changes {
				change(&v.Token)
			}
			require.Equal(t, tc.want, apitoken.Health(v, noon))
			require.Equal(t, tc.want, apitoken.Health(v, noon.In(time.FixedZone("", 14*3600))), "in another zone")
			// S1.23: a suspicious one is yellow, whatever else it is.
			v.Suspicious = true
			require.Equal(t, apitoken.ColorYellow, apitoken.Health(v, noon))
		})
	}
}
