package apitoken

import "time"

// Clock tells the time. Every operation reads it once and uses that one
// instant for all its checks.
//
// Implementations must be safe for concurrent use. They may return any
// location; instants are kept in UTC and stored in microseconds. A clock that
// steps back revives nothing that was already written as expired or revoked.
type Clock interface {
	Now() time.Time
}

// ClockFunc adapts a function to a [Clock].
type ClockFunc func() time.Time

// Now calls f.
func (f ClockFunc) Now() time.Time { return f() }

// SystemClock is the [Clock] used when [Options].Clock is nil: time.Now.
var SystemClock Clock = ClockFunc(time.Now)
