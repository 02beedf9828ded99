package apitoken

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// ImportRow is a row of the host's own table of keys. ID, Tenant and what checks
// the key are required, and Owner for kinds that belong to a person.
type ImportRow struct {
	// ID of the row in the host's table: stable, and unique among the rows of its
	// Format. A row is imported once, however often it comes.
	ID     string
	Format string // the name of one of [Options].Legacy; "" = the only one
	Kind   Kind   // Defaults to the format's
	Tenant string // Defaults to the actor's

	// Secret is the key or the pair's secret, for formats whose rows hold that;
	// Digest is its hash for all others, as the row has it.
	Secret Secret
	Digest Secret
	PairID string // the ID that goes with a pair's secret
	Handle string // the key's public first bytes, for formats with Handle whose rows hold a hash

	Owner   string // user ID; must be empty for kinds OwnedByTenant
	Creator string // Defaults to Owner, then to the actor
	// Name, Hint and what follows are as in [IssueRequest] and [Token]. Name
	// defaults to ID, Hint to the format's prefix.
	Name        string
	Description string
	Hint        string
	Metadata    map[string]string
	Networks    []string
	Origins     []string
	Share       int
	// Role or Permissions is what the token may do, checked against the Catalog and
	// the kind's ceiling, not against what anybody has today. Both nil is an error
	// where there is a Catalog, unless the kind's grant is live or it has a
	// DefaultRole: neither 'all' nor 'none' is guessed.
	Role        string
	Permissions []string
	Resources   Resources // for kinds with FreezeResources; all others get all groups

	CreatedAt time.Time // zero = now
	// ExpiresAt is the instant from which on the key is refused; zero = never. The
	// kind's bounds are not asked: it is kept as it was promised.
	ExpiresAt time.Time
	LastUsed  time.Time // zero = never. A kind with an idle time counts it from here, or from CreatedAt
	Uses      int64
	Status    Status // StatusActive (also ""), StatusDisabled or StatusRevoked; an expired one has its ExpiresAt
	Reason    string // why it is disabled or revoked

	// NewValue generates a value beside the older credential, and hands it to the
	// caller's function, once (S3.19). Otherwise the token gets one by Rotate, which
	// ends the older credential.
	NewValue bool
}

// ImportOutcome is what became of a row.
type ImportOutcome string

// The outcomes.
const (
	ImportedNew     ImportOutcome = "imported" // a token was made
	ImportedBefore  ImportOutcome = "before"   // there is one already; nothing was changed but its last use
	ImportedStopped ImportOutcome = "stopped"  // there is one already; the host has disabled or revoked the row since, so it is too
	ImportedDeleted ImportOutcome = "deleted"  // its token was deleted since, and stays so
	ImportFailed    ImportOutcome = "failed"
)

// Imported tells of one row.
type Imported struct {
	Row     string // ImportRow.ID
	Token   ID     // "" when the row failed
	Outcome ImportOutcome
	Status  Status // of the token; "" when there is none
	Err     error  // an *ImportError when the row failed
	Secret  Secret // of a row with NewValue that was imported now; shown now and never again
}

// ImportReport counts rows by their outcome.
type ImportReport struct {
	Rows, New, Before, Stopped, Deleted, Failed int
	// NotActive is how many of New do not work: expired, disabled, revoked, or unused
	// for longer than their kind's idle time. More than you expect is a sign that
	// rows lack their last use.
	NotActive int
	Faults    []*ImportError // the first 100
}

// ImportError says which row could not be imported and why. It repeats no secret
// and no digest.
type ImportError struct {
	Row string
	Err error
}

func (e *ImportError) Error() string {
	var all []string
	for _, f := range Fields(e.Err) {
		all = append(all, f.Field+": "+f.Problem)
	}
	if len(all) == 0 {
		all = append(all, strings.TrimPrefix(e.Err.Error(), "apitoken: "))
	}
	return fmt.Sprintf("apitoken: row %q: %s", clip(e.Row), strings.Join(all, "; "))
}
func (e *ImportError) Unwrap() error  { return e.Err }
func (e *ImportError) Reason() string { return ReasonOf(e.Err) }

