package apitoken

import (
	"context"
	"log/slog"
	"time"
)

// SlogNotifier returns a [Notifier] that writes each event to logger, as one
// record with the message "apitoken: event", the event's own time, and the
// event's fields under the names they have in JSON; empty ones are left out. The
// level is Info, and Warn for [EventReused]. A nil logger is slog.Default().
//
// What the handler returns is returned, so an event that could not be written
// stays in the outbox; [slog.Logger]'s own methods would lose it. One that the
// handler does not want at its level counts as written.
//
// An event has no secret, and each field is an attribute of its own, which a
// handler's ReplaceAttr can drop. Name and reason are what people wrote.
func SlogNotifier(logger *slog.Logger) Notifier {
	return NotifierFunc(func(ctx context.Context, n Notification) error {
		l := logger
		if l == nil {
			l = slog.Default()
		}
		level := slog.LevelInfo
		if n.Event.Type == EventReused {
			level = slog.LevelWarn
		}
		if !l.Enabled(ctx, level) {
			return nil
		}
		r := slog.NewRecord(n.Event.Time, level, "apitoken: event", 0)
		r.AddAttrs(slog.GroupAttrs("event", eventAttrs(&n.Event)...))
		if len(n.Recipients) > 0 {
			r.AddAttrs(slog.Any("recipients", n.Recipients))
		}
		return l.Handler().Handle(ctx, r)
	})
}

// eventAttrs names each field by hand: a field that Event gets later is not
// logged before somebody has thought about it.
func eventAttrs(e *Event) []slog.Attr {
	var attrs []slog.Attr
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	instant := func(key string, at time.Time) {
		if !at.IsZero() {
			attrs = append(attrs, slog.Time(key, at))
		}
	}
	party := func(key string, p Party) {
		if p != (Party{}) {
			attrs = append(attrs, slog.Group(key, "type", string(p.Type), "id", p.ID))
		}
	}
	text("id", e.ID)
	text("type", string(e.Type))
	text("message", e.Message)
	text("category", e.Category)
	instant("due_at", e.DueAt)
	text("tenant", e.Tenant)
	party("actor", e.Actor)
	text("via", string(e.Via))
	text("token", string(e.Target.Token))
	text("name", e.Target.Name)
	text("kind", string(e.Target.Kind))
	party("owner", e.Target.Owner)
	attrs = append(attrs, slog.Int64("version", e.Version), slog.Int("ordinal", e.Ordinal))
	text("cause", string(e.Cause))
	text("reason", e.Reason)
	if len(e.Changed) > 0 {
		attrs = append(attrs, slog.Any("changed", e.Changed))
	}
	instant("expires_at", e.ExpiresAt)
	text("creator", e.Creator)
	text("request_id", e.RequestID)
	if e.Address.IsValid() {
		text("address", e.Address.String())
	}
	return attrs
}
