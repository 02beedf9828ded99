package apitoken

import (
	"context"
	"time"
)

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
