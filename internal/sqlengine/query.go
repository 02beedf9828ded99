package sqlengine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
)

// List implements [apitoken.Store].
func (e *Engine) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	column := sortColumn(query.Sort)
	q, ok := e.search(&query, e.inOrder(&query, column))
	if !ok || query.Limit <= 0 {
		return nil, ctx.Err()
	}
	direction, beyond := "", ">"
	if query.Desc {
		direction, beyond = " DESC", "<"
	}
	if at := query.After; at != nil {
		var value any = at.Number
		if query.Sort == apitoken.SortName || query.Sort == apitoken.SortKind {
			if !storable(at.Text, maxText) {
				return nil, ctx.Err() // no token stands there
			}
			value = at.Text
		}
		q.where(column+" "+beyond+"= ? AND ("+column+" "+beyond+" ? OR id "+beyond+" ?)", value, value, string(at.ID))
	}
	text := "SELECT " + strings.Join(tokenColumns((*columns).token), ", ") + q.from() +
		" ORDER BY " + column + direction + ", id" + direction + " LIMIT ?"
	return e.tokens(ctx, "list", &Statement{Text: e.text(text)}, append(q.args, int64(query.Limit)))
}

// Counts implements [apitoken.Store].
func (e *Engine) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	counts := make(map[apitoken.Kind]int)
	q, ok := e.search(&query, "")
	if !ok {
		return counts, ctx.Err()
	}
	c, err := e.reader(ctx)
	if err != nil {
		return nil, err
	}
	st := &Statement{Text: e.text("SELECT kind, COUNT(*)" + q.from() + " GROUP BY kind")}
	err = each(ctx, c, st, q.args, func(rows Rows) error {
		var kind string
		var n count
		err := rows.Scan(&kind, &n)
		counts[apitoken.Kind(kind)] = int(n)
		return err
	})
	if err != nil {
		return nil, e.outage("counts", err)
	}
	return counts, nil
}

// search is a list query on its way to SQL. What apitoken computes of a token and
// an instant (Token.IdleAt, StatusAt, PurgeAt and so on) are columns of nested
// selects, each made of the columns of the one within.
type search struct {
	source string
	args   []any
	terms  []string
}

// where adds a condition.
func (q *search) where(condition string, args ...any) {
	q.terms = append(q.terms, condition)
	q.args = append(q.args, args...)
}

func (q *search) from() string {
	return " FROM " + q.source + " WHERE " + strings.Join(q.terms, " AND ")
}

// inOrder hints at the index that has the rows in the order of the list. Left to
// itself MariaDB looks for the tenant only, and reads all that stands before the
// position.
func (e *Engine) inOrder(query *apitoken.StoreQuery, column string) string {
	switch {
	case column != "created_at" || query.Tenant == "":
		return ""
	case query.Owner != "":
		return e.d.by("tokens_owner")
	case query.Agent != "":
		return e.d.by("tokens_agent")
	}
	return e.d.by("tokens_tenant")
}

// search translates [apitoken.StoreQuery.Matches]. It reports false if nothing
// can match.
func (e *Engine) search(query *apitoken.StoreQuery, hint string) (*search, bool) {
	q := &search{source: "{tokens} t" + hint}
	e.compute(q, query.Now)
	if !e.scope(q, query) {
		return nil, false
	}
	text := func(column, value string) bool {
		if value != "" {
			q.where(column+" = ?", value)
		}
		return storable(value, maxIdentifier)
	}
	if !text("owner", query.Owner) || !text("agent", query.Agent) || !text("creator", query.Creator) {
		return nil, false
	}
	if query.HasAgent {
		q.where("agent <> ''")
	}
	if query.Status != "" {
		rank := slices.Index(statuses, query.Status)
		if rank < 0 {
			return nil, false
		}
		q.where("status_rank = ?", int64(rank))
	}
	if query.MetaKey != "" {
		if !storable(query.MetaKey, maxText) || !storable(query.MetaValue, maxText) {
			return nil, false
		}
		q.where(e.d.contains, "\n"+encodePair(query.MetaKey, query.MetaValue))
	}
	// What is due to be deleted is gone, unless its idle time ends before: revoked
	// tokens are kept.
	now := query.Now.UnixMicro()
	q.where("(purge_at > ? OR idle_at <= ? AND idle_at <= purge_at)", now, now)
	return q, true
}

