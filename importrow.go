package apitoken

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// intake is a row made ready to be stored.
type intake struct {
	row    *ImportRow
	actor  Actor // in the row's tenant
	now    time.Time
	format *legacyFormat
	rules  *kindRules
	rec    *Record
}

// readRow makes a record of a row, or says everything that is wrong with it. A
// secret that needs a slow hash is left to hashSlowly.
func (s *Service) readRow(actor Actor, row *ImportRow, now time.Time) (*intake, error) {
	in := &intake{row: row, actor: actor, now: now, rec: &Record{Op: randomBase62(idLen)}}
	var f faults
	in.format = s.formatOf(row.Format, &f)
	if in.format == nil {
		return nil, f.join()
	}
	rules, err := s.kindOf(cmp.Or(row.Kind, in.format.Kind))
	if err != nil {
		return nil, err
	}
	in.rules = rules
	f.identifier("id", row.ID)
	if row.ID == "" {
		f.add("id", "is required: the ID of the row in your table")
	}
	f.identifier("tenant", row.Tenant)
	switch {
	case row.Tenant == "" && actor.crossTenant:
		f.add("tenant", "is required: the actor acts in all tenants")
	case row.Tenant != "" && row.Tenant != actor.Tenant && !actor.crossTenant:
		f.add("tenant", "is not the actor's: import each tenant by its own System actor")
	}
	in.actor.Tenant, in.actor.crossTenant = cmp.Or(row.Tenant, actor.Tenant), false
	f.described(&IssueRequest{Name: cmp.Or(row.Name, row.ID), Description: row.Description, Reason: row.Reason, Metadata: row.Metadata})
	f.text("hint", row.Hint, maxClip, false)
	in.rec.Token = Token{
		ID: ID(s.keyedText(idLen, "id", in.format.Name, row.ID)), Version: 1, Tenant: in.actor.Tenant, Kind: rules.kind,
		Name: cmp.Or(row.Name, row.ID), Description: row.Description, Hint: cmp.Or(row.Hint, in.format.Prefix+"…"), Metadata: row.Metadata,
		State: StateActive, StateAt: now, UpdatedAt: now,
		Resources: Resources{All: true},
		Networks:  f.networks("networks", row.Networks),
		Origins:   f.origins("origins", row.Origins),
		Share:     cmp.Or(row.Share, rules.Share),
		Terms:     Terms{Idle: rules.Lifetime.Idle, Interval: s.opts.UsageInterval, AfterExpiry: rules.AfterExpiry, Purge: rules.Purge},
	}
	f.share(in.rec.Token.Share)
	s.importRights(in, &f)
	in.importLife(&f)
	s.importKey(in, &f)
	if err := f.join(); err != nil {
		return nil, err
	}
	arm(in.rec, now)
	in.rec = in.rec.Clone()
	return in, nil
}

func (s *Service) formatOf(name string, f *faults) *legacyFormat {
	if name == "" && len(s.legacy) == 1 {
		return s.legacy[0]
	}
	i := slices.IndexFunc(s.legacy, func(l *legacyFormat) bool { return l.Name == name })
	if i < 0 {
		f.add("format", "%q is not in Options.Legacy", clip(name))
		return nil
	}
	return s.legacy[i]
}

// importRights says whose the token is and what it may do.
func (s *Service) importRights(in *intake, f *faults) {
	row, t, r := in.row, &in.rec.Token, in.rules
	f.identifier("owner", row.Owner)
	f.identifier("creator", row.Creator)
	switch {
	case r.Ownership == OwnedByAgent:
		f.add("kind", "agents' tokens are not imported: issue new ones")
	case r.Ownership == OwnedByTenant && row.Owner != "":
		f.add("owner", "must be empty: a %s token belongs to no person", r.kind)
	case r.Ownership == OwnedByCreator && row.Owner == "":
		f.add("owner", "is required: a %s token belongs to a person", r.kind)
	}
	t.Owner, t.Creator = row.Owner, cmp.Or(row.Creator, row.Owner, in.actor.ID)
	if r.FreezeResources {
		t.Resources = row.Resources
	}
	if r.Grant != GrantLive && row.Role == "" && row.Permissions == nil && r.DefaultRole == "" {
		if s.opts.Catalog != nil {
			f.add("permissions", "are required: name them, or an empty list for none")
		}
		row.Permissions = []string{}
	}
	all := powers{actor: in.actor, permissions: s.opts.Catalog.API()}
	t.Grant = s.grant(&all, r, row.Role, row.Permissions, f)
}

