package integration_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
)

var acks = flag.Int("acks", 200, "acknowledged revokes on each engine before the last kill; the long proof is 10000")

// writer is a process that writes.
type writer struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr *bytes.Buffer
	issued map[apitoken.ID]bool // true: revoked too
}

func startWriter(t *testing.T, engine, dsn, tenant string, env ...string) *writer {
	t.Helper()
	w := &writer{cmd: exec.CommandContext(t.Context(), os.Args[0]), stderr: new(bytes.Buffer), issued: make(map[apitoken.ID]bool)}
	w.cmd.Env = append(os.Environ(), writerEngine+"="+engine, writerDSN+"="+dsn, writerTenant+"="+tenant)
	w.cmd.Env = append(w.cmd.Env, env...)
	w.cmd.Stderr = w.stderr
	out, err := w.cmd.StdoutPipe()
	require.NoError(t, err)
	w.lines = bufio.NewScanner(out)
	w.lines.Split(wholeLines)
	require.NoError(t, w.cmd.Start())
	return w
}

// wholeLines leaves out what has no end: that was cut off.
func wholeLines(data []byte, _ bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	return 0, nil, nil
}

// next takes down one acknowledgement, and reports false at the end.
func (w *writer) next(t *testing.T) bool {
	t.Helper()
	if !w.lines.Scan() {
		require.NoError(t, w.lines.Err())
		return false
	}
	what, id, _ := strings.Cut(w.lines.Text(), " ")
	require.Contains(t, []string{"issued", "revoked"}, what)
	require.Len(t, id, 22)
	w.issued[apitoken.ID(id)] = what == "revoked"
	return true
}

func (w *writer) revoked() (n int) {
	for _, revoked := range w.issued {
		if revoked {
			n++
		}
	}
	return n
}

// crash lets the writer work until the server is killed, or the writer itself where
// server is nil, somewhere in the middle of its next writes. Afterwards the server
// runs again.
func (w *writer) crash(t *testing.T, server *servers.Server) {
	t.Helper()
	for range 1 + rand.IntN(400) {
		require.True(t, w.next(t), "the writer ended by itself: %s", w.stderr)
	}
	if server != nil {
		require.NoError(t, server.Kill())
	} else {
		require.NoError(t, w.cmd.Process.Kill())
	}
	for w.next(t) { // acknowledged before it died
	}
	require.Error(t, w.cmd.Wait(), "a writer never ends well")
	if server != nil {
		require.NoError(t, server.Restart())
	}
}

// lost returns what the database does not have of what was acknowledged, and where
// a token and its events are not of one piece.
func (w *writer) lost(t *testing.T, d durable, dsn, tenant string) (lost []string) {
	t.Helper()
	store, closePool := d.store(t, dsn)
	defer closePool()
	found := make(map[apitoken.ID]bool) // true: revoked
	query := apitoken.StoreQuery{Tenant: tenant, AllKinds: true, Sort: apitoken.SortCreated, Limit: 500, Now: created}
	for {
		recs, err := store.List(t.Context(), query)
		require.NoError(t, err)
		for _, rec := range recs {
			state, torn := wholeOf(t, store, rec)
			found[rec.Token.ID] = state == apitoken.StateRevoked
			lost = append(lost, torn...)
		}
		if len(recs) < query.Limit {
			break
		}
		last := apitoken.PositionOf(&recs[len(recs)-1].Token, query.Sort, query.Now)
		query.After = &last
	}
	for id, revoked := range w.issued {
		switch state, ok := found[id]; {
		case !ok:
			lost = append(lost, fmt.Sprintf("token %s is lost", id))
		case revoked && !state:
			lost = append(lost, fmt.Sprintf("the revoke of token %s is lost", id))
		}
	}
	return lost
}

