package apitoken

import (
	"context"
	"fmt"
	"iter"
	"time"
)

// Forecasted is one thing that time will do to a token.
type Forecasted struct {
	Tenant string    `json:"tenant"`
	Target Target    `json:"target"`
	What   EventType `json:"what"`
	Cause  Cause     `json:"cause,omitempty"`
	At     time.Time `json:"at"` // when it is due
}

// Forecast is a sweep's dry run: it yields what sweeps would do until then if
// nobody used or changed a token meanwhile, and writes nothing. The steps of one
// token come in their order; tokens come by what is due first on them. It knows
// nothing of [Options].MaxPurges, and leaves out idle revocations that sweeps at
// until would still hold back for other nodes' uses.
//
// An error that comes with a Target is that token's alone, which this version does
// not understand; the others follow. Any other error is [ErrUnavailable] and the
// last.
func (s *Service) Forecast(ctx context.Context, until time.Time) iter.Seq2[Forecasted, error] {
	return func(yield func(Forecasted, error) bool) {
		until := until.UTC().Truncate(time.Microsecond)
		for rec, err := range s.due(ctx, until) {
			if err != nil {
				yield(Forecasted{}, err)
				return
			}
			if err := rec.Token.strange(); err != nil {
				err = fmt.Errorf("apitoken: token %s: %w", rec.Token.ID, err)
				if !yield(Forecasted{Tenant: rec.Token.Tenant, Target: target(&rec.Token)}, err) {
					return
				}
				continue
			}
			for _, f := range s.forecast(rec.Clone(), until, s.grace(&rec.Token)) {
				if !yield(f, nil) {
					return
				}
			}
		}
	}
}

// forecast carries out on rec what is due until then, and returns it.
func (s *Service) forecast(rec *Record, until time.Time, grace time.Duration) []Forecasted {
	t := &rec.Token
	s.addPending(t)
	var all []Forecasted
	for st := range steps(rec, until, grace) {
		all = append(all, Forecasted{t.Tenant, target(t), st.what, st.cause, st.at})
	}
	return all
}

// target is t as events name it.
func target(t *Token) Target {
	return Target{Token: t.ID, Name: t.Name, Kind: t.Kind, Owner: ownerParty(t)}
}
