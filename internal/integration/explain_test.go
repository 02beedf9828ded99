package integration_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tokenry/apitoken/internal/sqlengine"
	"github.com/tokenry/apitoken/sqlstore"
)

// explained is a database that asks for the plan of each statement before it runs
// it.
type explained struct {
	db      *sql.DB // of one connection
	dialect sqlstore.Dialect
	quiet   bool // it asks for none

	mu    sync.Mutex
	looks []look
}

// look is how a statement got at its rows.
type look struct {
	text  string
	paths []string // 'tokens due' = through that index, 'tokens primary', 'tokens wholly'
	plan  string   // as the engine says it
	read  int64    // rows and entries of indexes; SQLite does not tell
}

// take returns the looks since the last call.
func (x *explained) take() []look {
	x.mu.Lock()
	defer x.mu.Unlock()
	looks := x.looks
	x.looks = nil
	return looks
}

// Exec implements [sqlengine.Conn].
func (x *explained) Exec(ctx context.Context, st *sqlengine.Statement, args ...any) (int64, error) {
	tx, err := x.Begin(ctx)
	if err != nil {
		return 0, err
	}
	n, err := tx.Exec(ctx, st, args...)
	if err != nil {
		return 0, errors.Join(err, tx.Rollback(ctx))
	}
	return n, tx.Commit(ctx)
}

// Query implements [sqlengine.Conn].
func (x *explained) Query(ctx context.Context, st *sqlengine.Statement, args ...any) (sqlengine.Rows, error) {
	tx, err := x.Begin(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, st, args...)
	if err != nil {
		return nil, errors.Join(err, tx.Rollback(ctx))
	}
	return closing{rows, func() error { return tx.Commit(ctx) }}, nil
}

// Begin implements [sqlengine.Database].
func (x *explained) Begin(ctx context.Context) (sqlengine.Tx, error) {
	tx, err := x.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &explainedTx{x, tx}, nil
}

// Join implements [sqlengine.Database].
func (x *explained) Join(any) (sqlengine.Conn, bool) { return nil, false }

type explainedTx struct {
	x  *explained
	tx *sql.Tx
}

// Exec implements [sqlengine.Conn].
func (t *explainedTx) Exec(ctx context.Context, st *sqlengine.Statement, args ...any) (int64, error) {
	done, err := t.explain(ctx, st, args)
	if err != nil {
		return 0, err
	}
	result, err := t.tx.ExecContext(ctx, st.Text, args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return n, errors.Join(err, done())
}

// Query implements [sqlengine.Conn].
func (t *explainedTx) Query(ctx context.Context, st *sqlengine.Statement, args ...any) (sqlengine.Rows, error) {
	done, err := t.explain(ctx, st, args)
	if err != nil {
		return nil, err
	}
	rows, err := t.tx.QueryContext(ctx, st.Text, args...)
	if err != nil {
		return nil, err
	}
	return closing{rows, done}, nil
}

// Commit implements [sqlengine.Tx].
func (t *explainedTx) Commit(context.Context) error { return t.tx.Commit() }

// Rollback implements [sqlengine.Tx].
func (t *explainedTx) Rollback(context.Context) error { return t.tx.Rollback() }

// closing are rows that do something when they are closed.
type closing struct {
	sqlengine.Rows
	done func() error
}

func (c closing) Close() error { return errors.Join(c.Rows.Close(), c.done()) }

// explain takes a look at a statement. The function it returns ends the look, once
// the statement has run.
func (t *explainedTx) explain(ctx context.Context, st *sqlengine.Statement, args []any) (done func() error, err error) {
	if t.x.quiet || strings.HasPrefix(st.Text, "INSERT") {
		return func() error { return nil }, nil
	}
	l := look{text: st.Text}
	keep := func() {
		slices.Sort(l.paths)
		l.paths = slices.Compact(l.paths)
		t.x.mu.Lock()
		defer t.x.mu.Unlock()
		t.x.looks = append(t.x.looks, l)
	}
	switch t.x.dialect {
	case sqlstore.SQLite:
		err = l.sqlite(ctx, t.tx, st.Text, args)
	case sqlstore.PostgreSQL:
		err = l.postgres(ctx, t.tx, st.Text, args)
	case sqlstore.MariaDB:
		if err = l.mariadb(ctx, t.tx, st.Text, args); err != nil {
			return nil, err
		}
		if l.read, err = handlerReads(ctx, t.tx); err != nil {
			return nil, err
		}
		return func() error {
			after, err := handlerReads(ctx, t.tx)
			l.read = after - l.read
			keep()
			return err
		}, nil
	}
	keep()
	return func() error { return nil }, err
}

var indexName = regexp.MustCompile(`^apitoken_(tokens|events|outbox|settings|replays|schema)_(\w+)$`)

// aliases are what statements call the tables.
var aliases = map[string]string{"t": "tokens", "o": "outbox", "e": "events"}

func isTable(name string) bool { return strings.HasPrefix(name, "apitoken_") || aliases[name] != "" }

// path names an index as the paths do.
func path(table, index string) string {
	if m := indexName.FindStringSubmatch(index); m != nil && m[2] != "pkey" {
		return m[1] + " " + m[2]
	} else if m != nil {
		return m[1] + " primary"
	}
	table = strings.TrimPrefix(table, "apitoken_")
	if full, ok := aliases[table]; ok {
		table = full
	}
	if index == "PRIMARY" || strings.HasPrefix(index, "sqlite_autoindex_") {
		return table + " primary"
	}
	return table + " " + index
}

var liteIndex = regexp.MustCompile(`USING (?:COVERING )?INDEX (\w+)`)

func (l *look) sqlite(ctx context.Context, tx *sql.Tx, text string, args []any) error {
	rows, err := tx.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return err
		}
		l.plan += detail + "\n"
		verb, rest, _ := strings.Cut(detail, " ")
		table, _, _ := strings.Cut(rest, " ")
		index := liteIndex.FindStringSubmatch(detail)
		switch {
		case strings.Contains(detail, "VIRTUAL TABLE"): // of json_each
		case verb == "SCAN" && index == nil && !isTable(table): // of what the statement made
		case verb == "SCAN", verb == "MATERIALIZE":
			l.paths = append(l.paths, path(table, "wholly"))
		case verb == "SEARCH" && index != nil:
			l.paths = append(l.paths, path(table, index[1]))
		case verb == "SEARCH":
			l.paths = append(l.paths, path(table, "primary"))
		}
	}
	return rows.Err()
}

