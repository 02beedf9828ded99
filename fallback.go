package apitoken

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"
)

// LegacyKey is an older credential that was presented and is not known yet, for
// [Options].Fallback. It has the shape of its format; nothing else is known of it.
type LegacyKey struct {
	Format string
	ID     string // of a pair
	Handle string // the first bytes of the key, where the format has them
	Secret Secret // the key, or the pair's secret
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
		found.c, err = s.compile(ctx, in.rec)
		found.scheme = SchemeLegacy
		return err
	case old.Alias != alias:
		return outage("fallback", &ImportError{Row: row.ID, Err: fieldErr("id", "was imported with another key")})
	}
	// Another node may have been faster, and somebody have rotated or stopped the
	// token since: it is judged as it is stored.
	return s.openLegacy(ctx, old, secret, func(format string) bool { return format == f.Name }, found)
}
