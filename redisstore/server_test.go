package redisstore_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// server is a real Redis of the test's own, on a spare port, with nothing kept on
// disk. A shell ends it when its input ends, so it outlives no test binary, however
// that ended.
type server struct {
	t    testing.TB
	port string
	args []string // more settings
	cmd  *exec.Cmd
	in   interface{ Close() error }
}

const guardScript = `"$@" & trap '' INT TERM HUP; while read -r _; do :; done; kill -KILL $!; wait $!`

func startServer(t testing.TB) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	s := &server{t: t, port: port}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		s.t.Fatal("redis-server is missing: on Debian, apt-get install redis-server")
	}
	dir := s.t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(s.t, err)
	defer log.Close()
	args := append([]string{"-c", guardScript, "guard", program,
		"--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}, s.args...)
	s.cmd = exec.Command("sh", args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	in, err := s.cmd.StdinPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	s.in = in
	client := redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1})
	defer client.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if err = client.Ping(s.t.Context()).Err(); err == nil {
			return
		}
		<-tick.C
	}
	text, _ := os.ReadFile(log.Name())
	s.t.Fatalf("Redis does not answer: %v\n%s", err, text)
}

// kill returns when the server is gone.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.in.Close()
	_ = s.cmd.Wait() // it was killed
	s.cmd = nil
}

func (s *server) addr() string { return "127.0.0.1:" + s.port }

func (s *server) client(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr(), ContextTimeoutEnabled: true, PoolSize: 20})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// child runs this test binary again, as a node of its own.
func child(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}
