package servers

import (
	"errors"
	"os"
	"sync"
	"testing"
)

// errMissing says that a program or the account that has to run it is not installed.
var errMissing = errors.New("not installed")

// untested has the names of servers for lack of which a test was skipped.
var untested sync.Map

// unavailable ends a test that needs a server which did not start. Only what is not
// installed may be skipped, and only on a developer's machine: where CI is set, a
// test that did not run must not look like one that passed. The advice is what one may
// do other than install it.
func unavailable(t testing.TB, e *engine, err error, advice string) {
	t.Helper()
	if !errors.Is(err, errMissing) {
		t.Fatalf("%v", err)
	}
	const message = "%s: %v. Install it (Debian: apt-get install %s)%s."
	if os.Getenv("CI") != "" {
		t.Fatalf(message, e.name, err, e.packages, advice)
	}
	untested.Store(e.name, true)
	t.Skipf("SKIPPED, NOTHING WAS TESTED ON "+message, e.name, err, e.packages, advice)
}
