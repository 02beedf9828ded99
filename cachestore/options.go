package cachestore

import (
	"errors"
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
)

const (
	defaultStale   = 5 * time.Second
	longestStale   = 10 * time.Second
	longestUnknown = time.Second
	defaultEntries = 100_000
)

// Options tune a cache. The zero Options are right for most.
type Options struct {
	// MaxStale is how old an answer may be, counted from before it was read: the
	// time within which this node refuses what was stopped elsewhere, if every hint
	// is lost. At most 10 s. Defaults to 5 s.
	MaxStale time.Duration

	// MaxEntries is how many tokens, or owners, are kept at most; beside them an
	// eighth as many IDs that do not exist, those for a second. Set it to the number
	// in use within some minutes: others cost a read each time. A token takes 2 to
	// 3 KB, and time of each garbage collection. Defaults to 100,000.
	MaxEntries int

	// Changed, unless nil, is told of the tokens that were changed through a [Store],
	// after each write, whether or not it seems to have failed: to send other nodes a
	// hint, over NOTIFY or pub/sub, on which they call [Store.Forget]. Uses are no
	// change. It runs within the call that changes, so it should be quick, and nobody
	// asks whether it succeeded: losing a hint costs at most MaxStale. In a transaction
	// of the host's own it is not called, since nothing is committed yet. [NewOwners]
	// does not use it.
	Changed func(ids ...apitoken.ID)

	// Clock is for tests. The system's clock has a reading that nobody can set back
	// (see [time.Now]); with one that has not, what it is set back by adds to
	// MaxStale. Defaults to [apitoken.SystemClock].
	Clock apitoken.Clock
}

// check fills in the defaults. All faults come joined, each an
// [apitoken.FieldError].
func (o *Options) check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &apitoken.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if o.MaxStale == 0 {
		o.MaxStale = defaultStale
	}
	if o.MaxStale < 0 || o.MaxStale > longestStale {
		bad("MaxStale", "is %s: give a time above 0, at most %s, or 0 for %s; to cache nothing use the store itself", o.MaxStale, longestStale, defaultStale)
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = defaultEntries
	}
	if o.MaxEntries < 0 {
		bad("MaxEntries", "is negative: give a number above 0, or 0 for 100,000")
	}
	if o.Clock == nil {
		o.Clock = apitoken.SystemClock
	}
	return errors.Join(errs...)
}