const maxImportFaults = 100

// Import makes tokens of the rows of the host's own table, so that their keys go on
// working, as tokens with every rule of their kind. It keeps created, expires, last
// use, uses and status, writes one event for each token and tells nobody.
//
// It is safe to repeat and to run beside requests: a row that was imported makes no
// second token, and brings nothing back that was stopped or deleted since. What the
// row says about disabled and revoked is taken over, as long as the token was not
// changed here. Rows are worked off one after another; a row that fails is counted,
// told and passed over. each, unless nil, is called with every row's outcome; its
// error ends the import and is returned as it is.
//
// The actor must be of the host's own: [System] for one tenant,
// [DangerouslyCrossTenant] for rows of several. Errors: [ErrForbidden],
// [ErrInvalid] when Options.Legacy is empty, and [ErrUnavailable], with what was
// done so far in the report: repeat the call.
func (s *Service) Import(ctx context.Context, actor Actor, rows iter.Seq2[ImportRow, error], each func(Imported) error) (ImportReport, error) {
	var report ImportReport
	if err := actor.check(); err != nil {
		return report, err
	}
	if !actor.system {
		return report, mayNot("keys are imported by the host's own jobs only: use System")
	}
	if len(s.legacy) == 0 {
		return report, fieldErr("Legacy", "is empty: describe the format of the older keys in Options.Legacy")
	}
	for row, err := range rows {
		if err := ctx.Err(); err != nil {
			return report, outage("store", err)
		}
		out := Imported{Row: row.ID}
		if err == nil {
			out, err = s.importRow(ctx, actor, row, each != nil)
			if errors.Is(err, ErrUnavailable) {
				return report, err
			}
		} else {
			err = outage("rows", err)
		}
		if err != nil {
			out = Imported{Row: row.ID, Outcome: ImportFailed, Err: &ImportError{Row: row.ID, Err: err}}
		}
		report.count(out)
		if each != nil {
			if err := each(out); err != nil {
				return report, err
			}
		}
	}
	return report, nil
}

func (r *ImportReport) count(out Imported) {
	r.Rows++
	switch out.Outcome {
	case ImportedNew:
		r.New++
		if out.Status != StatusActive {
			r.NotActive++
		}
	case ImportedBefore:
		r.Before++
	case ImportedStopped:
		r.Stopped++
	case ImportedDeleted:
		r.Deleted++
	case ImportFailed:
		r.Failed++
		if fault, ok := errors.AsType[*ImportError](out.Err); ok && len(r.Faults) < maxImportFaults {
			r.Faults = append(r.Faults, fault)
		}
	}
}

// importRow imports one row, or finds that it was imported before.
func (s *Service) importRow(ctx context.Context, actor Actor, row ImportRow, asked bool) (Imported, error) {
	if row.NewValue && !asked {
		return Imported{}, fieldErr("new_value", "needs a function that takes the value: nobody would ever see it")
	}
	in, err := s.readRow(actor, &row, s.instant())
	if err != nil {
		return Imported{}, err
	}
	id := in.rec.Token.ID
	old, err := s.fresh(ctx, id) // before any slow hash: repeating an import is cheap
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Imported{}, err
	}
	out := Imported{Row: row.ID, Token: id, Outcome: ImportedNew}
	if old == nil {
		if err := s.hashSlowly(ctx, in, true); err != nil {
			return Imported{}, err
		}
		if row.NewValue {
			out.Secret = in.rec.newValue(in.rules.prefix)
		}
		old, err = s.adopt(ctx, in)
		switch {
		case errors.Is(err, errDeletedSince):
			return Imported{Row: row.ID, Token: id, Outcome: ImportedDeleted}, nil
		case err != nil:
			return Imported{}, err
		case old == nil:
			out.Status = in.rec.Token.StatusAt(in.now)
			return out, nil
		}
	}
	out.Secret = Secret{} // of a value that was not stored
	out.Outcome, out.Status, err = s.importAgain(ctx, in, old)
	return out, err
}

