package servers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// The server keeps its built-in character set, latin1, and not the utf8mb4 of
// Debian's configuration: a schema that leans on the default of the database fails
// here rather than at a host whose default differs.
var mariadbEngine = &engine{
	name:     "MariaDB",
	variable: "APITOKEN_TEST_MARIADB_DSN",
	packages: "mariadb-server",
	account:  "mysql",
	signal:   "KILL",
	programs: []string{"mariadb-install-db", "mariadbd"},
	prepare:  prepareMariaDB,
	command:  mariadbCommand,
	own:      mariadbBase,
	outside:  func(dsn string) string { return dsn },
	ping:     func(ctx context.Context, base string) error { return mariadbExec(ctx, base, "DO 1") },
	create: func(ctx context.Context, base, database string) error {
		return mariadbExec(ctx, base, "CREATE DATABASE "+database)
	},
	drop: func(ctx context.Context, base, database string) error {
		// The server would wait a day for a transaction that a test left open.
		return mariadbExec(ctx, base, "SET lock_wait_timeout = 20", "DROP DATABASE IF EXISTS "+database)
	},
	dsn: mariadbDSN,
}

// prepareMariaDB leaves a file that each start executes: it makes the account of the
// tests. The one that the installation makes is for the owner of the server's process
// alone. There is a password for the reason that preparePostgres has one.
func prepareMariaDB(s *Server) error {
	script := "CREATE OR REPLACE USER apitoken@'127.0.0.1' IDENTIFIED BY '" + s.password + "';\n" +
		"GRANT ALL PRIVILEGES ON *.* TO apitoken@'127.0.0.1';\n"
	if err := s.write("init.sql", script); err != nil {
		return err
	}
	return s.run(append([]string{s.programs["mariadb-install-db"], "--no-defaults", "--skip-test-db"}, mariadbSettings(s)...)...)
}

func mariadbCommand(s *Server) []string {
	command := []string{s.programs["mariadbd"], "--no-defaults", "--init-file=" + s.path("init.sql"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port), "--max-connections=200", "--skip-name-resolve",
		// Relative to the data: a path in a deep temporary folder is too long for a socket.
		"--socket=server.sock", "--pid-file=" + s.path("pid")}
	return append(command, mariadbSettings(s)...)
}

// mariadbSettings are needed by the installation too: a log of another size would be
// made anew at the first start.
func mariadbSettings(s *Server) []string {
	settings := []string{"--datadir=" + s.path("data"), "--tmpdir=" + s.dir, "--innodb-log-file-size=32M", "--innodb-buffer-pool-size=256M"}
	if s.durable {
		return append(settings, "--innodb-flush-log-at-trx-commit=1")
	}
	return append(settings, "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync")
}

func mariadbBase(s *Server) string {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = "apitoken", s.password, "tcp", s.Addr()
	return config.FormatDSN()
}

func mariadbDSN(ctx context.Context, base, database string, level Isolation) (string, error) {
	config, err := mysql.ParseDSN(base)
	if err != nil {
		return "", err
	}
	config.DBName = database
	if level == ServerDefault {
		return config.FormatDSN(), nil
	}
	variable, err := isolationVariable(ctx, config)
	if err != nil {
		return "", err
	}
	if config.Params == nil {
		config.Params = make(map[string]string)
	}
	config.Params[variable] = "'" + strings.ReplaceAll(string(level), " ", "-") + "'"
	return config.FormatDSN(), nil
}

// isolationVariable asks for the variable's name: MariaDB got transaction_isolation
// in 11.1 and MySQL gave up tx_isolation in 8.0.
func isolationVariable(ctx context.Context, config *mysql.Config) (string, error) {
	db, err := mariadbOpen(config)
	if err != nil {
		return "", err
	}
	var name, value string
	row := db.QueryRowContext(ctx, "SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')")
	err = row.Scan(&name, &value)
	return name, errors.Join(err, db.Close())
}

// mariadbExec runs the statements in one session.
func mariadbExec(ctx context.Context, dsn string, statements ...string) error {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return err
	}
	db, err := mariadbOpen(config)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	for _, statement := range statements {
		if _, err = conn.ExecContext(ctx, statement); err != nil {
			err = fmt.Errorf("%s: %w", statement, err)
			break
		}
	}
	return errors.Join(err, conn.Close(), db.Close())
}

func mariadbOpen(config *mysql.Config) (*sql.DB, error) {
	config = config.Clone()
	// It would log each attempt to reach a server that is about to start.
	config.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
