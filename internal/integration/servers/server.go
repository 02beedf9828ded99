package servers

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// startTimeout is far more than a start takes: a machine that runs many tests at
// once may be slow, and a test that fails for that tells nothing.
const startTimeout = 2 * time.Minute

// engine is what differs between the kinds of servers. A base DSN leads to the
// server, not yet to a database of a test.
type engine struct {
	name     string // for people
	variable string // the environment variable with the base DSN of a running server
	packages string // what Debian's package is called
	account  string // who runs it when the tests run as root
	signal   string // ends it at once and tidily
	programs []string

	prepare func(*Server) error    // fills the data directory
	command func(*Server) []string // the server in the foreground
	own     func(*Server) string   // its base DSN
	outside func(string) string    // the base DSN of the variable's value
	ping    func(ctx context.Context, base string) error
	create  func(ctx context.Context, base, database string) error
	drop    func(ctx context.Context, base, database string) error
	dsn     func(ctx context.Context, base, database string, level Isolation) (string, error)
}

// Server is a running database server. Its methods may be called from any
// goroutine.
type Server struct {
	engine   *engine
	base     string
	durable  bool
	dir      string
	port     int
	password string
	account  *account
	programs map[string]string
	guard    *guard

	mu      sync.Mutex
	process *process // nil when it is not running
}

// StartPostgres starts a PostgreSQL of t's own with the settings of a production
// server: what it acknowledged is on disk. It is stopped when t ends.
func StartPostgres(t testing.TB) *Server {
	t.Helper()
	return startFor(t, postgresEngine)
}

// StartMariaDB starts a MariaDB of t's own with the settings of a production
// server: what it acknowledged is on disk. It is stopped when t ends.
func StartMariaDB(t testing.TB) *Server {
	t.Helper()
	return startFor(t, mariadbEngine)
}

// StartRedis starts a Redis of t's own that writes each command to disk before it
// answers. It is stopped when t ends.
func StartRedis(t testing.TB) *Server {
	t.Helper()
	return startFor(t, redisEngine)
}

// DSN returns the DSN of a new, empty database; of a Redis the URL, the same at
// each call. At most one isolation level may be given.
func (s *Server) DSN(t testing.TB, level ...Isolation) string {
	t.Helper()
	dsn, err := s.create(t.Context(), newName(), one(t, level))
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// Addr returns the host and port on which the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// PID returns the process ID of the server, 0 when it is not running.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil || s.process.ended() {
		return 0
	}
	return s.process.pid()
}

// Kill ends the server and each process it started with SIGKILL, so that nothing is
// flushed or closed, and returns when it is gone. It fails when the server is not
// running or has ended by itself.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.alive(); err != nil {
		return err
	}
	if err := s.process.kill(); err != nil {
		return fmt.Errorf("killing %s: %w", s.engine.name, err)
	}
	s.process = nil
	return nil
}

// Restart starts a killed server again on the same data and port and returns when it
// answers, its recovery done. It fails when the server is running or was stopped.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.guard == nil:
		return fmt.Errorf("%s was stopped and its data removed", s.engine.name)
	case s.process != nil && !s.process.ended():
		return fmt.Errorf("%s is running", s.engine.name)
	}
	// A process of the killed server that waits for the disk holds its memory until the
	// disk has answered, and this one ends at once.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	err := s.launch(ctx)
	for errors.Is(err, errEnded) && ctx.Err() == nil {
		<-tick.C
		err = s.launch(ctx)
	}
	if err != nil {
		return fmt.Errorf("restarting %s: %w", s.engine.name, err)
	}
	return nil
}

// Stop ends the server and removes its data. What is stopped already, or was not
// started by this package, is left alone.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guard == nil {
		return nil
	}
	err := s.guard.close()
	if s.process != nil && err == nil {
		<-s.process.done
	}
	s.process, s.guard = nil, nil
	if err != nil {
		return fmt.Errorf("stopping %s: %w", s.engine.name, err)
	}
	return nil
}