// errDeletedSince: the row was imported before and its token deleted.
var errDeletedSince = errors.New("the token of this row was deleted")

// adopt stores the record of a row. If there is a token of the row already it
// returns that one.
//
// The ID of a row is always the same, and events outlive their token: a row whose
// ID has a history was imported before. Without this, a key that was deleted would
// come back with the next import, or by itself at its next use.
func (s *Service) adopt(ctx context.Context, in *intake) (old *Record, err error) {
	t := &in.rec.Token
	before, err := s.store.Events(ctx, t.Tenant, t.ID, "", 1)
	if err != nil {
		return nil, outage("store", err)
	}
	if len(before) > 0 {
		old, err := s.store.Get(ctx, t.ID) // another node may have been faster
		if errors.Is(err, ErrNotFound) {
			return nil, errDeletedSince
		}
		return old, storeErr(err)
	}
	ch := &change{s: s, now: in.now, actor: in.actor, rules: in.rules, known: true, reason: in.row.Reason, rec: in.rec}
	e := ch.event(EventImported, t.Cause)
	e.Version, e.ID, e.Deliver = 1, eventID(string(t.ID), 1, 0), false
	err = s.store.Create(ctx, in.rec, []Event{e})
	if err == nil {
		return nil, nil
	}
	stored, again := s.store.Get(ctx, t.ID)
	dup, taken := errors.AsType[*DuplicateError](err)
	switch {
	case again == nil && stored.Op == in.rec.Op: // unclear, and it happened
		return nil, nil
	case taken && again == nil:
		return stored, nil
	case taken && errors.Is(again, ErrNotFound):
		return nil, fieldErr(in.keyField(), "is the key of another token already (%s is taken)", dup.Field)
	}
	return nil, outage("store", err)
}

