package apitoken_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// A host that prints what it is about to verify prints no credential (P9).
func TestVerifyRequestIsRedacted(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]apitoken.VerifyRequest{
		"token":         {Token: canary, Use: "deploy"},
		"legacy":        {LegacyID: canary, LegacySecret: canary, Use: "deploy"},
		"legacy secret": {LegacySecret: canary, Use: "deploy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			explain := apitoken.ExplainRequest{Verify: req}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				for _, v := range []any{req, &req, explain, &explain, []any{req}} {
					out := fmt.Sprintf(verb, v)
					requireNoCanary(t, verb, out)
				}
			}
			require.Contains(t, fmt.Sprint(req), "deploy", "the rest is shown")
			require.Contains(t, fmt.Sprint(req), "[redacted]")

			var buf bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&buf, nil))
			logger.Info("x", "req", req, "any", slog.AnyValue(explain))
			slog.New(slog.NewJSONHandler(&buf, nil)).Info("x", "req", req, "explain", explain)
			requireNoCanary(t, "slog", buf.String())

			b, err := json.Marshal(explain)
			require.NoError(t, err)
			requireNoCanary(t, "json", string(b))
		})
	}
	require.Contains(t, fmt.Sprint(apitoken.VerifyRequest{}), "credential:none")
}
