package integration_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// Validate names each setting of a connection that SQLite needs and the DSN lacks.
func TestValidateSQLite(t *testing.T) {
	t.Parallel()
	full := []string{"_pragma=busy_timeout(10000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_txlock=immediate"}
	for _, c := range []struct {
		name string
		dsn  []string
		says []string // what is wrong
	}{
		{"all is there", full, nil},
		{"extra", []string{full[0], full[1], "_pragma=synchronous(EXTRA)", "_txlock=exclusive"}, nil},
		{"no log", []string{full[0], full[2], full[3]}, []string{"journal_mode is delete: set it to WAL"}},
		{"in memory", []string{full[0], "_pragma=journal_mode(MEMORY)", full[2], full[3]}, []string{"journal_mode is memory"}},
		{"not synchronous", []string{full[0], full[1], "_pragma=synchronous(NORMAL)", full[3]}, []string{"synchronous is 1: set it to FULL"}},
		{"never synchronous", []string{full[0], full[1], "_pragma=synchronous(OFF)", full[3]}, []string{"synchronous is 0: set it to FULL"}},
		{"no time to wait", []string{"_pragma=busy_timeout(0)", full[1], full[2], full[3]}, []string{"busy_timeout is 0: set it"}},
		{"deferred", full[:3], []string{"transactions are deferred"}},
		{"deferred by name", append(full[:3:3], "_txlock=deferred"), []string{"transactions are deferred"}},
		{"nothing", []string{"_pragma=busy_timeout(0)", "_pragma=synchronous(NORMAL)"}, []string{"journal_mode", "synchronous", "busy_timeout", "deferred"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := "file:" + filepath.ToSlash(filepath.Join(t.TempDir(), "tokens.db"))
			db, err := sql.Open(servers.SQLiteDriver, file+"?"+strings.Join(c.dsn, "&"))
			require.NoError(t, err)
			defer db.Close()
			store, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{})
			require.NoError(t, err)
			require.NoError(t, store.Migrate(t.Context()))
			err = store.Validate(t.Context())
			if c.says == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.Len(t, strings.Split(err.Error(), "\n"), len(c.says), "%v", err)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			require.Zero(t, db.Stats().InUse)
		})
	}
}

// While others write, and hold the lock, Validate tells the same.
func TestValidateSQLiteAmidWrites(t *testing.T) {
	t.Parallel()
	dsn := servers.SQLite(t)
	e := defaults()[0]
	store, _ := e.openAt(t, dsn)
	writer, _ := e.openAt(t, dsn)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
				_, err = writer.Remember(t.Context(), apitoken.SignedUse{Key: [32]byte{byte(i % 200)}, Until: veryLate})
			}
		}
		stopped <- err
	}()
	deferred, err := sql.Open(servers.SQLiteDriver, strings.Replace(dsn, "_txlock=immediate", "_txlock=deferred", 1))
	require.NoError(t, err)
	defer deferred.Close()
	loose, err := sqlstore.New(deferred, sqlstore.SQLite, sqlstore.Options{})
	require.NoError(t, err)
	for range 40 {
		require.NoError(t, store.Validate(t.Context()))
		require.ErrorContains(t, loose.Validate(t.Context()), "transactions are deferred")
	}
	close(stop)
	require.NoError(t, <-stopped)
}

// A lock that another connection holds hides none of the faults.
func TestValidateSQLiteWhileLocked(t *testing.T) {
	t.Parallel()
	dsn := servers.SQLite(t)
	_, db := defaults()[0].openAt(t, dsn)
	tx, err := db.BeginTx(t.Context(), nil) // immediate
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	for name, c := range map[string]struct {
		change, to string
		says       []string
	}{
		"impatient":            {"busy_timeout(10000)", "busy_timeout(0)", []string{"busy_timeout is 0"}},
		"impatient and lossy":  {"busy_timeout(10000)", "busy_timeout(0)&_pragma=synchronous(NORMAL)", []string{"busy_timeout is 0", "synchronous is 1"}},
		"deferred":             {"_txlock=immediate", "_txlock=deferred", []string{"transactions are deferred"}},
		"deferred and patient": {"_txlock=immediate", "", []string{"transactions are deferred"}},
	} {
		s, _ := defaults()[0].bare(t, strings.Replace(strings.Replace(dsn, "&_pragma=synchronous(FULL)", "", 1), c.change, c.to, 1), sqlstore.Options{})
		err := s.Validate(t.Context())
		require.Error(t, err, name)
		require.Len(t, strings.Split(err.Error(), "\n"), len(c.says), "%s: %v", name, err)
		for _, says := range c.says {
			require.ErrorContains(t, err, says, name)
		}
	}
}
