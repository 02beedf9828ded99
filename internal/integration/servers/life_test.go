package servers_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken/internal/integration/servers"
)

// childVariable makes the test binary start a server of that driver and then end in
// a way no deferred call survives, or not at all.
const childVariable = "APITOKEN_TEST_CHILD"

func TestMain(m *testing.M) {
	if driver, end, ok := strings.Cut(os.Getenv(childVariable), " "); ok {
		child(driver, end)
	}
	servers.Main(m)
}

func child(driver, end string) {
	server, err := servers.StartUnattended(driver)
	if err != nil {
		panic(err)
	}
	fmt.Println(server.Addr(), server.Dir())
	if end == "panic" {
		panic("the test panics")
	}
	<-context.Background().Done()
}

func TestKillRestartStop(t *testing.T) {
	t.Parallel()
	settings := map[string]map[string]string{
		servers.PostgresDriver: {
			"SHOW fsync": "on", "SHOW synchronous_commit": "on", "SHOW full_page_writes": "on",
		},
		servers.MariaDBDriver: {
			"SELECT @@innodb_flush_log_at_trx_commit": "1", "SELECT @@innodb_doublewrite": "1", "SELECT @@innodb_flush_method <> 'nosync'": "1",
		},
	}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			server := e.private(t)
			dsn := server.DSN(t)
			db := open(t, e.driver, dsn)
			for question, want := range settings[e.driver] {
				require.Equal(t, want, ask(t, db, question), question)
			}
			execute(t, db, "CREATE TABLE tokens (id INT)")
			for round := range 2 {
				execute(t, db, fmt.Sprintf("INSERT INTO tokens VALUES (%d)", round))
				pid := server.PID()
				require.NoError(t, server.Kill())
				requireGone(t, pid, server.Addr())
				require.Zero(t, server.PID())
				require.Error(t, db.PingContext(t.Context()))
				require.Error(t, server.Kill(), "killed twice")

				require.NoError(t, server.Restart())
				require.NotZero(t, server.PID())
				require.Error(t, server.Restart(), "started twice")
				require.Equal(t, strconv.Itoa(round+1), ask(t, open(t, e.driver, dsn), "SELECT count(*) FROM tokens"))
			}
			requireStops(t, server)
		})
	}
	t.Run("Redis", func(t *testing.T) {
		t.Parallel()
		server := servers.StartRedis(t)
		require.Equal(t, []string{"+OK"}, redis(t, server.DSN(t), "SET token 42"))
		pid := server.PID()
		require.NoError(t, server.Kill())
		requireGone(t, pid, server.Addr())
		require.NoError(t, server.Restart())
		require.Equal(t, []string{"$2", "42"}, redis(t, server.DSN(t), "GET token"))
		requireStops(t, server)
	})
}

// A server that was killed is stopped too: there is its data to remove.
func TestStopKilled(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t)
	require.NoError(t, server.Kill())
	require.NoError(t, server.Stop())
	require.NoDirExists(t, server.Dir())
}

func TestServerDiesWithTheTests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ driver, end string }{
		{servers.PostgresDriver, "kill"},
		{servers.MariaDBDriver, "panic"},
	} {
		t.Run(c.driver+" "+c.end, func(t *testing.T) {
			t.Parallel()
			tests := exec.CommandContext(t.Context(), os.Args[0])
			tests.Env = append(os.Environ(), childVariable+"="+c.driver+" "+c.end)
			output, err := tests.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, tests.Start())
			var addr, dir string
			_, err = fmt.Fscanln(output, &addr, &dir)
			require.NoError(t, err)
			if c.end == "kill" {
				conn, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				require.NoError(t, conn.Close())
				require.NoError(t, tests.Process.Kill())
			}
			require.Error(t, tests.Wait())

			require.Eventually(t, func() bool {
				_, err := os.Stat(dir)
				return os.IsNotExist(err)
			}, time.Minute, 20*time.Millisecond)
			_, err = net.Dial("tcp", addr)
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
	}
}

func TestServerThatEndsAtOnce(t *testing.T) {
	t.Parallel()
	dir, err := servers.StartBroken()
	require.ErrorContains(t, err, "no-such-setting", "the server's own words")
	require.NotEmpty(t, dir)
	require.NoDirExists(t, dir)
}

func requireStops(t *testing.T, server *servers.Server) {
	t.Helper()
	pid := server.PID()
	require.DirExists(t, server.Dir())
	require.NoError(t, server.Stop())
	requireGone(t, pid, server.Addr())
	require.NoDirExists(t, server.Dir())
	require.NoError(t, server.Stop(), "stopped twice")
	require.Error(t, server.Restart(), "started without its data")
}

func requireGone(t *testing.T, pid int, addr string) {
	t.Helper()
	require.NotZero(t, pid)
	process, err := os.FindProcess(pid)
	require.NoError(t, err)
	require.ErrorIs(t, process.Signal(syscall.Signal(0)), os.ErrProcessDone)
	_, err = net.Dial("tcp", addr)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}
