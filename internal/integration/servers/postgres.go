package servers

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver
)

var postgresEngine = &engine{
	name:     "PostgreSQL",
	variable: "APITOKEN_TEST_POSTGRES_DSN",
	packages: "postgresql",
	account:  "postgres",
	// PostgreSQL's immediate shutdown: unlike SIGKILL it gives back shared memory.
	signal:   "QUIT",
	programs: []string{"initdb", "postgres"},
	prepare:  preparePostgres,
	command:  postgresCommand,
	own:      postgresBase,
	outside:  func(dsn string) string { return dsn },
	ping:     func(ctx context.Context, base string) error { return postgresExec(ctx, base, "SELECT 1") },
	create: func(ctx context.Context, base, database string) error {
		// template1 cannot be copied while anybody is connected to it.
		return postgresExec(ctx, base, "CREATE DATABASE "+database+" TEMPLATE template0")
	},
	drop: func(ctx context.Context, base, database string) error {
		return postgresExec(ctx, base, "DROP DATABASE IF EXISTS "+database+" WITH (FORCE)")
	},
	dsn: func(_ context.Context, base, database string, level Isolation) (string, error) {
		return postgresDSN(base, database, level)
	},
}

// preparePostgres sets a password, although only this machine can connect: another
// of its users could otherwise run programs as the account of the server, which may
// own the data of a real one.
func preparePostgres(s *Server) error {
	if err := s.write("password", s.password); err != nil {
		return err
	}
	return s.run(s.programs["initdb"], "--pgdata="+s.path("data"), "--username=apitoken", "--pwfile="+s.path("password"),
		"--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync")
}

func postgresCommand(s *Server) []string {
	command := []string{s.programs["postgres"], "-D", s.path("data"), "-p", strconv.Itoa(s.port)}
	settings := []string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200",
		// What POSIX shared memory a killed server leaves behind, nobody removes.
		"dynamic_shared_memory_type=mmap",
	}
	if !s.durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	for _, setting := range settings {
		command = append(command, "-c", setting)
	}
	return command
}

func postgresBase(s *Server) string {
	base := url.URL{Scheme: "postgres", User: url.UserPassword("apitoken", s.password), Host: s.Addr(), Path: "/postgres", RawQuery: "sslmode=disable"}
	return base.String()
}

// postgresDSN sets the level through the parameter options, which libpq has as well.
func postgresDSN(base, database string, level Isolation) (string, error) {
	var options string
	if level != ServerDefault {
		options = "-c default_transaction_isolation=" + strings.ReplaceAll(strings.ToLower(string(level)), " ", `\ `)
	}
	if !strings.HasPrefix(base, "postgres://") && !strings.HasPrefix(base, "postgresql://") {
		// In the form 'key=value' the last of two equal keys counts.
		base += " dbname=" + database
		if options != "" {
			base += " options='" + strings.ReplaceAll(options, `\`, `\\`) + "'"
		}
		return base, nil
	}
	dsn, err := url.Parse(base)
	if err != nil {
		return "", errors.New("the PostgreSQL DSN is not a URL") // url.Parse quotes it, password and all
	}
	dsn.Path = "/" + database
	if options != "" {
		query := dsn.Query()
		query.Set("options", strings.TrimSpace(query.Get("options")+" "+options))
		// libpq does not take + for a space.
		dsn.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	}
	return dsn.String(), nil
}

func postgresExec(ctx context.Context, dsn, statement string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
