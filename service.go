package apitoken

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Service is the [Manager]: the engine over a [Store]. It is safe for
// concurrent use. Nothing runs in the background until the host calls Run.
type Service struct {
	store    Store
	records  Records   // nil if the store has none
	cache    agedCache // likewise
	present  Owners    // Options.Owners past any cache
	replay   ReplayGuard
	signs    bool // there are kinds whose tokens may sign
	opts     Options
	kinds    map[Kind]*kindRules
	prefixes []knownPrefix // of all token strings; few, so a list is faster than a map
	dummy    *Record       // what an unknown ID is compared with
	uses     *recorder
	legacy   []*legacyFormat // nil = older keys are not even looked for
	slow     *slowHashes

	runStarted atomic.Bool
	lastSweep  atomic.Int64
	lastFlush  atomic.Int64
}

var _ Manager = (*Service)(nil)

// New returns a Service over store. All faults of opts come joined, each a
// [FieldError] that names the option and says what to do. New starts nothing and
// does not touch the store.
func New(store Store, opts Options) (*Service, error) {
	s := &Service{store: store, opts: opts, kinds: make(map[Kind]*kindRules)}
	o := &s.opts
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, fieldErr(field, format, args...)) }

	if store == nil {
		bad("store", "is nil: pass memstore.New() or another Store")
	}
	if o.Prefix == "" {
		o.Prefix = "token"
	}
	if len(o.Kinds) == 0 {
		o.Kinds = map[Kind]Policy{DefaultKind: {}}
	}
	if o.DefaultKind == "" && len(o.Kinds) == 1 {
		for k := range o.Kinds {
			o.DefaultKind = k
		}
	}
	if _, ok := o.Kinds[o.DefaultKind]; !ok && o.DefaultKind != "" {
		bad("DefaultKind", "%q is not in Kinds: add it, or name one of %v", o.DefaultKind, slices.Sorted(maps.Keys(o.Kinds)))
	}
	orDefault := func(field string, d *time.Duration, def, lo, hi time.Duration) {
		if *d == 0 {
			*d = def
		}
		if *d < lo || *d > hi {
			bad(field, "is %s: give %s to %s, or 0 for %s", *d, lo, hi, def)
		}
	}
	orDefault("UsageInterval", &o.UsageInterval, time.Minute, time.Second, time.Hour)
	orDefault("SweepInterval", &o.SweepInterval, time.Minute, time.Second, 24*time.Hour)
	orDefault("ProofMaxAge", &o.ProofMaxAge, 5*time.Minute, time.Second, time.Hour)
	orDefault("ProofMaxAhead", &o.ProofMaxAhead, 2*time.Minute, time.Second, time.Hour)
	orDefault("ClockSkew", &o.ClockSkew, time.Minute, 0, time.Hour)
	if o.MaxPendingUses == 0 {
		o.MaxPendingUses = 100_000
	}
	if o.MaxPendingUses < 0 {
		bad("MaxPendingUses", "is negative: give a number above 0, or 0 for 100,000")
	}
	if o.MaxPurges == 0 {
		o.MaxPurges = 1000
	}
	if o.MaxPurges < 0 {
		bad("MaxPurges", "is negative: give a number above 0, or 0 for 1,000")
	}
	if o.Clock == nil {
		o.Clock = SystemClock
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Limiter == nil {
		o.Limiter = NewMemoryLimiter(100_000)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Limits)) {
		l := o.Limits[name]
		if err := l.Check(); err != nil {
			bad(fmt.Sprintf("Limits[%q]", name), "%s", err)
		}
		if strings.HasPrefix(name, quotaPrefix) {
			bad(fmt.Sprintf("Limits[%q]", name), "begins as the names of quotas do: give it another name")
		}
		if l.Per == PerKey && o.LimitKey == nil {
			bad("LimitKey", "is required: Limits[%q] is per key", name)
		}
	}
	prefix := func(field, p string) {
		if known := newKnownPrefix(p); !slices.Contains(s.prefixes, known) {
			s.prefixes = append(s.prefixes, known)
		}
		if !validPrefix(p) {
			bad(field, "%q is no prefix: write lower-case words joined by single underscores, such as acme or acme_live, at most %d bytes", clip(p), maxPrefix)
		}
	}
	prefix("Prefix", o.Prefix)
	for i, p := range o.OldPrefixes {
		prefix(fmt.Sprintf("OldPrefixes[%d]", i), p)
	}
	var signing []Kind
	for _, kind := range slices.Sorted(maps.Keys(o.Kinds)) {
		rules, err := newKindRules(kind, o)
		errs = append(errs, err)
		s.kinds[kind] = rules
		if rules.Policy.Prefix != "" {
			prefix(fmt.Sprintf("Kinds[%q].Prefix", kind), rules.prefix)
		}
		if rules.signs {
			signing = append(signing, kind)
		}
	}
	if s.replay = o.ReplayGuard; s.replay == nil {
		s.replay, _ = offered[ReplayGuard](store)
	}
	if s.signs = len(signing) > 0; s.signs {
		if s.replay == nil {
			bad("ReplayGuard", "is required: tokens of kind %v may sign requests, and the store has no guard of its own; memstore.NewReplayGuard has one for a single process", signing)
		}
		// A secret key that was found is known by its form too.
		for _, known := range slices.Clone(s.prefixes) {
			s.prefixes = append(s.prefixes, newKnownPrefix(known.text+signingMark))
		}
	}
	if k := o.Keyring; k != nil && !validKeyID(k.Primary()) {
		bad("Keyring", "has a primary key whose ID is not 1 to %d printable ASCII characters: give it another", maxKeyID)
	}
	s.legacy = newLegacyFormats(o, bad)
	if o.SlowHashes == 0 {
		o.SlowHashes = 4
	}
	if o.SlowHashes < 1 || o.SlowHashes > 64 {
		bad("SlowHashes", "is %d: give 1 to 64, or 0 for 4", o.SlowHashes)
	}
	for _, use := range slices.Sorted(maps.Keys(o.Uses)) {
		for _, k := range o.Uses[use] {
			if _, ok := o.Kinds[k]; !ok {
				bad(fmt.Sprintf("Uses[%q]", use), "kind %q is not in Kinds: add it there or remove it here", k)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.records, _ = offered[Records](store)
	s.cache, _ = offered[agedCache](store)
	if tell := o.Observer.StoreFailed; tell != nil {
		s.store = &observedStore{store, tell}
		if s.records != nil {
			s.records = observedRecords{s.records, tell}
		}
	}
	s.present = o.Owners
	if f, ok := o.Owners.(FreshOwners); ok {
		s.present = OwnersFunc(f.FreshStanding)
	}
	s.uses = newRecorder(o.MaxPendingUses)
	s.slow = newSlowHashes(o.SlowHashes)
	s.dummy = &Record{Primary: Slot{Algorithm: algorithmSHA256, Blob: make([]byte, 32)}}
	return s, nil
}

// agedCache is a store that answers Record from memory.
type agedCache interface {
	// CacheAge returns the age of the oldest record that it would still use.
	CacheAge() time.Duration
}

// offered finds an optional interface on the store or on one it decorates.
func offered[T any](store Store) (T, bool) {
	for store != nil {
		if t, ok := store.(T); ok {
			return t, true
		}
		u, ok := store.(Unwrapper)
		if !ok {
			break
		}
		store = u.Unwrap()
	}
	var none T
	return none, false
}

// now reads the clock, once for each operation.
func (s *Service) now() time.Time { return s.opts.Clock.Now() }

// instant is now as it is stored.
func (s *Service) instant() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// rulesOf returns the rules for a token. For one of a kind that is no longer
// configured it returns the zero policy's, and false: such a token is refused,
// and can be read, revoked and deleted.
func (s *Service) rulesOf(kind Kind) (*kindRules, bool) {
	if r, ok := s.kinds[kind]; ok {
		return r, true
	}
	return &kindRules{Policy: Policy{Share: 100}, kind: kind, prefix: s.opts.Prefix, orphan: true}, false
}

// storeErr sorts a store's error: a family stays what it is, all else is an
// outage.
func storeErr(err error) error {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return err
	}
	return outage("store", err)
}

// fresh reads a token past any sharing.
func (s *Service) fresh(ctx context.Context, id ID) (*Record, error) {
	if !id.Valid() {
		return nil, ErrNotFound
	}
	rec, err := s.store.Get(ctx, id)
	return rec, storeErr(err)
}
