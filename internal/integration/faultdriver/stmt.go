package faultdriver

import (
	"context"
	"database/sql/driver"
	"io"
	"reflect"
)

// innerStmt is what a statement of the driver below must offer.
type innerStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// stmt is a prepared statement.
type stmt struct {
	innerStmt
	conn *conn
	text string
}

// CheckNamedValue implements [driver.NamedValueChecker].
func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.innerStmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

// ExecContext implements [driver.StmtExecContext].
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.exec(ctx, s.text, func() (driver.Result, error) { return s.innerStmt.ExecContext(ctx, args) })
}

// QueryContext implements [driver.StmtQueryContext].
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.query(ctx, s.text, func() (driver.Rows, error) { return s.innerStmt.QueryContext(ctx, args) })
}

// result is what an exec did.
type result struct {
	conn  *conn
	inner driver.Result
	ctx   context.Context // of the exec
	text  string
}

// RowsAffected implements [driver.Result].
func (r *result) RowsAffected() (int64, error) { return r.ask(r.inner.RowsAffected) }

// LastInsertId implements [driver.Result].
func (r *result) LastInsertId() (int64, error) { return r.ask(r.inner.LastInsertId) }

func (r *result) ask(inner func() (int64, error)) (n int64, err error) {
	err = r.conn.do(r.ctx, operation{kind: OpResult, statement: r.text, do: func() (err error) {
		n, err = inner()
		return err
	}})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// rows are the rows of a query. What a driver below does not tell of its columns
// is answered as database/sql would.
type rows struct {
	conn  *conn
	inner driver.Rows
	ctx   context.Context // of the query
	text  string
}

// Columns implements [driver.Rows].
func (r *rows) Columns() []string { return r.inner.Columns() }

// Next implements [driver.Rows].
func (r *rows) Next(dest []driver.Value) error {
	return r.conn.do(r.ctx, operation{kind: OpNext, statement: r.text, do: func() error { return r.inner.Next(dest) }})
}

// Close implements [driver.Rows]. It closes the rows below whatever happens, as
// they are not asked again.
func (r *rows) Close() error {
	return r.conn.do(r.ctx, operation{kind: OpClose, statement: r.text, do: r.inner.Close, unless: func() { r.inner.Close() }})
}

// HasNextResultSet implements [driver.RowsNextResultSet].
func (r *rows) HasNextResultSet() bool {
	more, ok := r.inner.(driver.RowsNextResultSet)
	return ok && more.HasNextResultSet()
}

// NextResultSet implements [driver.RowsNextResultSet].
func (r *rows) NextResultSet() error {
	if more, ok := r.inner.(driver.RowsNextResultSet); ok {
		return more.NextResultSet()
	}
	return io.EOF
}

// ColumnTypeScanType implements [driver.RowsColumnTypeScanType].
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	if c, ok := r.inner.(driver.RowsColumnTypeScanType); ok {
		return c.ColumnTypeScanType(i)
	}
	return reflect.TypeFor[any]()
}

// ColumnTypeDatabaseTypeName implements [driver.RowsColumnTypeDatabaseTypeName].
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	if c, ok := r.inner.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return c.ColumnTypeDatabaseTypeName(i)
	}
	return ""
}

// ColumnTypeLength implements [driver.RowsColumnTypeLength].
func (r *rows) ColumnTypeLength(i int) (int64, bool) {
	if c, ok := r.inner.(driver.RowsColumnTypeLength); ok {
		return c.ColumnTypeLength(i)
	}
	return 0, false
}

// ColumnTypeNullable implements [driver.RowsColumnTypeNullable].
func (r *rows) ColumnTypeNullable(i int) (nullable, ok bool) {
	if c, ok := r.inner.(driver.RowsColumnTypeNullable); ok {
		return c.ColumnTypeNullable(i)
	}
	return false, false
}

// ColumnTypePrecisionScale implements [driver.RowsColumnTypePrecisionScale].
func (r *rows) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	if c, ok := r.inner.(driver.RowsColumnTypePrecisionScale); ok {
		return c.ColumnTypePrecisionScale(i)
	}
	return 0, 0, false
}
