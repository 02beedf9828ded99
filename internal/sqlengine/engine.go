// Package sqlengine is the one implementation of a Store on SQL, for SQLite,
// PostgreSQL and MariaDB. It knows no driver: package sqlstore runs it over
// database/sql, module pgxstore over a pgx pool.
//
// Where a line belongs: what a table looks like is in migrations, what of a
// dialect differs in dialect.go, how a token becomes a row in row.go, how a list
// query becomes SQL in query.go, and transactions are in write.go. The rest are
// the methods of the Store, a file for each part of its contract.
package sqlengine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tokenry/apitoken"
)

// Options of an [Engine].
type Options struct {
	Name    string // of the package, for errors
	Prefix  string // of all tables and indexes; Defaults to DefaultPrefix
	Schema  string // of all tables; "" = the connection's own
	Dialect *Dialect
}

// DefaultPrefix begins the names of tables and indexes.
const DefaultPrefix = "apitoken_"

// Engine implements [apitoken.Store], [apitoken.Revisions] and
// [apitoken.ReplayGuard] on a [Database].
type Engine struct {
	db   Database
	opts Options
	d    *Dialect
	st   statements
}

var (
	_ apitoken.Store       = (*Engine)(nil)
	_ apitoken.Revisions   = (*Engine)(nil)
	_ apitoken.ReplayGuard = (*Engine)(nil)
)

// New returns an Engine. It asks the database nothing. All faults of the options
// come at once, each naming its option.
func New(db Database, opts Options) (*Engine, error) {
	if opts.Prefix == "" {
		opts.Prefix = DefaultPrefix
	}
	var faults []error
	fault := func(option, problem string) {
		faults = append(faults, fmt.Errorf("%s: %s: %s", opts.Name, option, problem))
	}
	if !plainName(opts.Prefix, maxPrefix) {
		fault("TablePrefix", fmt.Sprintf("%.64q: use a to z, 0 to 9 and _, a letter first, at most %d", opts.Prefix, maxPrefix))
	}
	if opts.Dialect == nil {
		fault("dialect", "is unknown: use SQLite, PostgreSQL or MariaDB")
	} else if opts.Schema != "" && opts.Dialect == SQLite {
		fault("Schema", "SQLite has none: leave it empty")
	}
	if opts.Schema != "" && !plainName(opts.Schema, maxSchema) {
		fault("Schema", fmt.Sprintf("%.64q: use a to z, 0 to 9 and _, a letter first, at most %d", opts.Schema, maxSchema))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	e := &Engine{db: db, opts: opts, d: opts.Dialect}
	e.st = e.statements()
	return e, nil
}

const (
	maxPrefix = 30 // the longest name of an index has to stay within 63 bytes
	maxSchema = 63
)

// plainName reports that name needs no quotes and cannot end a statement.
func plainName(name string, most int) bool {
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= most
}

// Dialect returns the engine's dialect.
func (e *Engine) Dialect() *Dialect { return e.d }

// Fixed returns the statements that an adapter may prepare once.
func (e *Engine) Fixed() []*Statement { return e.st.all }

// table returns the name of a table as statements write it.
func (e *Engine) table(name string) string {
	name = e.opts.Prefix + name
	if e.opts.Schema != "" {
		return e.d.quote(e.opts.Schema) + "." + name
	}
	return name
}

// text writes a statement: {tokens} is the table's name, {prefix} begins that of an
// index, and ? is made what the dialect wants.
func (e *Engine) text(format string) string {
	for _, name := range tables {
		format = strings.ReplaceAll(format, "{"+name+"}", e.table(name))
	}
	return e.d.numbered(strings.ReplaceAll(format, "{prefix}", e.opts.Prefix))
}

// tables that statements name.
var tables = []string{"tokens", "events", "outbox", "settings", "replays", "schema"}

// outage is an error of the database as the Store's caller sees it. It wraps the
// cause and no family, so that whoever asks for 'not found' or 'conflict' does not
// find it.
func (e *Engine) outage(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", e.opts.Name, what, err)
}

// reader returns what reads for ctx: the host's transaction if it carries one.
func (e *Engine) reader(ctx context.Context) (Conn, error) {
	host, err := e.host(ctx)
	if host != nil || err != nil {
		return host, err
	}
	return e.db, nil
}

// each runs a query and calls scan for every row.
func each(ctx context.Context, c Conn, st *Statement, args []any, scan func(Rows) error) (err error) {
	rows, err := c.Query(ctx, st, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err() // a connection that broke half way is not the end of the rows
}
