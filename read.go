package apitoken

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

const (
	defaultPage = 50
	maxPage     = 500
	maxCursor   = 4096 // bytes; more is not read
)

func isConflict(err error) bool { return errors.Is(err, ErrConflict) }

// lookups remembers the host's answers within one call, so that a page of one
// owner's tokens asks once.
type lookups struct {
	standings     map[[2]string]Standing
	registrations map[[2]string]Registration
}

// plainView is what the record alone tells.
func (s *Service) plainView(rec *Record, now time.Time) View {
	t := rec.Token.clone()
	s.addUnwritten(&t, now)
	t.Usage.clearEnded(now)
	now = rec.notBefore(now)
	_, known := s.rulesOf(t.Kind)
	v := View{
		Token:      t,
		Status:     t.StatusAt(now),
		Credential: credentialOf(&rec.Primary),
		Expired:    t.Expired(now),
		Color:      t.color(now),
		EndsAt:     t.EndsAt(now),
		PurgeAt:    t.PurgeAt(now),
		Revocable:  true,
	}
	if v.Credential == CredentialAsymmetric {
		if key, err := parseCanonicalKey(rec.Primary.Blob); err == nil {
			v.KeyFingerprint = key.Fingerprint()
		}
	}
	if v.Status == StatusDisabled && t.State == StateActive {
		v.Cause, v.State, v.StateAt = CauseExpired, StateDisabled, t.ExpiresAt
	}
	if v.Status == StatusRevoked && t.State != StateRevoked {
		v.State, v.Cause, v.StateAt = StateRevoked, CauseIdle, t.IdleAt(now)
	}
	v.Editable = known && v.Status != StatusRevoked && v.Status != StatusExpired && v.Cause != CauseExpired
	if t.Grant.Live {
		v.Grant.Permissions = nil // what they are follows the owner, at each request (S3.20)
	}
	return v
}

// view adds what the host knows: whether the owner or agent suspends the token,
// how the agent is registered, whether it can be revoked now.
func (s *Service) view(ctx context.Context, rec *Record, now time.Time, seen *lookups) (View, error) {
	v := s.plainView(rec, now)
	rules, _ := s.rulesOf(v.Kind)
	switch {
	case v.Agent != "" && s.opts.Agents != nil:
		reg, err := seen.registration(ctx, s, v.Tenant, v.Agent)
		if err != nil {
			return View{}, err
		}
		v.AgentState = &reg
		v.Suspicious = !reg.Registered
		if v.Suspicious {
			v.Color = ColorYellow
		}
		v.WhyNot = whyNotRevocable(&v.Token, reg)
		v.Revocable = v.WhyNot == ""
		if v.Status == StatusActive && !(reg.Registered && reg.Active) {
			v.Status = StatusSuspended
		}
	case v.Owner != "" && s.opts.Owners != nil && rules.OwnerInactive != OwnerIgnored && v.Status == StatusActive:
		st, err := seen.standing(ctx, s, v.Tenant, v.Owner)
		if err != nil {
			return View{}, err
		}
		if !st.Active {
			v.Status = StatusSuspended
		}
	}
	return v, nil
}

func (l *lookups) standing(ctx context.Context, s *Service, tenant, owner string) (Standing, error) {
	if l == nil {
		return s.standing(ctx, tenant, owner)
	}
	return remembered(&l.standings, [2]string{tenant, owner}, func() (Standing, error) { return s.standing(ctx, tenant, owner) })
}

func (l *lookups) registration(ctx context.Context, s *Service, tenant, agent string) (Registration, error) {
	if l == nil {
		return s.registration(ctx, tenant, agent)
	}
	return remembered(&l.registrations, [2]string{tenant, agent}, func() (Registration, error) { return s.registration(ctx, tenant, agent) })
}

func remembered[K comparable, V any](m *map[K]V, key K, ask func() (V, error)) (V, error) {
	if v, ok := (*m)[key]; ok {
		return v, nil
	}
	v, err := ask()
	if err != nil {
		return v, err
	}
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = v
	return v, nil
}

// addUnwritten shows uses of this node that are not written yet.
func (s *Service) addUnwritten(t *Token, now time.Time) {
	if u, ok := s.uses.peek(t.ID); ok {
		t.Usage.Uses += u.Count
		if u.LastUsed.After(t.Usage.LastUsed) {
			t.Usage.LastUsed, t.Usage.Address, t.Usage.Networks = u.LastUsed, u.Address, slices.Clone(u.Networks)
		}
		if u.Legacy.After(t.Usage.Legacy) {
			t.Usage.Legacy = u.Legacy
		}
		for p := range periods {
			*p.of(&t.Usage) = p.of(&t.Usage).Add(*p.ofUse(&u), now)
		}
	}
}