// node is a part of a plan of PostgreSQL.
type node struct {
	Type      string  `json:"Node Type"`
	Table     string  `json:"Relation Name"`
	Index     string  `json:"Index Name"`
	Cond      string  `json:"Index Cond"`
	Rows      float64 `json:"Actual Rows"`
	Loops     float64 `json:"Actual Loops"`
	Filtered  float64 `json:"Rows Removed by Filter"`
	Rechecked float64 `json:"Rows Removed by Index Recheck"`
	Plans     []node  `json:"Plans"`
}

// postgres lets the server run the statement, tell what it did, and forget it. The
// statement is prepared, so that plan_cache_mode applies.
func (l *look) postgres(ctx context.Context, tx *sql.Tx, text string, args []any) error {
	literals := make([]string, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			literals[i] = "'" + strings.ReplaceAll(v, "'", "''") + "'"
		case []byte:
			literals[i] = fmt.Sprintf(`'\x%x'`, v)
		case nil:
			literals[i] = "NULL"
		default:
			literals[i] = fmt.Sprint(v)
		}
	}
	execute := "EXECUTE looked_at"
	if len(args) > 0 {
		execute += " (" + strings.Join(literals, ", ") + ")"
	}
	for _, before := range []string{"SAVEPOINT look", "PREPARE looked_at AS " + text} {
		if _, err := tx.ExecContext(ctx, before); err != nil {
			return err
		}
	}
	var plan string
	if err := tx.QueryRowContext(ctx, "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) "+execute).Scan(&plan); err != nil {
		return err
	}
	for _, after := range []string{"DEALLOCATE looked_at", "ROLLBACK TO SAVEPOINT look", "RELEASE SAVEPOINT look"} {
		if _, err := tx.ExecContext(ctx, after); err != nil {
			return err
		}
	}
	l.plan = plan
	var tops []struct{ Plan node }
	if err := json.Unmarshal([]byte(plan), &tops); err != nil {
		return err
	}
	for _, top := range tops {
		l.nodes(top.Plan)
	}
	return nil
}

func (l *look) nodes(n node) {
	switch {
	case n.Type == "Seq Scan", n.Index != "" && n.Cond == "":
		l.paths = append(l.paths, path(n.Table, "wholly"))
	case n.Index != "":
		l.paths = append(l.paths, path(n.Table, n.Index))
	}
	if strings.HasSuffix(n.Type, "Scan") && n.Table != "" || n.Index != "" {
		l.read += int64(n.Loops * (n.Rows + n.Filtered + n.Rechecked))
	}
	for _, part := range n.Plans {
		l.nodes(part)
	}
}

func (l *look) mariadb(ctx context.Context, tx *sql.Tx, text string, args []any) error {
	rows, err := tx.QueryContext(ctx, "EXPLAIN "+text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, kind, table, access, possible, key, length, ref, estimate, extra sql.NullString
		if err := rows.Scan(&id, &kind, &table, &access, &possible, &key, &length, &ref, &estimate, &extra); err != nil {
			return err
		}
		l.plan += strings.Join([]string{kind.String, table.String, access.String, key.String, length.String, ref.String, estimate.String, extra.String}, " | ") + "\n"
		switch {
		case strings.Contains(extra.String, "Table function"), strings.HasPrefix(table.String, "<"), table.String == "":
			// json_table, what the statement made, or 'no matching row'
		case access.String == "ALL", access.String == "index":
			l.paths = append(l.paths, path(table.String, "wholly"))
		default:
			l.paths = append(l.paths, path(table.String, key.String))
		}
	}
	return rows.Err()
}

// handlerReads is how many rows and entries of indexes the session has read.
func handlerReads(ctx context.Context, tx *sql.Tx) (reads int64, err error) {
	rows, err := tx.QueryContext(ctx, "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' OR Variable_name = 'Handler_icp_attempts'")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var n int64
		if err := rows.Scan(&name, &n); err != nil {
			return 0, err
		}
		reads += n
	}
	return reads, rows.Err()
}
