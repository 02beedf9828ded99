package bench

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// backing is what a workload runs on beside this process.
type backing interface {
	// prepare sets it up when a workload first needs it.
	prepare() error
	// isServer says whether it is a process of its own.
	isServer() bool
	// close undoes what prepare did, if it did anything.
	close() error
}

// engine is a database in which sqlstore keeps tokens. It is set up when a workload
// first needs it, and serves all until [Close].
type engine struct {
	name    string
	driver  string
	dialect sqlstore.Dialect
	server  bool // a process of its own

	once sync.Once
	bed  *sqlBed
	err  error
}

var (
	onSQLite   = &engine{name: "SQLite", driver: servers.SQLiteDriver, dialect: sqlstore.SQLite}
	onPostgres = &engine{name: "PostgreSQL", driver: servers.PostgresDriver, dialect: sqlstore.PostgreSQL, server: true}
	onMariaDB  = &engine{name: "MariaDB", driver: servers.MariaDBDriver, dialect: sqlstore.MariaDB, server: true}
)

// sqlBed is a database with the tokens of a [bed], whose verifier reads it at each
// request.
type sqlBed struct {
	*bed
	dialect sqlstore.Dialect
	db      *sql.DB
	store   *sqlstore.Store
	dir     string // of SQLite's file
}

func (e *engine) ready() (*sqlBed, error) {
	e.once.Do(func() {
		e.bed = &sqlBed{dialect: e.dialect}
		e.err = e.setUp(context.Background(), e.bed)
	})
	return e.bed, e.err
}

func (e *engine) setUp(ctx context.Context, b *sqlBed) error {
	dsn, err := e.dsn(ctx, b)
	if err != nil {
		return err
	}
	if b.db, err = sql.Open(e.driver, dsn); err != nil {
		return err
	}
	b.db.SetMaxIdleConns(8) // what is not kept would be opened anew amid the figures
	if b.store, err = sqlstore.New(b.db, e.dialect, sqlstore.Options{}); err != nil {
		return err
	}
	if err := errors.Join(b.store.Migrate(ctx), b.store.Validate(ctx)); err != nil {
		return err
	}
	b.bed, err = newBedOn(b.store, Tokens)
	return err
}

func (e *engine) dsn(ctx context.Context, b *sqlBed) (string, error) {
	if e.server {
		return servers.Database(ctx, e.driver)
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "apitoken-bench-"); err != nil {
		return "", err
	}
	return "file:" + filepath.ToSlash(b.dir) + "/tokens.db?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate", nil
}

// Prepare sets up what a workload runs on. Its error says what the workload itself
// could not.
func (w *Workload) Prepare() error {
	if w.on == nil {
		return nil
	}
	return w.on.prepare()
}

// OnServer reports whether the workload needs a server.
func (w *Workload) OnServer() bool { return w.on != nil && w.on.isServer() }

// Close removes the databases and stops the servers.
func Close() error {
	var err error
	for _, on := range []backing{onSQLite, onPostgres, onMariaDB, onRedis} {
		err = errors.Join(err, on.close())
	}
	return errors.Join(err, servers.Stop())
}

func (e *engine) prepare() error {
	_, err := e.ready()
	return err
}

func (e *engine) isServer() bool { return e.server }

func (e *engine) close() error {
	var err error
	if e.bed == nil {
		return nil
	}
	if e.bed.store != nil {
		err = errors.Join(err, e.bed.store.Close())
	}
	if e.bed.db != nil {
		err = errors.Join(err, e.bed.db.Close())
	}
	if e.bed.dir != "" {
		err = errors.Join(err, os.RemoveAll(e.bed.dir))
	}
	return err
}

// on returns a workload on the engine, which runs with its tokens.
func (e *engine) on(name string, run func(*testing.B, *sqlBed)) Workload {
	return Workload{Name: name + " on " + e.name, on: e, Run: func(b *testing.B) {
		bed, err := e.ready()
		if err != nil {
			b.Fatal(err)
		}
		run(b, bed)
	}}
}