// clearEnded leaves out of a view the uses of periods that are over.
func (u *Usage) clearEnded(now time.Time) {
	for p := range periods {
		if of := p.of(u); of.ofNow(p, now).Uses == 0 {
			*of = PeriodUses{}
		}
	}
}

// readable finds a token the actor may see and that is not due to be deleted.
func (s *Service) readable(ctx context.Context, actor Actor, id ID, now time.Time) (*Record, error) {
	if err := actor.check(); err != nil {
		return nil, err
	}
	pw, err := s.powers(ctx, actor)
	if err != nil {
		return nil, err
	}
	rec, err := s.fresh(ctx, id)
	if err != nil {
		return nil, err
	}
	rules, _ := s.rulesOf(rec.Token.Kind)
	if purge := rec.Token.PurgeAt(now); !pw.sees(rules, &rec.Token) || !purge.IsZero() && !now.Before(purge) {
		return nil, ErrNotFound
	}
	return rec, nil
}

// Get returns a token the actor may see. Errors: [ErrNotFound] for all others,
// [ErrUnavailable].
func (s *Service) Get(ctx context.Context, actor Actor, id ID) (View, error) {
	now := s.instant()
	rec, err := s.readable(ctx, actor, id, now)
	if err != nil {
		return View{}, err
	}
	return s.view(ctx, rec, now, nil)
}

// FindBySecret finds one of the tenant's tokens by its value (S1.26): expired,
// disabled and revoked ones too, and a value that a rotation replaced; of an
// imported token the older key too, if it is a single one. It
// authenticates nobody and counts no use. Errors: [ErrNotFound],
// [ErrUnavailable].
func (s *Service) FindBySecret(ctx context.Context, actor Actor, secret string) (View, error) {
	if err := actor.check(); err != nil {
		return View{}, err
	}
	if len(secret) > MaxTokenLength {
		return View{}, ErrNotFound
	}
	parts, ok := parseToken(secret, nil) // of a prefix that is no longer configured, too
	if !ok {
		return s.findByOldKey(ctx, actor, secret)
	}
	now := s.instant()
	rec, err := s.readable(ctx, actor, parts.id, now)
	if err != nil {
		return View{}, err
	}
	sum := digestSecret(parts.secret)
	primary, previous, err := s.checksOf(ctx, rec)
	if err != nil {
		return View{}, err
	}
	if !primary.isOf(&sum, parts.prefix) && !previous.isOf(&sum, parts.prefix) {
		return View{}, ErrNotFound
	}
	return s.view(ctx, rec, now, nil)
}

// findByOldKey is FindBySecret for a key of an older format.
func (s *Service) findByOldKey(ctx context.Context, actor Actor, key string) (View, error) {
	rec, err := s.ofOldKey(ctx, key)
	if err != nil {
		return View{}, err
	}
	now := s.instant()
	if rec, err = s.readable(ctx, actor, rec.Token.ID, now); err != nil {
		return View{}, err
	}
	return s.view(ctx, rec, now, nil)
}

// History returns a token's events in the order they happened, for as long as
// they are kept; after the token is gone too, for actors who may see all of the
// tenant's tokens of its kind, and its owner. The ID "" stands for the tenant's
// settings.
func (s *Service) History(ctx context.Context, actor Actor, id ID) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := actor.check(); err != nil {
			yield(Event{}, err)
			return
		}
		pw, err := s.powers(ctx, actor)
		if err != nil {
			yield(Event{}, err)
			return
		}
		if id != "" && !id.Valid() {
			yield(Event{}, ErrNotFound)
			return
		}
		tenant, after := actor.Tenant, ""
		if actor.crossTenant && id != "" {
			rec, err := s.fresh(ctx, id)
			if err != nil {
				yield(Event{}, err)
				return
			}
			tenant = rec.Token.Tenant
		}
		for {
			events, err := s.store.Events(ctx, tenant, id, after, maxPage)
			if err != nil {
				yield(Event{}, outage("store", err))
				return
			}
			if after == "" && id != "" && (len(events) == 0 || !pw.seesHistory(s, &events[0])) {
				yield(Event{}, ErrNotFound)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			if len(events) < maxPage {
				return
			}
			after = events[len(events)-1].ID
		}
	}
}

func (p *powers) seesHistory(s *Service, first *Event) bool {
	rules, _ := s.rulesOf(first.Target.Kind)
	return p.manages(rules) || first.Target.Owner == p.actor.party()
}
