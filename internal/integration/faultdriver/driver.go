// Package faultdriver passes everything that database/sql asks of a driver
// through a [Plan], which counts the operations and lets chosen ones fail, lose
// their answer, hang or break the connection. Without faults it behaves as the
// driver below it.
//
//	var plan faultdriver.Plan
//	db := faultdriver.OpenDB(connector, &plan)
//	call(db) // once without faults, to learn what it does
//	for _, op := range plan.Ops() {
//		plan.Reset(faultdriver.At(op.N, faultdriver.FailDone))
//		call(db)
//	}
//
// Give the database one connection at most: then the operations of a call come
// in the same order each time. A database in memory ends with its connection, so
// faults that lose one need a file or a server.
package faultdriver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
)

// OpenDB is [sql.OpenDB] with plan between the two. The connections of inner
// must implement what a driver of today does ([driver.ExecerContext],
// [driver.SessionResetter] and so on); a [driver.ColumnConverter] is not asked.
func OpenDB(inner driver.Connector, plan *Plan) *sql.DB {
	return sql.OpenDB(&connector{inner, plan})
}

// Open is [sql.Open] with plan between the two.
func Open(driverName, dsn string, plan *Plan) (*sql.DB, error) {
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close() // it was asked for its driver only
	d := db.Driver()
	if c, ok := d.(driver.DriverContext); ok {
		inner, err := c.OpenConnector(dsn)
		if err != nil {
			return nil, err
		}
		return OpenDB(inner, plan), nil
	}
	return OpenDB(dsnConnector{dsn, d}, plan), nil
}

// dsnConnector is what database/sql makes of a driver that has no connectors.
type dsnConnector struct {
	dsn    string
	driver driver.Driver
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }
func (c dsnConnector) Driver() driver.Driver                        { return c.driver }

type connector struct {
	inner driver.Connector
	plan  *Plan
}

func (c *connector) Driver() driver.Driver { return c.inner.Driver() }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	made := &conn{plan: c.plan}
	err := made.do(ctx, operation{
		kind: OpConnect,
		do: func() error {
			inner, err := c.inner.Connect(ctx)
			if err != nil {
				return err
			}
			var ok bool
			if made.innerConn, ok = inner.(innerConn); !ok {
				inner.Close()
				return fmt.Errorf("faultdriver: %T lacks an interface that drivers of today have", inner)
			}
			return nil
		},
		lost: func() { made.innerConn.Close() },
	})
	if err != nil {
		return nil, err
	}
	// database/sql treats connections that can be validated differently, so a
	// driver without that must not seem to have it.
	if v, ok := made.innerConn.(driver.Validator); ok {
		return &validConn{made, v}, nil
	}
	return made, nil
}

// operation is what passes through the plan.
type operation struct {
	kind      Kind
	statement string
	do        func() error
	unless    func() // what happens when a fault prevents do; nil = nothing
	lost      func() // what becomes of the outcome of do when its answer is lost; nil = nothing
}

// do carries an operation out, or lets the fault happen that it meets.
func (c *conn) do(ctx context.Context, o operation) error {
	op, f, struck := c.plan.meet(Op{Kind: o.kind, Statement: o.statement, InTx: c.inTx})
	prevent := func() {
		if o.unless != nil {
			o.unless()
		}
	}
	switch {
	case c.dead:
		prevent()
		return driver.ErrBadConn
	case c.aborted && o.kind.continues():
		prevent()
		return ErrAborted
	case !struck:
		return o.do()
	}
	if !f.Done {
		prevent()
	} else if err := o.do(); err == nil && o.lost != nil {
		o.lost()
	}
	c.dead = c.dead || f.Drop || f.Hang
	c.aborted = c.aborted || f.Abort && c.inTx
	if f.Hang {
		return c.plan.hang(ctx, op)
	}
	return f.err()
}

// continues reports whether an operation needs a transaction that is not
// aborted.
func (k Kind) continues() bool {
	return k == OpPrepare || k == OpExec || k == OpQuery || k == OpCommit
}
