package servers_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// engines are the servers that have databases and levels of isolation.
var engines = []struct {
	name, driver string
	database     func(testing.TB, ...servers.Isolation) string
	private      func(testing.TB) *servers.Server
	level        string // asks for the session's isolation level
}{
	{"PostgreSQL", servers.PostgresDriver, servers.Postgres, servers.StartPostgres, "SELECT upper(current_setting('transaction_isolation'))"},
	{"MariaDB", servers.MariaDBDriver, servers.MariaDB, servers.StartMariaDB, "SELECT replace(@@tx_isolation, '-', ' ')"},
}

func TestDatabases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		driver string
		dsn    func(testing.TB) string
	}{
		{servers.PostgresDriver, func(t testing.TB) string { return servers.Postgres(t) }},
		{servers.MariaDBDriver, func(t testing.TB) string { return servers.MariaDB(t) }},
		{servers.SQLiteDriver, servers.SQLite},
	} {
		t.Run(c.driver, func(t *testing.T) {
			t.Parallel()
			one, two := open(t, c.driver, c.dsn(t)), open(t, c.driver, c.dsn(t))
			execute(t, one, "CREATE TABLE tokens (id INT)", "INSERT INTO tokens VALUES (42)")
			require.Equal(t, "42", ask(t, one, "SELECT id FROM tokens"))

			_, err := two.ExecContext(t.Context(), "SELECT id FROM tokens")
			require.Error(t, err, "the second database has the first one's table")
		})
	}
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, []string{"+OK", "$2", "42"}, redis(t, servers.Redis(t), "SET TestDatabases 42", "GET TestDatabases"))
	})
}

func TestDatabaseOfAProgram(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			e.database(t) // skips the test where there is no server
			dsn, err := servers.Database(t.Context(), e.driver)
			require.NoError(t, err)
			db := open(t, e.driver, dsn)
			execute(t, db, "CREATE TABLE tokens (id INT)", "INSERT INTO tokens VALUES (42)")
			require.Equal(t, "42", ask(t, db, "SELECT id FROM tokens"))
		})
	}
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		want := servers.Redis(t) // skips the test where there is no server
		base, err := servers.RedisURL()
		require.NoError(t, err)
		require.Equal(t, want, base)
	})
	_, err := servers.Database(t.Context(), servers.SQLiteDriver)
	require.ErrorContains(t, err, servers.SQLiteDriver)
}

func TestDatabaseIsDropped(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			var dsn string
			t.Run("user", func(t *testing.T) {
				dsn = e.database(t)
				db, err := sql.Open(e.driver, dsn)
				require.NoError(t, err)
				// Still connected when this test ends.
				require.NoError(t, db.PingContext(t.Context()))
			})
			err := open(t, e.driver, dsn).PingContext(t.Context())
			if refused := new(pgconn.PgError); errors.As(err, &refused) {
				require.Equal(t, "3D000", refused.Code, "invalid catalog name")
				return
			}
			var refused *mysql.MySQLError
			require.ErrorAs(t, err, &refused)
			require.EqualValues(t, 1049, refused.Number, "unknown database")
		})
	}
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		for _, level := range []servers.Isolation{servers.ReadCommitted, servers.RepeatableRead, servers.Serializable} {
			t.Run(e.name+"/"+string(level), func(t *testing.T) {
				t.Parallel()
				db := open(t, e.driver, e.database(t, level))
				for range 3 { // each a connection of its own, since none is given back
					tx, err := db.BeginTx(t.Context(), nil)
					require.NoError(t, err)
					defer tx.Rollback()
					var got string
					require.NoError(t, tx.QueryRowContext(t.Context(), e.level).Scan(&got))
					require.Equal(t, string(level), got)
				}
			})
		}
	}
}

// The DSN asks each connection, not only the first, for what keeps commits safe.
func TestSQLiteSettings(t *testing.T) {
	t.Parallel()
	db := open(t, servers.SQLiteDriver, servers.SQLite(t))
	for range 3 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000"} {
			var got string
			require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
			require.Equal(t, want, got, pragma)
		}
	}
}

func TestSQLiteBeginsImmediately(t *testing.T) {
	t.Parallel()
	dsn := servers.SQLite(t)
	tx, err := open(t, servers.SQLiteDriver, dsn).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()

	impatient := strings.Replace(dsn, "busy_timeout(10000)", "busy_timeout(0)", 1)
	_, err = open(t, servers.SQLiteDriver, impatient).BeginTx(t.Context(), nil)
	var refused *sqlite.Error
	require.ErrorAs(t, err, &refused)
	require.Equal(t, sqlite3.SQLITE_BUSY, refused.Code())
}

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func ask(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	var answer string
	require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&answer), query)
	return answer
}

// redis sends the commands and returns the lines of the answers.
func redis(t *testing.T, address string, commands ...string) []string {
	t.Helper()
	target, err := url.Parse(address)
	require.NoError(t, err)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.Host)
	require.NoError(t, err)
	defer conn.Close()
	password, _ := target.User.Password()
	_, err = fmt.Fprintf(conn, "AUTH %s\r\n%s\r\nQUIT\r\n", password, strings.Join(commands, "\r\n"))
	require.NoError(t, err)
	answers, err := io.ReadAll(conn)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(string(answers), "\r\n"), "\r\n")
	require.Equal(t, "+OK", lines[0], "the answer to AUTH")
	require.Equal(t, "+OK", lines[len(lines)-1], "the answer to QUIT")
	return lines[1 : len(lines)-1]
}
