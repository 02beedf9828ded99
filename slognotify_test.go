package apitoken_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// S1.30, S1.31: what the log shows is what the event says, and nothing is made
// up for what it does not say.
func TestSlogNotifier(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, time.March, 1, 12, 0, 0, 123_000, time.UTC)
	full := apitoken.Event{
		ID: "id.3.1", Type: apitoken.EventRevoked, Message: "API Token revoked", Category: apitoken.EventCategory,
		Time: at, DueAt: at.Add(-time.Hour), Tenant: "acme", Actor: apitoken.Party{Type: apitoken.PartySystem, ID: "sweep"}, Via: "via",
		Target:  apitoken.Target{Token: "id", Name: "a\nlevel=ERROR", Kind: "personal", Owner: apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}},
		Version: 3, Ordinal: 1, Cause: apitoken.CauseIdle, Reason: "left", Changed: []string{"name", "share"}, ExpiresAt: at.Add(time.Hour),
		Creator: "bob", RequestID: "r-1", Address: netip.MustParseAddr("2001:db8::1"), Deliver: true,
	}
	tests := []struct {
		name string
		give apitoken.Notification
		want string
	}{
		{"everything", apitoken.Notification{Event: full, Recipients: []string{"ann", "bob"}}, `{
			"time": "2027-03-01T12:00:00.000123Z", "level": "INFO", "msg": "apitoken: event", "recipients": ["ann", "bob"], "event": {
			"id": "id.3.1", "type": "token.revoked", "message": "API Token revoked", "category": "token lifecycle",
			"due_at": "2027-03-01T11:00:00.000123Z", "tenant": "acme", "actor": {"type": "system", "id": "sweep"}, "via": "via",
			"token": "id", "name": "a\nlevel=ERROR", "kind": "personal", "owner": {"type": "user", "id": "ann"},
			"version": 3, "ordinal": 1, "cause": "idle", "reason": "left", "changed": ["name", "share"],
			"expires_at": "2027-03-01T13:00:00.000123Z", "creator": "bob", "request_id": "r-1", "address": "2001:db8::1"}}`},
		{"hardly anything, and a warning", apitoken.Notification{Event: apitoken.Event{ID: "x", Type: apitoken.EventReused, Time: at}}, `{
			"time": "2027-03-01T12:00:00.000123Z", "level": "WARN", "msg": "apitoken: event",
			"event": {"id": "x", "type": "token.reused", "version": 0, "ordinal": 0}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			n := apitoken.SlogNotifier(slog.New(slog.NewJSONHandler(&out, nil)))
			require.NoError(t, n.Notify(t.Context(), tt.give))
			require.JSONEq(t, tt.want, out.String())

			out.Reset()
			n = apitoken.SlogNotifier(slog.New(slog.NewTextHandler(&out, nil)))
			require.NoError(t, n.Notify(t.Context(), tt.give))
			require.Equal(t, 1, strings.Count(out.String(), "\n"), "one line, whatever people wrote")
		})
	}
}

// Every field that an event has in JSON has its attribute.
func TestSlogNotifierIsComplete(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	e := apitoken.Event{
		ID: "v", Type: "v", Message: "v", Category: "v", Time: at, DueAt: at, Tenant: "v", Actor: apitoken.Party{Type: "v", ID: "v"}, Via: "v",
		Target:  apitoken.Target{Token: "v", Name: "v", Kind: "v", Owner: apitoken.Party{Type: "v", ID: "v"}},
		Version: 1, Ordinal: 1, Cause: "v", Reason: "v", Changed: []string{"v"}, ExpiresAt: at, Creator: "v", RequestID: "v", Address: netip.MustParseAddr("::1"),
	}
	var asJSON, logged map[string]any
	require.NoError(t, json.Unmarshal(must(json.Marshal(e)), &asJSON))
	var out bytes.Buffer
	require.NoError(t, apitoken.SlogNotifier(slog.New(slog.NewJSONHandler(&out, nil))).Notify(t.Context(), apitoken.Notification{Event: e}))
	require.NoError(t, json.Unmarshal(out.Bytes(), &logged))
	event := logged["event"].(map[string]any)
	event["time"] = logged["time"]
	for k, v := range asJSON["target"].(map[string]any) {
		require.Equal(t, v, event[k], k)
	}
	delete(asJSON, "target")
	for k, v := range asJSON {
		require.Equal(t, v, event[k], k)
	}
}

// A handler that fails keeps the event in the outbox; one that does not want it
// has it.
func TestSlogNotifierOutcome(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := &failingHandler{Handler: slog.NewTextHandler(&out, nil), err: apitokentest.ErrFault}
	w := newWorld(t, func(o *apitoken.Options) { o.Notifier = apitoken.SlogNotifier(slog.New(h)) })
	w.issue(plain)
	require.Zero(t, must(w.Service.Deliver(t.Context())))
	require.Equal(t, 1, must(w.Service.Status(t.Context())).OutboxEvents)
	h.err = nil
	w.Clock.Advance(30 * time.Second)
	require.Equal(t, 1, must(w.Service.Deliver(t.Context())))
	require.Contains(t, out.String(), "token.created")

	out.Reset()
	quiet := apitoken.SlogNotifier(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	require.NoError(t, quiet.Notify(t.Context(), apitoken.Notification{Event: apitoken.Event{Type: apitoken.EventCreated}}))
	require.Empty(t, out.String())
	require.NoError(t, quiet.Notify(t.Context(), apitoken.Notification{Event: apitoken.Event{Type: apitoken.EventReused}}))
	require.NotEmpty(t, out.String())
	require.NoError(t, apitoken.SlogNotifier(nil).Notify(t.Context(), apitoken.Notification{}))
}

type failingHandler struct {
	slog.Handler
	err error
}

func (h *failingHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.err != nil {
		return h.err
	}
	return h.Handler.Handle(ctx, r)
}