func startFor(t testing.TB, e *engine) *Server {
	t.Helper()
	s, err := start(e, true)
	if err != nil {
		unavailable(t, e, err, "")
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(e *engine, durable bool) (_ *Server, err error) {
	s := &Server{engine: e, durable: durable, password: rand.Text()}
	if s.programs, err = findPrograms(e.programs); err != nil {
		return nil, err
	}
	if s.account, err = findAccount(e.account); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("starting %s: %w", e.name, err), s.Stop())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "apitoken-test-"); err != nil {
		return nil, err
	}
	if s.guard, err = newGuard(s.dir, e.signal); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err = s.account.own(s.dir); err != nil {
		return nil, err
	}
	if err = e.prepare(s); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	// Another process may take the port before the server does.
	for range 5 {
		if s.port, err = sparePort(); err != nil {
			return nil, err
		}
		s.base = e.own(s)
		if err = s.launch(ctx); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// launch starts the server and waits until it answers. A server that ends instead is
// errEnded.
func (s *Server) launch(ctx context.Context) error {
	p, err := s.start(s.engine.command(s))
	if err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ping(ctx)
		if err == nil {
			s.process = p
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%w: %v, its log ends:\n%s", errEnded, p.cmd.ProcessState, s.logTail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no answer: %w, its log ends:\n%s", err, s.logTail()), p.kill())
		case <-tick.C:
		}
	}
}

// ping has a time limit of its own: what took the port may accept and say nothing.
func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return s.engine.ping(ctx, s.base)
}

func (s *Server) create(ctx context.Context, name string, level Isolation) (string, error) {
	if err := s.engine.create(ctx, s.base, name); err != nil {
		return "", fmt.Errorf("%s: creating a database: %w", s.engine.name, errors.Join(err, s.lost()))
	}
	dsn, err := s.engine.dsn(ctx, s.base, name, level)
	if err != nil {
		return "", fmt.Errorf("%s: making a DSN: %w", s.engine.name, err)
	}
	return dsn, nil
}

// alive fails when the server is not running.
func (s *Server) alive() error {
	switch {
	case s.process == nil:
		return fmt.Errorf("%s is not running", s.engine.name)
	case s.process.ended():
		return fmt.Errorf("%s ended by itself: %v, its log ends:\n%s", s.engine.name, s.process.cmd.ProcessState, s.logTail())
	}
	return nil
}

// lost explains why a server of this package does not answer, nil if it is running.
func (s *Server) lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return nil
	}
	return s.alive()
}

// path is a file of the server's directory.
func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// write leaves a file that only the server's account can read: it holds a password.
func (s *Server) write(name, text string) error {
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		return err
	}
	return s.account.own(s.path(name))
}

func (s *Server) logTail() []byte {
	text, err := os.ReadFile(s.path("log"))
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-2000):]
}

// sparePort finds a port below the range from which Linux and macOS take those of
// outgoing connections: none of these can take it while a killed server is away.
func sparePort() (int, error) {
	var err error
	for range 100 {
		port := 20_000 + mathrand.IntN(12_000)
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no spare port: %w", err)
}

// programFolders are where Debian puts programs that are not in everybody's PATH:
// those of PostgreSQL in a folder for each version.
var programFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/sbin", "/usr/local/sbin"}

func findPrograms(names []string) (map[string]string, error) {
	found := make(map[string]string, len(names))
	for _, name := range names {
		path, err := findProgram(name)
		if err != nil {
			return nil, err
		}
		found[name] = path
	}
	return found, nil
}

func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, folder := range programFolders {
		files, err := filepath.Glob(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		// The newest first, where 15 comes after 9.
		slices.SortFunc(files, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(b, a)) })
		for _, file := range files {
			if path, err := exec.LookPath(file); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%w: %s", errMissing, name)
}
