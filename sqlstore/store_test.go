package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

func isolation(level driver.IsolationLevel) string { return sql.IsolationLevel(level).String() }

const someID = apitoken.ID("abcdefghijklmnopqrstu1")

func record() *apitoken.Record {
	return &apitoken.Record{Token: apitoken.Token{ID: someID, Tenant: "acme", Version: 1}}
}

// open returns a store on a fake with one connection, so that what is prepared once
// for each connection is prepared once.
func open(t *testing.T, dialect sqlstore.Dialect, opts sqlstore.Options) (*sqlstore.Store, *sql.DB, *fake) {
	t.Helper()
	f := new(fake)
	db := sql.OpenDB(f)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlstore.New(db, dialect, opts)
	require.NoError(t, err)
	return s, db, f
}

func TestNew(t *testing.T) {
	t.Parallel()
	db := sql.OpenDB(new(fake))
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, test := range []struct {
		name    string
		db      *sql.DB
		dialect sqlstore.Dialect
		opts    sqlstore.Options
		faults  []string // "" = the only one
	}{
		{"zero options", db, sqlstore.SQLite, sqlstore.Options{}, nil},
		{"names", db, sqlstore.MariaDB, sqlstore.Options{TablePrefix: "a1_", Schema: "tokens"}, nil},
		{"no database", nil, sqlstore.PostgreSQL, sqlstore.Options{}, []string{"sqlstore: db: is nil"}},
		{"no dialect", db, 0, sqlstore.Options{}, []string{"sqlstore: dialect: is unknown"}},
		{"a dialect to come", db, 4, sqlstore.Options{}, []string{"sqlstore: dialect: is unknown"}},
		{"a schema of SQLite", db, sqlstore.SQLite, sqlstore.Options{Schema: "main"}, []string{"sqlstore: Schema: SQLite has none"}},
		{"all at once", nil, 0, sqlstore.Options{TablePrefix: "a b", Schema: `a"b`}, []string{
			"sqlstore: db: is nil", "sqlstore: dialect: is unknown", `sqlstore: TablePrefix: "a b": use a to z`, `sqlstore: Schema: "a\"b": use a to z`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := sqlstore.New(test.db, test.dialect, test.opts)
			if test.faults == nil {
				require.NoError(t, err)
				return
			}
			require.Nil(t, s)
			for _, fault := range test.faults {
				require.ErrorContains(t, err, fault)
			}
			require.Len(t, strings.Split(err.Error(), "\n"), len(test.faults))
		})
	}
}

// TestMigrationFiles: they are a folder that tools can read, and name no table but
// those of the options.
func TestMigrationFiles(t *testing.T) {
	t.Parallel()
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MariaDB} {
		s, _, f := open(t, dialect, sqlstore.Options{TablePrefix: "mine_"})
		files, err := s.Migrations()
		require.NoError(t, err)
		names, err := fs.Glob(files, "*.sql")
		require.NoError(t, err)
		require.Equal(t, "00001_tables.sql", names[0])
		require.NoError(t, fstest.TestFS(files, names...))
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			require.Contains(t, string(text), "-- +goose Up")
			require.Contains(t, string(text), "-- +goose Down")
			require.Contains(t, string(text), "mine_tokens")
			require.NotContains(t, string(text), "apitoken_")
		}
		require.Empty(t, f.take(), "the database was asked")
	}
}

func TestSchemaOfNothing(t *testing.T) {
	t.Parallel()
	s, _, _ := open(t, sqlstore.PostgreSQL, sqlstore.Options{})
	version, err := s.Version(t.Context())
	require.NoError(t, err)
	require.Zero(t, version)
	var schema *sqlstore.SchemaError
	require.ErrorAs(t, s.Validate(t.Context()), &schema)
	require.Zero(t, schema.Have)
	require.NotZero(t, schema.Want)
}

// busy is SQLITE_BUSY as drivers give it.
type busy struct{}

func (busy) Error() string { return "database is locked" }
func (busy) Code() int     { return 5 }

// TestSchemaOfABusyFile: SQLite may be busy although it was told to wait, when
// several processes open a new file at once.
func TestSchemaOfABusyFile(t *testing.T) {
	t.Parallel()
	never := errors.New("nothing else was tried")
	for _, test := range []struct {
		name  string
		times int // that the file is busy
		ends  int // during which question the context ends, 0 = none
		asked int
		want  error
	}{
		{"free", 0, 0, 1, nil},
		{"busy at first", 3, 0, 4, nil},
		{"busy for long", 9, 0, 10, nil},
		{"busy for good", 1000, 0, 10, busy{}},
		{"until the context ends", 1000, 2, 2, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, _, f := open(t, sqlstore.SQLite, sqlstore.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				asked := 0
				f.refusing(func(line string) error {
					if line != "send SELECT" {
						return never
					}
					if asked++; asked == test.ends {
						cancel()
					}
					if asked <= test.times {
						return busy{}
					}
					return nil
				})
				version, err := s.Version(ctx)
				require.ErrorIs(t, err, test.want)
				require.Zero(t, version)
				require.Equal(t, test.asked, asked)
			})
		})
	}
}

