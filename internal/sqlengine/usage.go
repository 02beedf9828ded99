package sqlengine

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/tokenry/apitoken"
)

// use is a [apitoken.Use] as the statement reads it.
type use struct {
	ID       string `json:"i"`
	Count    int64  `json:"n"`
	Last     int64  `json:"l"`
	Address  string `json:"a"`
	Networks string `json:"w"`
	Legacy   int64  `json:"g"`

	DayFrom   int64 `json:"df"`
	DayUses   int64 `json:"dn"`
	WeekFrom  int64 `json:"wf"`
	WeekUses  int64 `json:"wn"`
	MonthFrom int64 `json:"mf"`
	MonthUses int64 `json:"mn"`
	WrittenAt int64 `json:"c"`
}

func newUse(u *apitoken.Use) use {
	return use{
		ID: string(u.ID), Count: u.Count, Last: micros(u.LastUsed),
		Address: encodeAddress(u.Address), Networks: encodeList(u.Networks), Legacy: micros(u.Legacy),
		DayFrom: micros(u.Day.From), DayUses: u.Day.Uses,
		WeekFrom: micros(u.Week.From), WeekUses: u.Week.Uses,
		MonthFrom: micros(u.Month.From), MonthUses: u.Month.Uses,
		WrittenAt: micros(u.WrittenAt),
	}
}

// Touch implements [apitoken.Store]: one statement for many uses, or a few on
// SQLite, where a write keeps all others waiting.
func (e *Engine) Touch(ctx context.Context, uses []apitoken.Use) error {
	all := rounds(uses)
	if len(all) == 0 {
		return ctx.Err()
	}
	for _, round := range all {
		for batch := range slices.Chunk(round, e.d.touchBatch) {
			text, err := json.Marshal(batch)
			if err != nil {
				return e.outage("touch", err)
			}
			err = e.write(ctx, "touch", func(c Conn) error {
				_, err := c.Exec(ctx, e.st.touch, string(text))
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// rounds sorts uses by their IDs, so that rows are locked in one order on all nodes. A
// statement changes a row once: what is there twice goes into a further round.
func rounds(uses []apitoken.Use) [][]use {
	var out [][]use
	times := make(map[apitoken.ID]int, len(uses))
	for i := range uses {
		u := &uses[i]
		if !u.ID.Valid() {
			continue // no token has it
		}
		round := times[u.ID]
		times[u.ID]++
		if round == len(out) {
			out = append(out, nil)
		}
		out[round] = append(out[round], newUse(u))
	}
	for _, round := range out {
		slices.SortFunc(round, func(a, b use) int { return cmp.Compare(a.ID, b.ID) })
	}
	return out
}

// Due implements [apitoken.Store].
func (e *Engine) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	at := micros(after.DueAt)
	until := min(before.UnixMicro(), never-1) // never is not due
	return e.tokens(ctx, "due", e.st.due, []any{until, at, at, string(after.ID), int64(max(limit, 0))})
}

// tokens reads tokens.
func (e *Engine) tokens(ctx context.Context, what string, st *Statement, args []any) ([]*apitoken.Record, error) {
	c, err := e.reader(ctx)
	if err != nil {
		return nil, err
	}
	var out []*apitoken.Record
	err = each(ctx, c, st, args, func(rows Rows) error {
		rec, err := scanToken(rows)
		out = append(out, rec)
		return err
	})
	if err != nil {
		return nil, e.outage(what, err)
	}
	return out, nil
}

// Revisions implements [apitoken.Revisions].
func (e *Engine) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	c, err := e.reader(ctx)
	if err != nil {
		return nil, err
	}
	asked := make([]apitoken.ID, 0, len(ids))
	for _, id := range ids {
		if id.Valid() {
			asked = append(asked, id)
		}
	}
	if len(asked) == 0 {
		return nil, ctx.Err()
	}
	out := make([]apitoken.Revision, 0, len(asked))
	err = each(ctx, c, e.st.revisions, []any{encodeList(asked)}, func(rows Rows) error {
		var r apitoken.Revision
		err := rows.Scan((*string)(&r.ID), &r.Version, &r.Op, (*instant)(&r.LastUsed), &r.Uses)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, e.outage("revisions", err)
	}
	return out, nil
}

// Stats implements [apitoken.Store].
func (e *Engine) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	var st apitoken.Stats
	c, err := e.reader(ctx)
	if err != nil {
		return st, err
	}
	_, err = e.first(ctx, c, e.st.overdue, []any{min(now.UnixMicro(), never-1)}, (*count)(&st.Overdue), (*instant)(&st.Oldest))
	if err != nil {
		return apitoken.Stats{}, e.outage("stats", err)
	}
	err = each(ctx, c, e.st.backlog, nil, func(rows Rows) error {
		var aside flag
		var n count
		if err := rows.Scan(&aside, &n); err != nil {
			return err
		}
		if aside {
			st.Aside = int(n)
		} else {
			st.Outbox = int(n)
		}
		return nil
	})
	if err != nil {
		return apitoken.Stats{}, e.outage("stats", err)
	}
	return st, nil
}
