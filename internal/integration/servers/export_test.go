package servers

import "testing"

// Dir is the folder with the server's data.
func (s *Server) Dir() string { return s.dir }

// StartMissing asks for a server whose program no machine has.
func StartMissing(t testing.TB) {
	missing := *redisEngine
	missing.programs = []string{"apitoken-test-no-such-program"}
	startFor(t, &missing)
}

// SharedMissing is StartMissing for a server that tests share.
func SharedMissing(t testing.TB) {
	missing := *redisEngine
	missing.variable = "APITOKEN_TEST_NO_SUCH_VARIABLE"
	missing.programs = []string{"apitoken-test-no-such-program"}
	(&shared{engine: &missing}).get(t)
}

// Untested empties the list of what was missing and returns it.
func Untested() (names []string) {
	untested.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	untested.Clear()
	return names
}

// StartBroken starts a server that ends at once, with the folder in which it tries.
func StartBroken() (dir string, err error) {
	broken := *redisEngine
	broken.command = func(s *Server) []string {
		dir = s.dir
		return append(redisCommand(s), "--no-such-setting", "1")
	}
	_, err = start(&broken, false)
	return dir, err
}

// Outside is a database of a server that the environment variable leads to.
func Outside(t testing.TB, driver, base string, level Isolation) string {
	e := map[string]*engine{PostgresDriver: postgresEngine, MariaDBDriver: mariadbEngine}[driver]
	outside := *e
	outside.variable = "APITOKEN_TEST_OUTSIDE"
	t.Setenv(outside.variable, base)
	s := &shared{engine: &outside}
	dsn := s.database(t, level)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	return dsn
}

// StartUnattended starts a server that no test stops.
func StartUnattended(driver string) (*Server, error) {
	if driver == PostgresDriver {
		return start(postgresEngine, false)
	}
	return start(mariadbEngine, false)
}
