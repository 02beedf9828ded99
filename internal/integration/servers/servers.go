// Package servers gives tests real databases: new, empty ones on PostgreSQL,
// MariaDB, Redis and SQLite. A server is started when the first test asks for it,
// on a spare loopback port with its data in a temporary directory, once for each
// test binary. It is fast because it does not wait for the disk; a server of a
// test's own ([StartPostgres], [StartMariaDB], [StartRedis]) does, and can be killed
// and started again. The servers die with the test binary, whatever ends it.
//
// A test binary that uses this package begins with
//
//	func TestMain(m *testing.M) { servers.Main(m) }
//
// Set APITOKEN_TEST_POSTGRES_DSN, APITOKEN_TEST_MARIADB_DSN (each of an account
// that may create databases) or APITOKEN_TEST_REDIS_ADDR to use servers that run
// already. Without them and without the programs a test is skipped, or fails if CI
// is set in the environment.
//
// A server that was started has one goroutine, (*process).wait, which a check for
// leaks has to leave out.
//
// The drivers are registered under [PostgresDriver], [MariaDBDriver] and
// [SQLiteDriver].
package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// The names under which the drivers are registered with database/sql.
const (
	PostgresDriver = "pgx"
	MariaDBDriver  = "mysql"
	SQLiteDriver   = "sqlite"
)

// Isolation is the level at which a session begins its transactions unless they ask
// for another.
type Isolation string

// The levels that PostgreSQL and MariaDB have. ServerDefault asks for none, which is
// READ COMMITTED on PostgreSQL and REPEATABLE READ on MariaDB.
const (
	ServerDefault  Isolation = ""
	ReadCommitted  Isolation = "READ COMMITTED"
	RepeatableRead Isolation = "REPEATABLE READ"
	Serializable   Isolation = "SERIALIZABLE"
)

// Postgres returns the DSN of a new, empty database, for pgx and [PostgresDriver]. It
// is dropped when t ends, whoever is connected. At most one isolation level may be
// given.
func Postgres(t testing.TB, level ...Isolation) string {
	t.Helper()
	return sharedPostgres.database(t, one(t, level))
}

// MariaDB returns the DSN of a new, empty database, for [MariaDBDriver]. It is
// dropped when t ends. At most one isolation level may be given.
func MariaDB(t testing.TB, level ...Isolation) string {
	t.Helper()
	return sharedMariaDB.database(t, one(t, level))
}

// Redis returns the URL of a server, redis://…, as redis.ParseURL takes it. Tests
// share its keys and channels: put a random prefix before yours.
func Redis(t testing.TB) string {
	t.Helper()
	return sharedRedis.get(t).base
}

// Database returns the DSN of a new, empty database for a program that is no test. The
// driver is [PostgresDriver] or [MariaDBDriver]. The server has the settings of a
// production server: what it acknowledged is on disk. Both stay until [Stop].
func Database(ctx context.Context, driver string) (string, error) {
	s, ok := map[string]*shared{PostgresDriver: durablePostgres, MariaDBDriver: durableMariaDB}[driver]
	if !ok {
		return "", fmt.Errorf("there is no server for driver %q", driver)
	}
	server, err := s.running()
	if err != nil {
		return "", err
	}
	name := newName()
	dsn, err := server.create(ctx, name, ServerDefault)
	if err == nil {
		s.mu.Lock()
		s.lasting = append(s.lasting, name)
		s.mu.Unlock()
	}
	return dsn, err
}

// RedisURL is [Redis] for a program that is no test. The server stays until [Stop].
func RedisURL() (string, error) {
	server, err := sharedRedis.running()
	if err != nil {
		return "", err
	}
	return server.base, nil
}

// Main runs the tests, stops the servers and ends the process. It says which servers
// were missing.
func Main(m interface{ Run() int }) {
	code := m.Run()
	untested.Range(func(name, _ any) bool {
		fmt.Fprintf(os.Stderr, "WARNING: tests were skipped: no %s; go test -v says what to install\n", name)
		return true
	})
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Stop stops the servers that tests share and those of [Database] and [RedisURL], and
// removes their data. It is for a TestMain that does more than [Main]. A later call for a database
// starts anew.
func Stop() error {
	return errors.Join(sharedPostgres.stop(), sharedMariaDB.stop(), sharedRedis.stop(), durablePostgres.stop(), durableMariaDB.stop())
}

var (
	sharedPostgres = &shared{engine: postgresEngine}
	sharedMariaDB  = &shared{engine: mariadbEngine}
	sharedRedis    = &shared{engine: redisEngine}

	durablePostgres = &shared{engine: postgresEngine, durable: true}
	durableMariaDB  = &shared{engine: mariadbEngine, durable: true}
)

// shared is the server of one engine that all tests of a binary use.
type shared struct {
	engine  *engine
	durable bool

	mu      sync.Mutex
	server  *Server
	err     error
	lasting []string // databases that no test drops
}

func (s *shared) get(t testing.TB) *Server {
	t.Helper()
	server, err := s.running()
	if err != nil {
		unavailable(t, s.engine, err, " or set "+s.engine.variable+" to use one that runs already")
	}
	return server
}

// running starts the server at the first call. What failed once fails for each test
// alike: a second try would only take longer.
func (s *shared) running() (*Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.err == nil {
		if base := os.Getenv(s.engine.variable); base != "" {
			s.server, s.err = &Server{engine: s.engine, base: s.engine.outside(base)}, nil
		} else {
			s.server, s.err = start(s.engine, s.durable)
		}
	}
	return s.server, s.err
}

func (s *shared) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	server, lasting := s.server, s.lasting
	s.server, s.err, s.lasting = nil, nil, nil
	if server == nil {
		return nil
	}
	var err error
	for _, name := range lasting {
		err = errors.Join(err, s.drop(server, name))
	}
	return errors.Join(err, server.Stop())
}

func (s *shared) database(t testing.TB, level Isolation) string {
	t.Helper()
	server := s.get(t)
	name := newName()
	dsn, err := server.create(t.Context(), name, level)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.drop(server, name); err != nil {
			t.Error(err)
		}
	})
	return dsn
}

// drop has a context of its own: the test's has ended by now.
func (s *shared) drop(server *Server, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.engine.drop(ctx, server.base, name); err != nil {
		return fmt.Errorf("%s: dropping a database: %w", s.engine.name, err)
	}
	return nil
}

func one(t testing.TB, levels []Isolation) Isolation {
	t.Helper()
	switch len(levels) {
	case 0:
		return ServerDefault
	case 1:
		return levels[0]
	}
	t.Fatalf("more than one isolation level: %q", levels)
	return ServerDefault
}

func newName() string { return "apitoken_" + strings.ToLower(rand.Text()) }