// importAgain takes over what the host's own system did to a row since it was
// imported: uses, and what stops the token. Nothing that starts one.
func (s *Service) importAgain(ctx context.Context, in *intake, old *Record) (ImportOutcome, Status, error) {
	t, row := &old.Token, in.row
	if old.Alias != in.rec.Alias || t.Tenant != in.rec.Token.Tenant {
		return "", "", fieldErr("id", "was imported with another key or tenant: the IDs of the rows of a format must be unique and stable")
	}
	if used := in.rec.Token.Usage.LastUsed; used.After(t.Usage.LastUsed) {
		u := Use{ID: t.ID, LastUsed: used, Legacy: used, Address: t.Usage.Address, Networks: t.Usage.Networks}
		if err := s.store.Touch(ctx, []Use{u}); err != nil {
			return "", "", outage("store", err)
		}
		t.Usage.LastUsed = used
	}
	state, what := StateRevoked, EventRevoked
	if row.Status == StatusDisabled {
		state, what = StateDisabled, EventDisabled
	}
	stops := func(t *Token) bool {
		return row.Status == StatusRevoked && t.State != StateRevoked ||
			row.Status == StatusDisabled && t.State == StateActive && t.Version == 1 // else somebody here has decided since
	}
	if !stops(t) {
		return ImportedBefore, t.StatusAt(in.now), nil
	}
	stopped := false
	ch, err := s.change(ctx, in.actor, t.ID, changeOptions{verb: verbRevoke, reason: row.Reason}, func(ch *change) error {
		if stopped = stops(&ch.rec.Token); !stopped {
			return nil
		}
		ch.setState(state, CauseByHand)
		ch.note(what, CauseByHand)
		ch.events[len(ch.events)-1].Deliver = false
		return nil
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return ImportedDeleted, "", nil
	case err != nil:
		return "", "", err
	case !stopped:
		return ImportedBefore, ch.rec.Token.StatusAt(in.now), nil
	}
	return ImportedStopped, ch.rec.Token.StatusAt(in.now), nil
}

// fallBack asks the host's old table about a key that is not imported, and imports
// it if the secret matches the row: callers who know no key make no token.
func (s *Service) fallBack(ctx context.Context, f *legacyFormat, key LegacyKey, alias string, found *identified) error {
	if s.opts.Fallback == nil || found.noImport {
		return ErrUnknownToken
	}
	row, err := s.opts.Fallback(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return ErrUnknownToken
	}
	if err != nil {
		return outage("fallback", err)
	}
	row.Format, row.NewValue = f.Name, false
	actor := System("apitoken", row.Tenant)
	err = actor.check()
	var in *intake
	if err == nil {
		in, err = s.readRow(actor, &row, found.now.UTC().Truncate(time.Microsecond))
	}
	if err == nil && in.rec.Alias != alias {
		err = fieldErr(in.keyField(), "is not that of the key that was asked for")
	}
	if err != nil {
		return outage("fallback", &ImportError{Row: row.ID, Err: err})
	}
	secret, match := key.Secret.Reveal(), false
	if row.Secret.IsZero() {
		match, err = s.opens(ctx, &in.rec.Legacy, alias, secret)
	} else {
		match = subtle.ConstantTimeCompare([]byte(row.Secret.Reveal()), []byte(secret)) == 1
	}
	if err != nil {
		return err
	}
	if !match {
		return ErrWrongSecret
	}
	if err := s.hashSlowly(ctx, in, false); err != nil {
		return err
	}
	old, err := s.adopt(ctx, in)
	switch {
	case errors.Is(err, errDeletedSince):
		return ErrUnknownToken
	case errors.Is(err, ErrInvalid):
		return outage("fallback", &ImportError{Row: row.ID, Err: err})
	case err != nil:
		return err
	case old == nil:
		found.c, found.scheme = s.compile(in.rec), SchemeLegacy
		return nil
	case old.Alias != alias:
		return outage("fallback", &ImportError{Row: row.ID, Err: fieldErr("id", "was imported with another key")})
	}
	// Another node may have been faster, and somebody have rotated or stopped the
	// token since: it is judged as it is stored.
	return s.openLegacy(ctx, old, secret, func(format string) bool { return format == f.Name }, found)
}

// CutOver tells whether older credentials can be switched off.
type CutOver struct {
	Ready  bool   `json:"ready"`            // nobody used one since
	Open   int    `json:"open"`             // active tokens that an older credential opens
	Used   int    `json:"used"`             // of those, used through it since
	Tokens []View `json:"tokens,omitempty"` // those, at most 1,000, the oldest first
}

const maxCutOverTokens = 1000

// ReadyToCutOver tells which of the active tokens that the actor may see were still
// used through an older credential at since or later. Their holders should take a
// new value (Rotate) before the format is taken out of Options.Legacy. What other
// nodes have not written yet is missing: wait for one [Options].UsageInterval after
// the last request that matters.
//
// Errors: [ErrInvalid], [ErrForbidden], [ErrUnavailable].
func (s *Service) ReadyToCutOver(ctx context.Context, actor Actor, since time.Time) (CutOver, error) {
	query, err := s.query(ctx, actor)
	if err != nil {
		return CutOver{}, err
	}
	query.Status, query.Sort, query.Limit = StatusActive, SortCreated, maxPage
	out := CutOver{}
	for {
		recs, err := s.store.List(ctx, query)
		if err != nil {
			return CutOver{}, outage("store", err)
		}
		for _, rec := range recs {
			if rec.Legacy.IsZero() {
				continue
			}
			out.Open++
			v := s.plainView(rec, query.Now)
			if v.Usage.Legacy.IsZero() || v.Usage.Legacy.Before(since) {
				continue
			}
			out.Used++
			if len(out.Tokens) < maxCutOverTokens {
				out.Tokens = append(out.Tokens, v)
			}
		}
		if len(recs) < query.Limit {
			out.Ready = out.Used == 0
			return out, nil
		}
		after := PositionOf(&recs[len(recs)-1].Token, query.Sort, query.Now)
		query.After = &after
	}
}

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
