// Quickstart is a small HTTP API whose customers use API tokens.
//
//	go run ./examples/quickstart            # serve, and print tokens and curl lines
//	go run ./examples/quickstart -selftest  # hold that conversation with itself
//
// It keeps tokens in a database, so that they work when it is started again:
//
//	-db quickstart.db                                  # SQLite, the default
//	-db postgres://user:password@host:5432/database    # PostgreSQL
//	-db mysql://user:password@host:3306/database       # MariaDB
//	-db memory                                         # none: they end with the process
//
// It speaks plain HTTP and therefore listens on loopback addresses only: a bearer
// token works for whoever reads it, so serve a real API over TLS.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tokenry/apitoken"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:8080", "loopback `address` to listen on")
	db := flags.String("db", "", "where tokens are kept: a `file`, a URL (postgres:// or mysql://), or memory (default quickstart.db, with -selftest a temporary file)")
	test := flags.Bool("selftest", false, "check every answer over HTTP on a spare port, then exit")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *test {
		if *db == "" {
			dir, err := os.MkdirTemp("", "quickstart-")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			*db = filepath.Join(dir, "selftest.db")
		}
		return selfTest(ctx, place(*db), newServer, out)
	}
	if *db == "" {
		*db = "quickstart.db"
	}
	s, err := newServer(ctx, place(*db))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	listener, err := listen(ctx, *addr)
	if err != nil {
		return err
	}
	if err := welcome(ctx, s.tokens, "http://"+listener.Addr().String(), place(*db), out); err != nil {
		return errors.Join(err, listener.Close())
	}
	return s.serve(ctx, listener)
}

// server is the API with its tokens.
type server struct {
	tokens  *apitoken.Service
	handler http.Handler
	close   func() error // the store
}

func newServer(ctx context.Context, db place) (*server, error) {
	store, end, err := db.open(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := newTokens(store)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return &server{tokens: tokens, handler: newAPI(tokens, newInventory()), close: end}, nil
}

// newTokens sets the engine up: three kinds of token, each with the rules of a
// preset and what this server does differently.
func newTokens(store apitoken.Store) (*apitoken.Service, error) {
	personal, shared, node := apitoken.PersonalPolicy(), apitoken.SharedPolicy(), apitoken.NodePolicy()
	personal.Lifetime = apitoken.Lifetime{Default: apitoken.Period{Days: 90}, Max: apitoken.Period{Years: 1}}
	shared.Lifetime = personal.Lifetime
	// The routes ask for this permission already. The engine asks again, so that a
	// route that forgets it does not let an administrator's read-only token in.
	shared.CreatePermission, node.CreatePermission = "tokens:manage", "tokens:manage"
	personal.ManagePermission, shared.ManagePermission, node.ManagePermission = "tokens:manage", "tokens:manage", "tokens:manage"
	node.Prefix = "acme_node"
	return apitoken.New(store, apitoken.Options{
		Prefix:      "acme",
		Kinds:       map[apitoken.Kind]apitoken.Policy{"personal": personal, "shared": shared, "node": node},
		DefaultKind: "personal",
		Uses:        uses,
		Catalog:     catalog,
		Limits:      limits,
		Owners:      users,
	})
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-addr: %w", err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); !ip.IsLoopback() {
		return nil, fmt.Errorf("-addr %s: this demo speaks plain HTTP, which would show tokens to the network: use a loopback address such as 127.0.0.1:8080", addr)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("-addr: %w: choose another port", err)
	}
	return listener, nil
}

// serve answers until ctx ends, then lets running requests finish. The engine
// runs until after those, so that their uses are written too.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.tokens.Run(background) }()

	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err = server.Shutdown(grace)
		cancel()
	}
	end()
	return errors.Join(err, <-ended)
}

// welcome issues two tokens and prints what to do with them. Here the host
// vouches for who asks, as its console does for a person who has signed in; the
// secrets are shown because this terminal is their holder's.
func welcome(ctx context.Context, tokens apitoken.Issuer, url string, db place, out io.Writer) error {
	alice := apitoken.Actor{ID: "alice", Tenant: "acme"}
	reader, err := tokens.Issue(ctx, alice, apitoken.IssueRequest{Kind: "shared", Name: "dashboard", Permissions: []string{"devices:view"}})
	if err != nil {
		return err
	}
	admin, err := tokens.Issue(ctx, alice, apitoken.IssueRequest{Name: "terminal", Expiry: apitoken.ExpiresIn(time.Hour)})
	if err != nil {
		return err
	}
	day := time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly)
	kept := fmt.Sprintf("kept in %s: start it again, and they still work", db)
	if db == memory {
		kept = "kept in memory: they end with the process"
	}
	_, err = fmt.Fprintf(out, guide, url, reader.Secret.Reveal(), admin.Secret.Reveal(), reader.Token.ID, day, kept)
	return err
}

const guide = `Listening on %[1]s until Ctrl-C. Tokens are %[6]s.

# A fresh token that may view devices, and one of an administrator, for an hour:
TOKEN=%[2]s
ADMIN=%[3]s
API=%[1]s/v1
ID=%[4]s

# A read that works, then a call that lacks a permission: 403, and it says which.
curl -i -H "Authorization: Bearer $TOKEN" $API/devices/laptop-7
curl -i -H "Authorization: Bearer $TOKEN" -X POST $API/devices/laptop-7/lock

# The administrator may, and gets the field geoData that the first token does not.
curl -i -H "Authorization: Bearer $ADMIN" -X POST $API/devices/laptop-7/lock
curl -i -H "Authorization: Bearer $ADMIN" $API/devices/laptop-7

# Tokens: issue (shows the secret once), list, look at, edit, explain.
curl -i -H "Authorization: Bearer $ADMIN" $API/tokens -d '{"kind":"node","name":"edge node"}'
curl -i -H "Authorization: Bearer $ADMIN" $API/tokens
curl -i -H "Authorization: Bearer $ADMIN" $API/tokens/$ID
curl -i -H "Authorization: Bearer $ADMIN" -X PATCH $API/tokens/$ID -d '{"name":"wall display"}'
curl -i -H "Authorization: Bearer $ADMIN" $API/tokens/explain -d '{"id":"'$ID'","permissions":["devices:manage"]}'
curl -i -H "Authorization: Bearer $ADMIN" $API/tokens/find -d '{"secret":"'$TOKEN'"}'

# Stop it, start it again until another day, give it a new value, end it for good.
curl -i -H "Authorization: Bearer $ADMIN" -X POST $API/tokens/$ID/disable -d '{"reason":"display is being repaired"}'
curl -i -H "Authorization: Bearer $ADMIN" -X POST $API/tokens/$ID/enable -d '{"expiry":"%[5]s"}'
curl -i -H "Authorization: Bearer $ADMIN" -X POST -H "Idempotency-Key: 1" $API/tokens/$ID/rotate -d '{"overlap_seconds":60}'
curl -i -H "Authorization: Bearer $ADMIN" -X POST $API/tokens/$ID/revoke -d '{"reason":"display was sold"}'
curl -i -H "Authorization: Bearer $ADMIN" -X DELETE $API/tokens/$ID
`