func TestPrepared(t *testing.T) {
	t.Parallel()
	s, _, f := open(t, sqlstore.PostgreSQL, sqlstore.Options{})
	ctx := t.Context()
	use := func() {
		_, err := s.Get(ctx, someID)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
		require.NoError(t, s.Create(ctx, record(), nil))
		require.NoError(t, s.Touch(ctx, []apitoken.Use{{ID: someID}}))
	}
	use()
	use()
	for query, n := range f.prepared {
		require.Equal(t, 1, n, query)
	}
	log := f.take()
	require.Contains(t, log, "run SELECT")
	require.Contains(t, log, "run INSERT")
	require.NotContains(t, log, "send SELECT")
	require.NotContains(t, log, "send INSERT")

	_, err := s.List(ctx, apitoken.StoreQuery{Tenant: "acme", AllKinds: true, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, []string{"send SELECT"}, f.take(), "a text that is one of many")

	require.NoError(t, s.Close())
	require.Len(t, f.prepared, f.closed, "what Close left open")
	require.NoError(t, s.Close())
	use()
	for query, n := range f.prepared {
		require.Equal(t, 2, n, query)
	}
}

// TestPreparedLater: what cannot be prepared, for example because there are no
// tables yet, is tried again, and keeps no statement open.
func TestPreparedLater(t *testing.T) {
	t.Parallel()
	s, _, f := open(t, sqlstore.PostgreSQL, sqlstore.Options{})
	f.refusing(func(line string) error {
		if line == "prepare UPDATE" {
			return errRefused
		}
		return nil
	})
	_, err := s.Get(t.Context(), someID)
	require.ErrorIs(t, err, errRefused)
	require.NotEmpty(t, f.prepared)
	require.Equal(t, len(f.prepared), f.closed)

	f.refusing(nil)
	_, err = s.Get(t.Context(), someID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
}

func TestUnprepared(t *testing.T) {
	t.Parallel()
	s, _, f := open(t, sqlstore.PostgreSQL, sqlstore.Options{Unprepared: true})
	_, err := s.Get(t.Context(), someID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	require.NoError(t, s.Create(t.Context(), record(), nil))
	require.Equal(t, []string{"send SELECT", "begin Read Committed", "send INSERT", "commit"}, f.take())
	require.NoError(t, s.Close())
}

// TestLevels: the Store's own transactions ask for what is enough, and SQLite has no
// levels.
func TestLevels(t *testing.T) {
	t.Parallel()
	for dialect, begin := range map[sqlstore.Dialect]string{
		sqlstore.SQLite: "begin default", sqlstore.PostgreSQL: "begin Read Committed", sqlstore.MariaDB: "begin Read Committed",
	} {
		s, _, f := open(t, dialect, sqlstore.Options{Unprepared: true})
		require.NoError(t, s.Create(t.Context(), record(), nil))
		require.Equal(t, []string{begin, "send INSERT", "commit"}, f.take())
	}
}

// conflict is the error of a driver for MariaDB whose transaction was given up.
type conflict struct{ Number uint16 }

func (conflict) Error() string { return "deadlock found" }

// TestOwnTransactions: what fails is rolled back, and what the database gave up for
// another's sake is tried anew.
func TestOwnTransactions(t *testing.T) {
	t.Parallel()
	failed := []string{"begin Read Committed", "send INSERT", "rollback"}
	stored := []string{"begin Read Committed", "send INSERT", "commit"}
	for _, test := range []struct {
		name   string
		errors []error // of the first tries
		want   []string
		is     error
	}{
		{"stored", nil, stored, nil},
		{"refused", []error{errRefused}, failed, errRefused},
		{"given up once", []error{&conflict{1213}}, slices.Concat(failed, stored), nil},
		{"given up twice", []error{&conflict{1213}, &conflict{1205}}, slices.Concat(failed, failed, stored), nil},
		{"given up each time", []error{&conflict{1213}, &conflict{1213}, &conflict{1213}}, slices.Concat(failed, failed, failed), apitoken.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, _, f := open(t, sqlstore.MariaDB, sqlstore.Options{Unprepared: true})
			left := test.errors
			f.refusing(func(line string) (err error) {
				if line == "send INSERT" && len(left) > 0 {
					err, left = left[0], left[1:]
				}
				return err
			})
			require.ErrorIs(t, s.Create(t.Context(), record(), nil), test.is)
			require.Equal(t, test.want, f.take())
		})
	}
}

// TestInTx: a call in a transaction of the host's is bracketed by a savepoint, and
// begins and ends nothing itself. Where there is no transaction it writes nothing.
func TestInTx(t *testing.T) {
	t.Parallel()
	const set, back, release = "send SAVEPOINT", "send ROLLBACK TO", "send RELEASE SAVEPOINT"
	inside := errors.New("cannot start a transaction within a transaction")
	for _, test := range []struct {
		name    string
		dialect sqlstore.Dialect
		refused map[string]error
		want    []string
		fails   bool
		gone    bool // and the next call asks nothing
	}{
		{"PostgreSQL", sqlstore.PostgreSQL, nil, []string{set, "send INSERT", release}, false, false},
		{"PostgreSQL fails", sqlstore.PostgreSQL, map[string]error{"send INSERT": errRefused}, []string{set, "send INSERT", back, release}, true, false},
		{"PostgreSQL has none", sqlstore.PostgreSQL, map[string]error{set: errRefused}, []string{set}, true, false},
		{"MariaDB", sqlstore.MariaDB, nil, []string{set, back, "send INSERT", release}, false, false},
		{"MariaDB fails", sqlstore.MariaDB, map[string]error{"send INSERT": errRefused}, []string{set, back, "send INSERT", back, release}, true, false},
		{"MariaDB has none", sqlstore.MariaDB, map[string]error{back: errRefused}, []string{set, back}, true, true},
		{"SQLite", sqlstore.SQLite, map[string]error{"send BEGIN": inside}, []string{"send BEGIN", set, "send INSERT", release}, false, false},
		{"SQLite cannot tell", sqlstore.SQLite, map[string]error{"send BEGIN": errRefused}, []string{"send BEGIN"}, true, false},
		{"SQLite has none", sqlstore.SQLite, nil, []string{"send BEGIN", "send ROLLBACK"}, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, db, f := open(t, test.dialect, sqlstore.Options{})
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			f.take()
			f.refusing(func(line string) error { return test.refused[line] })
			ctx := sqlstore.InTx(t.Context(), tx)
			err = s.Create(ctx, record(), nil)
			require.Equal(t, test.fails, err != nil, "%v", err)
			require.Equal(t, test.want, f.take())

			_, err = s.Get(ctx, someID)
			if test.gone {
				require.ErrorContains(t, err, "roll it back")
				require.Empty(t, f.take())
			} else {
				require.ErrorIs(t, err, apitoken.ErrNotFound)
				require.Equal(t, []string{"send SELECT"}, f.take())
			}
			f.refusing(nil)
			require.NoError(t, tx.Commit())
		})
	}
}

// TestInTxCannotUndo: what cannot be undone must not be committed with what follows,
// and is no answer that a caller would go on after.
func TestInTxCannotUndo(t *testing.T) {
	t.Parallel()
	s, db, f := open(t, sqlstore.PostgreSQL, sqlstore.Options{})
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	ctx := sqlstore.InTx(t.Context(), tx)
	f.none = true
	require.ErrorIs(t, s.Swap(ctx, record(), apitoken.Guard{}, nil), apitoken.ErrNotFound)
	f.refusing(func(line string) error {
		if line == "send ROLLBACK TO" {
			return errRefused
		}
		return nil
	})
	err = s.Swap(ctx, record(), apitoken.Guard{}, nil)
	require.ErrorIs(t, err, errRefused)
	require.NotErrorIs(t, err, apitoken.ErrNotFound)

	f.refusing(nil)
	f.take()
	for what, err := range map[string]error{
		"Create": s.Create(ctx, record(), nil),
		"Delete": s.Delete(ctx, someID, 1, apitoken.Guard{}, nil),
		"Get":    second(s.Get(ctx, someID)),
		"Claim":  second(s.Claim(ctx, apitoken.Lease{Holder: "holder"}, 1)),
	} {
		require.ErrorContains(t, err, "roll it back", what)
	}
	require.Empty(t, f.take())
	require.NoError(t, tx.Rollback())
}

func second[T any](_ T, err error) error { return err }

func TestInTxWithoutOne(t *testing.T) {
	t.Parallel()
	s, _, f := open(t, sqlstore.PostgreSQL, sqlstore.Options{})
	ctx := sqlstore.InTx(t.Context(), nil)
	require.ErrorContains(t, s.Create(ctx, record(), nil), "use this package's InTx")
	require.ErrorContains(t, s.Migrate(ctx), "Migrate makes its own")
	require.Empty(t, f.take())
}