// importLife says how long the token lived and will live, and whether it still
// does. What is stopped is so from now on: a kind that deletes after a week gives
// it the week.
func (in *intake) importLife(f *faults) {
	row, t, now := in.row, &in.rec.Token, in.now
	micro := func(at time.Time) time.Time {
		if at.IsZero() {
			return at
		}
		return at.UTC().Truncate(time.Microsecond)
	}
	for _, c := range []struct {
		field string
		at    time.Time
	}{{"created_at", row.CreatedAt}, {"expires_at", row.ExpiresAt}, {"last_used", row.LastUsed}} {
		if y := c.at.UTC().Year(); !c.at.IsZero() && (y < 1970 || y > 9999) {
			f.add(c.field, "is in the year %d", y)
		}
	}
	t.CreatedAt = micro(row.CreatedAt)
	if row.CreatedAt.IsZero() || row.CreatedAt.After(now) {
		t.CreatedAt = now
	}
	if row.Uses < 0 {
		f.add("uses", "is negative")
	}
	used := micro(row.LastUsed)
	if used.After(now) {
		used = now // the clock that wrote it ran ahead
	}
	t.Usage = Usage{Uses: row.Uses, LastUsed: used, Legacy: used}
	if in.rules.Lifetime.Required && row.ExpiresAt.IsZero() {
		f.add("expires_at", "is required for kind %q", in.rules.kind)
	}
	if t.ExpiresAt = micro(row.ExpiresAt); !t.ExpiresAt.IsZero() {
		t.ExpirySetAt = t.CreatedAt
		t.WholeDay = in.rules.Lifetime.WholeDay && t.ExpiresAt.Equal(dayOf(t.ExpiresAt))
	}
	stop := func(state State, cause Cause) { t.State, t.Cause, t.Reason = state, cause, row.Reason }
	if in.rec.ExpiryDone = t.Expired(now); in.rec.ExpiryDone && in.rules.AfterExpiry == ExpiryDisables {
		stop(StateDisabled, CauseExpired)
	}
	if t.idle(now) { // now, and not by the next sweep, which would tell people
		stop(StateRevoked, CauseIdle)
	}
	switch row.Status {
	case "", StatusActive:
	case StatusDisabled:
		if t.State == StateActive {
			stop(StateDisabled, CauseByHand)
		}
	case StatusRevoked:
		stop(StateRevoked, CauseByHand)
	default:
		f.add("status", "%q cannot be imported: use active, disabled or revoked, and expires_at for expired", clip(string(row.Status)))
	}
}

// keyField is the field of a row that names its key.
func (in *intake) keyField() string {
	switch {
	case in.format.Pair:
		return "pair_id"
	case in.format.byHandle:
		return "handle"
	case in.format.Digest == LegacyPlain:
		return "secret"
	}
	return "digest"
}

// importKey says how the token is found and checked.
func (s *Service) importKey(in *intake, f *faults) {
	row, l, rec := in.row, in.format, in.rec
	field, text := "digest", row.Digest.Reveal()
	if l.Digest == LegacyPlain {
		field, text = "secret", row.Secret.Reveal()
	}
	if text == "" || !row.Secret.IsZero() && !row.Digest.IsZero() {
		f.add(field, "is what rows of format %q have: give it and nothing else", l.Name)
		return
	}
	var sum []byte
	ok := true
	switch l.Digest {
	case LegacyPlain:
		ok = l.fits(text)
		sum = rawDigest(l.raw, text)
		if l.byHandle && ok && row.Handle == "" {
			row.Handle = text[:l.Handle]
		}
	case LegacySHA256, LegacySHA512:
		size := len(rawDigest(l.raw, ""))
		sum, ok = decodeDigest(text, size)
		if !ok {
			f.add(field, "is not %d bytes in hex or base64", size)
			return
		}
	case LegacyBcrypt:
		if err := checkBcrypt(text); err != nil {
			f.add(field, "%s", err)
		}
	case LegacyArgon2id:
		if _, err := parseArgonHash(text); err != nil {
			f.add(field, "%s", err)
		}
	}
	if !ok {
		f.add(field, "does not have the shape of format %q: compare length, prefix and alphabet", l.Name)
		return
	}
	switch {
	case l.Pair:
		f.pairID("pair_id", row.PairID)
		rec.Alias = row.PairID
	case row.PairID != "":
		f.add("pair_id", "must be empty: keys of format %q have no ID of their own", l.Name)
	case l.byHandle && (len(row.Handle) != l.Handle || !l.begins(row.Handle) || l.Digest == LegacyPlain && row.Handle != text[:l.Handle]):
		f.add("handle", "must be the key's first %d bytes: a key with a slow hash is found by nothing else", l.Handle)
	case l.byHandle:
		rec.Alias = s.handleAlias(l, row.Handle)
		if row.Hint == "" {
			rec.Token.Hint = row.Handle + "…"
		}
	default:
		rec.Alias = s.digestAlias(l, sum)
	}
	switch {
	case l.Digest == LegacyBcrypt:
		rec.Legacy = Slot{Algorithm: algorithmBcrypt, Prefix: l.Name, Blob: []byte(text)}
	case l.Digest == LegacyArgon2id || l.Digest == LegacyPlain && (l.byHandle || l.Pair && l.guessable(text)):
		rec.Legacy = Slot{Algorithm: algorithmArgon2id, Prefix: l.Name, Blob: []byte(row.Digest.Reveal())}
	case l.Digest == LegacyPlain && l.Pair:
		strong := digestLegacy(rec.Alias, text)
		rec.Legacy = Slot{Algorithm: algorithmSHA256, Prefix: l.Name, Blob: strong[:]}
	default:
		rec.Legacy = s.rawSlot(l, rec.Alias, sum)
	}
}

// hashSlowly fills in the hash of a secret that could be guessed.
func (s *Service) hashSlowly(ctx context.Context, in *intake, patient bool) error {
	if slot := &in.rec.Legacy; slot.Algorithm == algorithmArgon2id && len(slot.Blob) == 0 {
		return s.slow.do(ctx, patient, func() { slot.Blob = []byte(newArgonHash(in.row.Secret.Reveal()).String()) })
	}
	return nil
}
