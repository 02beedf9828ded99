package sqlstore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync"
)

// fake is a database without rows that keeps what it is asked. A write changes one
// row, or none. It is its own connector.
type fake struct {
	mu       sync.Mutex
	log      []string // "prepare UPDATE", "send SAVEPOINT", "begin Read Committed", "commit", ...
	prepared map[string]int
	closed   int
	refuse   func(line string) error
	none     bool // writes change no row
}

var errRefused = errors.New("refused")

func (f *fake) note(line string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, line)
	if f.refuse != nil {
		return f.refuse(line)
	}
	return nil
}

// take returns what was asked since the last take.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

func (f *fake) refusing(refuse func(line string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

func (f *fake) changed() driver.Result {
	if f.none {
		return driver.RowsAffected(0)
	}
	return driver.RowsAffected(1)
}

func (f *fake) Connect(context.Context) (driver.Conn, error) { return fakeConn{f}, nil }
func (f *fake) Driver() driver.Driver                        { return nil }

type fakeConn struct{ f *fake }

func (c fakeConn) PrepareContext(_ context.Context, query string) (driver.Stmt, error) {
	if err := c.f.note("prepare " + verb(query)); err != nil {
		return nil, err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.f.prepared == nil {
		c.f.prepared = make(map[string]int)
	}
	c.f.prepared[query]++
	return fakeStmt{c, query}, nil
}

func (c fakeConn) BeginTx(_ context.Context, opts driver.TxOptions) (driver.Tx, error) {
	level := "default"
	if opts.Isolation != 0 {
		level = isolation(opts.Isolation)
	}
	return fakeTx(c), c.f.note("begin " + level)
}

func (c fakeConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	return c.f.changed(), c.f.note("send " + verb(query))
}

func (c fakeConn) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	return fakeRows{}, c.f.note("send " + verb(query))
}

func (c fakeConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}
func (c fakeConn) Begin() (driver.Tx, error) { return nil, errors.New("begin without a context") }
func (c fakeConn) Close() error              { return nil }

type fakeStmt struct {
	fakeConn
	query string
}

func (s fakeStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	return s.f.changed(), s.f.note("run " + verb(s.query))
}

func (s fakeStmt) QueryContext(context.Context, []driver.NamedValue) (driver.Rows, error) {
	return fakeRows{}, s.f.note("run " + verb(s.query))
}

func (s fakeStmt) NumInput() int { return -1 }

func (s fakeStmt) Close() error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.closed++
	return nil
}

func (s fakeStmt) Exec([]driver.Value) (driver.Result, error) {
	return nil, errors.New("exec without a context")
}

func (s fakeStmt) Query([]driver.Value) (driver.Rows, error) {
	return nil, errors.New("query without a context")
}

type fakeTx struct{ f *fake }

func (t fakeTx) Commit() error   { return t.f.note("commit") }
func (t fakeTx) Rollback() error { return t.f.note("rollback") }

type fakeRows struct{}

func (fakeRows) Columns() []string         { return []string{"column"} }
func (fakeRows) Close() error              { return nil }
func (fakeRows) Next([]driver.Value) error { return io.EOF }

// verb is the first word or two of a statement.
func verb(query string) string {
	words := strings.Fields(query)
	if len(words) > 1 && (words[0] == "ROLLBACK" || words[0] == "RELEASE") {
		return words[0] + " " + words[1]
	}
	return words[0]
}
