package servers

import (
	"net/url"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // registers the driver
)

// SQLite returns the DSN of a new database in a file of t's own, for [SQLiteDriver]:
// in WAL mode and with synchronous FULL, so that what was committed is on disk; its
// transactions begin immediately and wait up to ten seconds for another's.
func SQLite(t testing.TB) string {
	t.Helper()
	file := url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(t.TempDir(), "apitoken.db"))}
	// The time to wait comes first: the change to WAL may have to wait already.
	file.RawQuery = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	return file.String()
}
