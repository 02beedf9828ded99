package integration_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// pooler does what PgBouncer does in transaction mode: a client that begins a
// transaction gets the connection to the server that was unused for longest, and
// gives it back at the end. What it prepared there the next one does not find.
type pooler struct {
	addr    string
	ready   *pgconn.HijackedConn      // whose parameters clients are told
	servers chan *pgconn.HijackedConn // the unused ones
	clients sync.WaitGroup
}

const poolerServers = 4

func startPooler(t *testing.T, dsn string) *pooler {
	t.Helper()
	p := &pooler{servers: make(chan *pgconn.HijackedConn, poolerServers)}
	for range poolerServers {
		conn, err := pgconn.Connect(t.Context(), dsn)
		require.NoError(t, err)
		p.ready, err = conn.Hijack()
		require.NoError(t, err)
		p.servers <- p.ready
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.addr = listener.Addr().String()
	p.clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.clients.Go(func() {
				defer client.Close()
				p.serve(client)
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		p.clients.Wait()
		for range poolerServers {
			require.NoError(t, (<-p.servers).Conn.Close())
		}
	})
	return p
}

// dsn leads to the pooler. It asks for no password.
func (p *pooler) dsn(mode string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.User(p.ready.Config.User), Host: p.addr, Path: p.ready.Config.Database,
		RawQuery: "sslmode=disable" + mode,
	}).String()
}

// serve ends when the client does.
func (p *pooler) serve(client net.Conn) {
	backend := pgproto3.NewBackend(client, client)
	if _, err := backend.ReceiveStartupMessage(); err != nil {
		return
	}
	backend.Send(&pgproto3.AuthenticationOk{})
	for name, value := range p.ready.ParameterStatuses {
		backend.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	backend.Send(&pgproto3.BackendKeyData{SecretKey: make([]byte, 4)})
	backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if backend.Flush() != nil {
		return
	}
	for {
		msg, err := backend.Receive()
		if _, bye := msg.(*pgproto3.Terminate); bye || err != nil {
			return
		}
		server := <-p.servers
		err = transaction(backend, msg, server.Frontend)
		if err != nil { // the client is gone amid a transaction
			server.Frontend.Send(&pgproto3.Query{String: "ROLLBACK"})
			_, err = relay(server.Frontend, pgproto3.NewBackend(client, io.Discard))
		}
		p.servers <- server
		if err != nil {
			return
		}
	}
}

// transaction passes messages on, msg first, until the server is idle.
func transaction(client *pgproto3.Backend, msg pgproto3.FrontendMessage, server *pgproto3.Frontend) error {
	for {
		server.Send(msg)
		switch msg.(type) {
		case *pgproto3.Sync, *pgproto3.Query:
			status, err := relay(server, client)
			if err != nil || status == 'I' {
				return err
			}
		}
		var err error
		if msg, err = client.Receive(); err != nil {
			return err
		}
		if _, bye := msg.(*pgproto3.Terminate); bye {
			return io.EOF
		}
	}
}

// relay passes the server's answers on and returns the status that they end with.
func relay(server *pgproto3.Frontend, client *pgproto3.Backend) (status byte, err error) {
	if err := server.Flush(); err != nil {
		return 0, err
	}
	for {
		msg, err := server.Receive()
		if err != nil {
			return 0, err
		}
		client.Send(msg)
		if end, ok := msg.(*pgproto3.ReadyForQuery); ok {
			return end.TxStatus, client.Flush()
		}
	}
}

// Behind a pooler that hands out another connection for each transaction nothing
// fails, with the settings that the documentation names.
func TestPooler(t *testing.T) {
	t.Parallel()
	e := defaults()[1]
	for _, mode := range []string{"exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := startPooler(t, servers.Postgres(t))
			errs := make(chan error, 10)
			var parties []func()
			for range cap(errs) {
				s, _ := e.bare(t, p.dsn("&default_query_exec_mode="+mode), sqlstore.Options{Unprepared: true})
				parties = append(parties, func() { errs <- s.Migrate(t.Context()) })
			}
			together(parties...)
			for range cap(errs) {
				require.NoError(t, <-errs)
			}
			s, _ := e.bare(t, p.dsn("&default_query_exec_mode="+mode), sqlstore.Options{Unprepared: true})
			require.NoError(t, s.Validate(t.Context()))
			for range poolerServers {
				everyStatement(t, s)
			}
		})
	}
}

// Without those settings a statement is looked for where it was not prepared. That
// is an outage, and nothing looks as if it were not there.
func TestPoolerWithPreparedStatements(t *testing.T) {
	t.Parallel()
	e := defaults()[1]
	dsn := servers.Postgres(t)
	direct, _ := e.openAt(t, dsn)
	rec := newRecord("behindapoolerbehindap0")
	require.NoError(t, direct.Create(t.Context(), rec, nil))

	s, _ := e.bare(t, startPooler(t, dsn).dsn(""), sqlstore.Options{})
	failed := func(err error) {
		t.Helper()
		require.ErrorContains(t, err, "prepared statement")
		require.NotErrorIs(t, err, apitoken.ErrNotFound)
	}
	var errs []error
	for range 2 * poolerServers {
		_, err := s.Get(t.Context(), rec.Token.ID)
		if err != nil {
			failed(err)
			errs = append(errs, err)
		}
	}
	require.NotEmpty(t, errs, "the pooler gives each client a connection of its own")
}
