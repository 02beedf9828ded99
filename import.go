package apitoken

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	if row.NewValue && !in.rules.bearer {
		return Imported{}, fieldErr("new_value", "is a bearer value, and tokens of kind %q sign their requests: import the row without, or into another kind", in.rules.kind)
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
			if out.Secret, err = s.putValue(ctx, in.rec, in.rules.prefix, newValue{credential: CredentialBearer}); err != nil {
				return Imported{}, err
			}
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
	case taken && dup.Field == "id" && errors.Is(again, ErrNotFound):
		return nil, errDeletedSince // by another node, after we looked
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
