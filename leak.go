package apitoken

import (
	"context"
	"iter"
	"strings"
	"time"
)

// Match is where a token string stands in a text. It holds nothing secret: the
// value is text[Start:End].
type Match struct {
	Start  int    `json:"start"` // in bytes
	End    int    `json:"end"`
	Prefix string `json:"prefix"`
	Token  ID     `json:"token_id"`
}

// Hint returns how the token string begins, as [Token].Hint: fit for a log.
func (m Match) Hint() string { return hintOf(m.Prefix, m.Token) }

// Scan finds token strings in a text by their form and checksum, whatever their
// prefix, without asking anybody: for commit hooks, log filters and tests. What
// surrounds a token does not hide it: quotes, JSON, a URL, words joined to it. One
// that is broken into lines, encoded as a whole or changed in case is not found.
// Noise of the right form is taken for a token once in four billion times.
//
// The time it takes grows with the length of the text, whatever stands in it; it
// allocates for what it finds only. To scan a stream, let its pieces overlap by
// [MaxTokenLength] bytes.
func Scan(text string) iter.Seq[Match] { return scan(text, nil) }

// Scan is the function [Scan] for tokens with a prefix of [Options]: Prefix,
// OldPrefixes and those of Kinds. It asks no store: use [Service.ReportLeak] to
// learn whether a value is, or was, one of the host's.
func (s *Service) Scan(text string) iter.Seq[Match] { return scan(text, s.prefixes) }

// scan looks at every underscore that a whole body follows. A body has no
// underscore, so no two share a byte.
func scan(text string, known []knownPrefix) iter.Seq[Match] {
	return func(yield func(Match) bool) {
		found := func(start, cut int) bool {
			return yield(Match{
				Start: start, End: cut + 1 + bodyLen,
				// Copies: they are kept longer than a text that may be full of secrets.
				Prefix: strings.Clone(text[start:cut]), Token: ID(strings.Clone(text[cut+1 : cut+1+idLen])),
			})
		}
		for at := 0; ; {
			next := strings.IndexByte(text[at:], '_')
			if next < 0 {
				return
			}
			cut := at + next
			at = cut + 1
			run := base62Run(text[at:min(at+bodyLen, len(text))])
			at += run
			if run < bodyLen {
				continue
			}
			body, sum := text[cut+1:at-sumLen], text[at-sumLen:at]
			if known != nil {
				for i := range known {
					p := &known[i]
					if strings.HasSuffix(text[:cut], p.text) && hasChecksum(sum, checksum(p.sum, body)) && !found(cut-len(p.text), cut) {
						return
					}
				}
				continue
			}
			// Where the prefix begins cannot be seen when something stands right before
			// it, as the n of an escaped line break does: the checksum tells.
			for start := cut - 1; start >= max(0, cut-maxPrefix) && inPrefix(text[start], text[start+1]); start-- {
				if text[start] >= 'a' && hasChecksum(sum, checksum(0, text[start:at-sumLen])) && !found(start, cut) {
					return
				}
			}
		}
	}
}

// base62Run returns how many base62 characters s begins with.
func base62Run(s string) int {
	for i := range len(s) {
		if base62Digit[s[i]] == notBase62 {
			return i
		}
	}
	return len(s)
}

// inPrefix reports whether c, followed by next, may stand in a prefix: see
// validPrefix.
func inPrefix(c, next byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' && next != '_'
}

// LeakAction says what the report of a leaked value does to its token.
type LeakAction string

// The leak actions.
const (
	LeakRevokes  LeakAction = ""        // revoked for good, also while its agent is active
	LeakDisables LeakAction = "disable" // disabled: Enable lets the leaked value work again
	LeakNotifies LeakAction = "notify"  // nothing but the event. Needs Options.Notifier
)

// LeakReport says that a token's value was found where it does not belong.
type LeakReport struct {
	Value Secret // the token string, or an imported single key; find a token string in a longer text with [Scan]
	// Where it was found: a URL, a ticket. Token strings in it are cut to their
	// hints, control characters are dropped, and 1,024 characters are kept: what is
	// wrong with it must not keep a leaked token alive. It is the Reason of the
	// events.
	Where string
}

// Leak is what became of a report.
type Leak struct {
	Token View // as it is now: State and Cause tell what was done
	// Replaced: it was the value before the last rotation.
	Replaced bool
	// Repeated: the same value was reported from the same place before, and this
	// report did nothing.
	Repeated bool
}

// maxLeakEvents bounds the leak events of a token, whatever is reported: one
// whose value is public may be reported from everywhere.
const maxLeakEvents = 100