// scope restricts tenant and kinds.
func (e *Engine) scope(q *search, query *apitoken.StoreQuery) bool {
	switch {
	case query.Tenant != "":
		if !storable(query.Tenant, maxIdentifier) {
			return false
		}
		q.where("tenant = ?", query.Tenant)
	case !query.AnyTenant:
		return false
	}
	if !query.AllKinds {
		var some []string
		if len(query.Kinds) > 0 {
			some = append(some, "kind IN ("+places(len(query.Kinds))+")")
			q.args = append(q.args, kinds(query.Kinds)...)
		}
		if query.OwnedBy != "" && len(query.OwnKinds) > 0 && storable(query.OwnedBy, maxIdentifier) {
			some = append(some, "owner = ? AND kind IN ("+places(len(query.OwnKinds))+")")
			q.args = append(append(q.args, query.OwnedBy), kinds(query.OwnKinds)...)
		}
		if len(some) == 0 {
			return false
		}
		q.where("(" + strings.Join(some, " OR ") + ")")
	}
	if len(query.OnlyKinds) > 0 {
		q.where("kind IN ("+places(len(query.OnlyKinds))+")", kinds(query.OnlyKinds)...)
	}
	return true
}

func kinds(list []apitoken.Kind) []any {
	out := make([]any, len(list))
	for i, k := range list {
		out[i] = string(k)
	}
	return out
}

// statuses and the ranks below are in the order in which [apitoken.PositionOf]
// counts them; storetest compares them.
var statuses = []apitoken.Status{
	apitoken.StatusActive, apitoken.StatusSuspended, apitoken.StatusDisabled, apitoken.StatusExpired, apitoken.StatusRevoked,
}

func sortColumn(key apitoken.SortKey) string {
	switch key {
	case apitoken.SortName:
		return "name"
	case apitoken.SortKind:
		return "kind"
	case apitoken.SortUses:
		return "uses"
	case apitoken.SortExpires:
		return "ends_at"
	case apitoken.SortLastUsed:
		return "last_used"
	case apitoken.SortStatus:
		return "status_rank"
	case apitoken.SortHealth:
		return "health_rank"
	}
	return "created_at"
}

// compute adds the columns that depend on the instant: the same arithmetic as
// lifecycle.go in package apitoken, on whole microseconds. Durations are stored in
// nanoseconds.
func (e *Engine) compute(q *search, at time.Time) {
	now := at.UnixMicro()
	level := func(columns string, args ...any) {
		q.source = "(SELECT t.*, " + columns + " FROM " + q.source + ") t"
		q.args = append(args, q.args...) // the outer select's placeholders come first
	}
	micros := func(column string) string { return column + " " + e.d.divide + " 1000" }
	// The last use, clamped to the present, and the length of the interval it falls into.
	level("CASE WHEN last_used > ? THEN ? ELSE last_used END AS seen_at, "+micros("usage_interval")+" AS step", now, now)
	// The instant from which the idle time counts.
	level("CASE WHEN last_used < created_at THEN created_at WHEN step > 0 THEN seen_at - seen_at % step + step ELSE seen_at END AS renewed_at")
	level("CASE WHEN state = 'revoked' OR idle_after <= 0 THEN " + neverText + " ELSE renewed_at + " + micros("idle_after") + " END AS idle_at, " +
		"CASE WHEN state = 'disabled' AND purge_after > 0 AND after_expiry IN ('', 'disable') THEN state_at + " + micros("purge_after") + " ELSE " + neverText + " END AS purge_disabled_at, " +
		"CASE WHEN state IN ('active', 'disabled') AND after_expiry = '' AND purge_expired_after > 0 AND expires_at < " + neverText + " THEN expires_at + " + micros("purge_expired_after") +
		" WHEN state = 'active' AND after_expiry = 'disable' AND purge_after > 0 AND expires_at < " + neverText + " THEN expires_at + " + micros("purge_after") + " ELSE " + neverText + " END AS purge_expired_at")
	level("CASE WHEN idle_at < expires_at THEN idle_at ELSE expires_at END AS ends_at, "+
		"CASE WHEN purge_disabled_at < purge_expired_at THEN purge_disabled_at ELSE purge_expired_at END AS purge_at, "+
		"CASE WHEN state = 'revoked' OR idle_at <= ? THEN 4 WHEN state = 'disabled' AND after_expiry = 'disable' THEN 2 "+
		"WHEN expires_at <= ? AND after_expiry = 'disable' THEN 2 WHEN expires_at <= ? THEN 3 WHEN state = 'disabled' THEN 2 ELSE 0 END AS status_rank", now, now, now)
	level("CASE WHEN status_rank = 4 THEN 4 WHEN expires_at <= ? THEN 1 WHEN status_rank = 2 THEN 4 WHEN ends_at <= ? THEN 1 "+
		"WHEN last_used > 0 AND last_used >= ? THEN 2 ELSE 3 END AS health_rank", now, now+week, now-threeDays)
}

const (
	neverText = "9223372036854775807"
	threeDays = int64(3 * 24 * time.Hour / time.Microsecond)
	week      = int64(7 * 24 * time.Hour / time.Microsecond)
)