// wholeOf returns the state of a token, and what is wrong if its events are not
// those of the state. A server that lives on ends what a killed writer sent last,
// so what does not agree is read again for as long as it changes.
func wholeOf(t *testing.T, store apitoken.Store, rec *apitoken.Record) (state apitoken.State, torn []string) {
	t.Helper()
	for {
		want := []apitoken.EventType{apitoken.EventCreated}
		if rec.Token.State == apitoken.StateRevoked {
			want = append(want, apitoken.EventRevoked)
		}
		events, err := store.Events(t.Context(), rec.Token.Tenant, rec.Token.ID, "", 10)
		require.NoError(t, err)
		var got []apitoken.EventType
		for _, e := range events {
			got = append(got, e.Type)
		}
		if slices.Equal(want, got) {
			return rec.Token.State, nil
		}
		again, err := store.Get(t.Context(), rec.Token.ID)
		require.NoError(t, err)
		if again.Token.Version == rec.Token.Version {
			return rec.Token.State, []string{fmt.Sprintf("token %s is %q, its events are %v", rec.Token.ID, rec.Token.State, got)}
		}
		rec = again
	}
}

// P5: what was acknowledged survives a kill -9, of the program that wrote it, and
// of the server with all its processes.
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		d := durables["SQLite"]
		dsn := d.migrated(t, servers.SQLite(t))
		killLoop(t, d, dsn, nil)
		db, err := d.pool(dsn)
		require.NoError(t, err)
		var whole string
		require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&whole))
		require.Equal(t, "ok", whole)
		require.NoError(t, db.Close())
	})
	for name, start := range map[string]func(testing.TB) *servers.Server{"PostgreSQL": servers.StartPostgres, "MariaDB": servers.StartMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			killLoop(t, durables[name], durables[name].migrated(t, server.DSN(t)), server)
		})
	}
}

// killLoop kills writers, and every other time the server instead, until enough
// revokes were acknowledged.
func killLoop(t *testing.T, d durable, dsn string, server *servers.Server) {
	t.Helper()
	var writers []*writer
	acknowledged, crashes := 0, 0
	for acknowledged < *acks {
		tenant := fmt.Sprint("round ", len(writers))
		w := startWriter(t, d.name, dsn, tenant)
		if server != nil && len(writers)%2 == 0 {
			w.crash(t, server)
			crashes++
		} else {
			w.crash(t, nil)
		}
		require.Empty(t, w.lost(t, d, dsn, tenant))
		acknowledged += w.revoked()
		writers = append(writers, w)
	}
	for round, w := range writers { // also after all the later kills
		require.Empty(t, w.lost(t, d, dsn, fmt.Sprint("round ", round)))
	}
	t.Logf("%d revokes acknowledged, 0 lost; %d kills of the writer, %d of the server", acknowledged, len(writers)-crashes, crashes)
}

// The loop must find losses, or its zero says nothing: of a writer that acknowledges
// what it has not written, and of a server that acknowledges what it has not brought
// to disk.
func TestKillFindsLosses(t *testing.T) {
	t.Parallel()
	t.Run("hasty writer", func(t *testing.T) {
		t.Parallel()
		d := durables["SQLite"]
		findLosses(t, d, d.migrated(t, servers.SQLite(t)), nil, writerHasty+"=1")
	})
	t.Run("hasty server", func(t *testing.T) {
		t.Parallel()
		d := durables["PostgreSQL"]
		d.settings = nil
		server := servers.StartPostgres(t)
		dsn, err := url.Parse(server.DSN(t))
		require.NoError(t, err)
		query := dsn.Query()
		query.Set("synchronous_commit", "off")
		dsn.RawQuery = query.Encode()
		findLosses(t, d, d.migrated(t, dsn.String()), server, writerUnchecked+"=1")
	})
}

func findLosses(t *testing.T, d durable, dsn string, server *servers.Server, env ...string) {
	t.Helper()
	for round := range 100 {
		tenant := fmt.Sprint("round ", round)
		w := startWriter(t, d.name, dsn, tenant, env...)
		w.crash(t, server)
		if lost := w.lost(t, d, dsn, tenant); len(lost) > 0 {
			t.Logf("in round %d: %v", round+1, lost)
			return
		}
	}
	require.Fail(t, "no loss was found")
}

// A connection that would not wait for the disk is not used.
func TestKillChecksSettings(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{"synchronous(FULL)": "synchronous(NORMAL)", "journal_mode(WAL)": "journal_mode(MEMORY)"} {
		dsn := servers.SQLite(t)
		require.Contains(t, dsn, from)
		db, err := durables["SQLite"].pool(strings.Replace(dsn, from, to, 1))
		require.NoError(t, err)
		require.ErrorContains(t, db.PingContext(t.Context()), "PRAGMA")
		require.NoError(t, db.Close())
	}
}
