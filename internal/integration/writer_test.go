package integration_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// durable is an engine with what makes its commits survive a kill: the answer
// each connection must give.
type durable struct {
	engine
	settings map[string]string
}

var durables = map[string]durable{
	"SQLite": {engine{"SQLite", servers.SQLiteDriver, sqlstore.SQLite, nil}, map[string]string{
		"PRAGMA synchronous":  "2", // FULL
		"PRAGMA journal_mode": "wal",
	}},
	"PostgreSQL": {engine{"PostgreSQL", servers.PostgresDriver, sqlstore.PostgreSQL, nil}, map[string]string{
		"SHOW fsync":              "on",
		"SHOW synchronous_commit": "on",
		"SHOW full_page_writes":   "on",
	}},
	"MariaDB": {engine{"MariaDB", servers.MariaDBDriver, sqlstore.MariaDB, nil}, map[string]string{
		"SELECT @@innodb_flush_log_at_trx_commit": "1",
		"SELECT @@innodb_doublewrite":             "1",
	}},
}

// pool opens a pool of which every connection is asked for the settings before it
// is used.
func (d durable) pool(dsn string) (*sql.DB, error) {
	db, err := sql.Open(d.driver, dsn) // only to get at the driver
	if err != nil {
		return nil, err
	}
	c := checkedConnector{settings: d.settings, driver: db.Driver(), dsn: dsn}
	if err := db.Close(); err != nil {
		return nil, err
	}
	if ctx, ok := c.driver.(driver.DriverContext); ok {
		if c.inner, err = ctx.OpenConnector(dsn); err != nil {
			return nil, err
		}
	}
	return sql.OpenDB(c), nil
}

// store returns a store on a new pool, and what closes that.
func (d durable) store(t *testing.T, dsn string) (*sqlstore.Store, func()) {
	t.Helper()
	db, err := d.pool(dsn)
	require.NoError(t, err)
	store, err := sqlstore.New(db, d.dialect, sqlstore.Options{})
	require.NoError(t, err)
	return store, func() { require.NoError(t, db.Close()) }
}

// migrated returns the DSN as it is, with the tables made.
func (d durable) migrated(t *testing.T, dsn string) string {
	t.Helper()
	store, closePool := d.store(t, dsn)
	require.NoError(t, store.Migrate(t.Context()))
	closePool()
	return dsn
}

type checkedConnector struct {
	driver   driver.Driver
	dsn      string
	inner    driver.Connector // nil if the driver has none
	settings map[string]string
}

func (c checkedConnector) Driver() driver.Driver { return c.driver }

func (c checkedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	open := func() (driver.Conn, error) { return c.driver.Open(c.dsn) }
	if c.inner != nil {
		open = func() (driver.Conn, error) { return c.inner.Connect(ctx) }
	}
	conn, err := open()
	if err != nil {
		return nil, err
	}
	for query, want := range c.settings {
		if got, err := one(ctx, conn, query); err != nil || got != want {
			return nil, errors.Join(fmt.Errorf("%s is %q, not %q: %w", query, got, want, err), conn.Close())
		}
	}
	return conn, nil
}

// one asks a connection for one value.
func one(ctx context.Context, conn driver.Conn, query string) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	value := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(value); err != nil {
		return "", err
	}
	if text, ok := value[0].([]byte); ok {
		return string(text), nil
	}
	return fmt.Sprint(value[0]), nil
}

// The environment of a test binary that is a writer.
const (
	writerEngine = "APITOKEN_TEST_WRITER"
	writerDSN    = "APITOKEN_TEST_WRITER_DSN"
	writerTenant = "APITOKEN_TEST_WRITER_TENANT"
	// Not empty: it acknowledges a revoke and makes it then, or it does not ask its
	// connections for their settings.
	writerHasty     = "APITOKEN_TEST_WRITER_HASTY"
	writerUnchecked = "APITOKEN_TEST_WRITER_UNCHECKED"
)

// runWriter issues and revokes tokens until it is killed or the database is, and
// tells on out of each write that was acknowledged. So it always ends with an
// error.
func runWriter(out io.Writer) error {
	d := durables[os.Getenv(writerEngine)]
	if os.Getenv(writerUnchecked) != "" {
		d.settings = nil
	}
	db, err := d.pool(os.Getenv(writerDSN))
	if err != nil {
		return err
	}
	tokens, err := newTokens(db, d.dialect)
	if err != nil {
		return err
	}
	hasty := os.Getenv(writerHasty) != ""
	const workers = 4
	ended := make(chan error)
	for worker := range workers {
		go func() {
			actor := apitoken.Actor{ID: fmt.Sprint("worker ", worker), Tenant: os.Getenv(writerTenant)}
			var err error
			for err == nil {
				err = writeOnce(context.Background(), out, tokens, actor, hasty)
			}
			ended <- err
		}()
	}
	return <-ended
}

// writeOnce issues a token and revokes it, and acknowledges both.
func writeOnce(ctx context.Context, out io.Writer, tokens *apitoken.Service, actor apitoken.Actor, hasty bool) error {
	issued, err := tokens.Issue(ctx, actor, apitoken.IssueRequest{Name: "killed"})
	if err != nil {
		return err
	}
	id := issued.Token.ID
	acknowledge := func(what string) error {
		_, err := fmt.Fprintf(out, "%s %s\n", what, id)
		return err
	}
	revoke := func() error { return tokens.Revoke(ctx, actor, id, "killed") }
	steps := []func() error{func() error { return acknowledge("issued") }, revoke, func() error { return acknowledge("revoked") }}
	if hasty {
		steps[1], steps[2] = steps[2], steps[1]
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func newTokens(db *sql.DB, dialect sqlstore.Dialect) (*apitoken.Service, error) {
	store, err := sqlstore.New(db, dialect, sqlstore.Options{})
	if err != nil {
		return nil, err
	}
	return apitoken.New(store, apitoken.Options{Logger: slog.New(slog.DiscardHandler)})
}
