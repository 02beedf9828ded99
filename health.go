package apitoken

import "time"

// Health returns the health colour of a token at now (S1.22): yellow for a
// suspicious one; red when it has expired or ends within 7 days; green when it
// was used within the last 3 days; else grey; in that order. Revoked and disabled
// tokens have none.
func Health(v View, now time.Time) Color {
	if v.Suspicious {
		return ColorYellow
	}
	return v.Token.color(now)
}
