package sqlengine

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tokenry/apitoken"
)

// columns walks over the columns of a token. One walk serves reading and writing,
// so that they cannot differ; storetest finds a field that the walk forgets.
type columns struct {
	mode   walk
	names  []string
	args   []any // what is written, or where what is read goes
	faults []string
}

type walk int

const (
	writing walk = iota
	reading
	naming
)

// token walks over all columns.
func (c *columns) token(rec *apitoken.Record) {
	c.fixed(rec)
	c.changing(rec)
	c.usage(&rec.Token.Usage)
}

// fixed are the columns that Create alone writes.
func (c *columns) fixed(rec *apitoken.Record) {
	t := &rec.Token
	c.text("id", (*string)(&t.ID), 22)
	c.text("tenant", &t.Tenant, maxIdentifier)
	c.text("kind", (*string)(&t.Kind), maxIdentifier)
	c.text("creator", &t.Creator, maxIdentifier)
	c.instant("created_at", &t.CreatedAt)
	c.optional("idempotency_key", &rec.IdempotencyKey)
	c.bytes("issue_sum", &rec.IssueSum)
}

// changing are the columns that Create and Swap write. Those that a newer version
// has beside them stay as they are.
func (c *columns) changing(rec *apitoken.Record) {
	t := &rec.Token
	c.number("version", &t.Version)
	c.text("name", &t.Name, maxName)
	c.text("description", &t.Description, maxText)
	c.text("hint", &t.Hint, maxIdentifier)
	c.pairs("metadata", &t.Metadata)
	c.text("owner", &t.Owner, maxIdentifier)
	c.text("agent", &t.Agent, maxIdentifier)
	c.text("state", (*string)(&t.State), maxWord)
	c.text("cause", (*string)(&t.Cause), maxWord)
	c.text("reason", &t.Reason, maxText)
	c.instant("state_at", &t.StateAt)
	c.flag("grant_live", &t.Grant.Live)
	c.flag("grant_cut", &t.Grant.Cut)
	c.text("grant_role", &t.Grant.Role, maxIdentifier)
	c.list("permissions", &t.Grant.Permissions)
	c.flag("all_resources", &t.Resources.All)
	c.list("resource_groups", &t.Resources.Groups)
	c.networks("networks", &t.Networks)
	c.list("origins", &t.Origins)
	c.count("share", &t.Share)
	c.instant("updated_at", &t.UpdatedAt)
	c.endless("expires_at", &t.ExpiresAt)
	c.instant("expiry_set_at", &t.ExpirySetAt)
	c.flag("whole_day", &t.WholeDay)
	c.instant("rotated_at", &t.RotatedAt)
	c.number("idle_after", (*int64)(&t.Terms.Idle))
	c.number("usage_interval", (*int64)(&t.Terms.Interval))
	c.text("after_expiry", (*string)(&t.Terms.AfterExpiry), maxWord)
	c.number("purge_after", (*int64)(&t.Terms.Purge))
	c.number("purge_expired_after", (*int64)(&t.Terms.PurgeExpired))
	c.number("notice_before", (*int64)(&t.Terms.Notice))
	c.flag("revoke_on_deactivation", &t.Terms.RevokeOnDeactivation)
	c.slot(&rec.Primary, "primary_algorithm", "primary_key_id", "primary_prefix", "primary_check")
	c.slot(&rec.Previous, "previous_algorithm", "previous_key_id", "previous_prefix", "previous_check")
	c.instant("previous_until", &rec.PreviousUntil)
	c.flag("reuse_reported", &rec.ReuseReported)
	c.optional("alias", &rec.Alias)
	c.slot(&rec.Legacy, "legacy_algorithm", "legacy_key_id", "legacy_prefix", "legacy_check")
	c.text("rotate_key", &rec.RotateKey, maxIdentifier)
	c.bytes("rotate_sum", &rec.RotateSum)
	c.endless("due_at", &rec.DueAt)
	c.flag("expiry_done", &rec.ExpiryDone)
	c.flag("notice_done", &rec.NoticeDone)
	c.text("op", &rec.Op, maxWord)
}

// usage are the columns that Create and Touch write. None of them is in an index,
// so that a touch is cheap.
func (c *columns) usage(u *apitoken.Usage) {
	c.number("uses", &u.Uses)
	c.instant("last_used", &u.LastUsed)
	c.address("last_address", &u.Address)
	c.networks("recent_networks", &u.Networks)
	c.instant("legacy_use", &u.Legacy)
	c.periodUses("day_from", "day_uses", &u.Day)
	c.periodUses("week_from", "week_uses", &u.Week)
	c.periodUses("month_from", "month_uses", &u.Month)
}

func (c *columns) periodUses(from, uses string, u *apitoken.PeriodUses) {
	c.instant(from, &u.From)
	c.number(uses, &u.Uses)
}

// slot takes the names whole: putting them together took two of the microseconds of
// a look-up.
func (c *columns) slot(s *apitoken.Slot, algorithm, keyID, prefix, check string) {
	c.text(algorithm, &s.Algorithm, maxWord)
	c.text(keyID, &s.KeyID, maxIdentifier)
	c.text(prefix, &s.Prefix, maxIdentifier)
	c.bytes(check, &s.Blob)
}

// The longest texts, in bytes. MariaDB's columns have room for as many characters.
const (
	maxWord       = 64
	maxIdentifier = 256
	maxName       = 1024
	maxText       = 16_384
	maxBytes      = 1024
)

// err says what cannot be stored, alike on every engine: one of them would cut a
// text, another refuse it, a third store it.
func (c *columns) err() error {
	if len(c.faults) == 0 {
		return nil
	}
	return fmt.Errorf("cannot be stored: %s", strings.Join(c.faults, "; "))
}

// storable reports whether every engine keeps s as it is.
func storable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// tokenColumns are the names of the columns of the walk's parts.
func tokenColumns(part func(*columns, *apitoken.Record)) []string {
	c := columns{mode: naming}
	part(&c, new(apitoken.Record))
	return c.names
}

// written returns the values of the columns of a part of the walk.
func written(part func(*columns, *apitoken.Record), rec *apitoken.Record) ([]any, error) {
	c := columns{args: make([]any, 0, columnCount)}
	part(&c, rec)
	return c.args, c.err()
}

// scanToken reads a row that was selected with all columns.
func scanToken(rows Rows) (*apitoken.Record, error) {
	rec := new(apitoken.Record)
	c := columns{mode: reading, args: make([]any, 0, columnCount)}
	c.token(rec)
	if err := rows.Scan(c.args...); err != nil {
		return nil, err
	}
	return rec, nil
}

const columnCount = 78 // or so