// ReportLeak finds the token of a leaked value and does at once what the
// OnLeak of its kind's [Policy] says, with an [EventLeaked] that tells where it
// was found. It works in every state of the token. An agent's token is revoked
// even while its agent is active; the event then has [CauseLeakForced] (S1.28).
//
// A value that a rotation replaced endangers the token no more: an overlap that
// is still running ends, and the value in use stays, unless the policy has
// RevokeOnReuse. The same report again does nothing.
//
// The actor needs to see the token. A partner's report of anybody's token is made
// by [DangerouslyCrossTenant].
//
// Errors: [ErrNotFound] for every value that opens no token the actor sees,
// unknown, damaged and another tenant's alike; [ErrUnavailable]: repeat the
// call.
func (s *Service) ReportLeak(ctx context.Context, actor Actor, report LeakReport) (Leak, error) {
	if err := actor.check(); err != nil {
		return Leak{}, err
	}
	value := report.Value.Reveal()
	if len(value) > MaxTokenLength {
		return Leak{}, ErrNotFound
	}
	parts, ok := parseToken(value, nil) // of a prefix that is no longer configured, too
	if !ok {
		rec, err := s.ofOldKey(ctx, value)
		if err != nil {
			return Leak{}, err
		}
		parts.id = rec.Token.ID
	}
	sum := digestSecret(parts.secret)
	var leak Leak
	o := changeOptions{verb: verbLeak, reason: placeFound(report.Where)}
	ch, err := s.change(ctx, actor, parts.id, o, func(ch *change) error {
		leak = Leak{}
		primary, previous, err := s.checksOf(ctx, ch.rec)
		switch {
		case ok && err != nil:
			return err
		case !ok && ch.rec.Legacy.IsZero(): // an older key that a rotation ended opens nothing
			return ErrNotFound
		case !ok || primary.isOf(&sum, parts.prefix):
		case previous.isOf(&sum, parts.prefix):
			leak.Replaced = true
		default:
			return ErrNotFound
		}
		return ch.leaked(ctx, &leak)
	})
	if err != nil {
		return Leak{}, err
	}
	if leak.Token, err = s.view(ctx, ch.rec, ch.now, nil); err != nil {
		leak.Token = s.plainView(ch.rec, ch.now)
	}
	return leak, nil
}

// leaked notes the leak and does what the kind says.
func (ch *change) leaked(ctx context.Context, leak *Leak) error {
	t := &ch.rec.Token
	opens := !leak.Replaced || ch.now.Before(ch.rec.PreviousUntil)
	cause := CauseLeak
	if leak.Replaced {
		cause = CauseReuse // so that a report of one value is no repetition of the other's
	}
	repeated, events, err := ch.leaksBefore(ctx, leak.Replaced, opens)
	if err != nil || repeated {
		leak.Repeated = repeated
		return err
	}
	note := func(changed ...string) {
		if events < maxLeakEvents {
			ch.note(EventLeaked, cause, changed...)
		}
	}
	action := ch.rules.OnLeak
	if leak.Replaced && !ch.rules.RevokeOnReuse {
		if opens && action != LeakNotifies {
			ch.rec.PreviousUntil, ch.dirty = time.Time{}, true // over for every clock, also one that is behind
			note("overlap")
			return nil
		}
		action = LeakNotifies
	}
	note()
	switch {
	case action == LeakRevokes && t.State != StateRevoked:
		cause := ch.leakCause(ctx)
		ch.setState(StateRevoked, cause)
		ch.note(EventRevoked, cause)
	case action == LeakDisables && t.StatusAt(ch.now) == StatusActive:
		cause := ch.leakCause(ctx)
		ch.setState(StateDisabled, cause)
		ch.note(EventDisabled, cause)
	}
	return nil
}

// leakCause tells a stop that passes over an active agent from any other. Agents
// that cannot be asked do not keep a leaked token alive.
func (ch *change) leakCause(ctx context.Context) Cause {
	if why, err := ch.s.whyNotRevocable(ctx, &ch.rec.Token); why != "" || err != nil {
		return CauseLeakForced
	}
	return CauseLeak
}

// leaksBefore reports whether the value was reported from this place before, and
// how many leak events the token has. Each value is known by itself: the current
// one by the reports since the last rotation, the replaced one by those that name
// it and, once it opens nothing more, by those from when it was the current one.
func (ch *change) leaksBefore(ctx context.Context, replaced, opens bool) (repeated bool, events int, err error) {
	t, after := &ch.rec.Token, ""
	var ofCurrent, ofReplaced bool
	for {
		page, err := ch.s.store.Events(ctx, t.Tenant, t.ID, after, maxPage)
		if err != nil {
			return false, 0, outage("store", err)
		}
		for i := range page {
			switch e := &page[i]; {
			case e.Type == EventRotated:
				ofCurrent, ofReplaced = false, ofCurrent && !opens
			case e.Type == EventLeaked:
				events++
				if e.Reason == ch.reason && e.Cause == CauseReuse {
					ofReplaced = true
				} else if e.Reason == ch.reason {
					ofCurrent = true
				}
			}
		}
		if len(page) < maxPage {
			if replaced {
				return ofReplaced, events, nil
			}
			return ofCurrent, events, nil
		}
		after = page[len(page)-1].ID
	}
}

// maxPlace is how much of a place is looked at. Even if all of it were token
// strings, their hints alone would fill maxReason, so nothing that is cut off
// here leaves half a token behind.
const maxPlace = 32 << 10

// placeFound makes a text fit for the reason of an event: what partners send is
// not of the host's making, and a URL may carry the token itself.
func placeFound(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxPlace)], "")
	s = strings.Map(func(r rune) rune {
		if deceives(r) {
			return -1
		}
		return r
	}, s)
	var out strings.Builder
	from := 0
	for m := range Scan(s) {
		out.WriteString(s[from:max(from, m.Start)])
		out.WriteString(m.Hint())
		from = m.End
	}
	out.WriteString(s[from:])
	text, runes := out.String(), 0
	for i := range text {
		if runes == maxReason {
			return text[:i]
		}
		runes++
	}
	return text
}
