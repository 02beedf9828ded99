package faultdriver

import (
	"database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// Fault is what happens to an operation. The zero Fault answers [ErrFault] and
// does nothing else.
type Fault struct {
	// Name stands in the names of subtests.
	Name string
	// Err is the answer; nil = [ErrFault]. One that hangs answers with the error
	// of its context.
	Err error
	// Done: the work is done and only its answer is lost. Otherwise it is not
	// done; a commit is rolled back.
	Done bool
	// Hang: there is no answer until the context of the operation ends, and the
	// connection is lost, as real drivers give it up.
	Hang bool
	// Drop: the connection is lost, and the transaction with it unless Done
	// committed it.
	Drop bool
	// Abort: the database gave the transaction up. What follows in it is refused
	// until it is rolled back, also by a commit.
	Abort bool
}

// ErrFault is the answer of a fault that has no error of its own. It says
// nothing about what happened, as most errors of drivers.
var ErrFault = errors.New("faultdriver: injected fault")

// ErrLost is the answer of an operation whose connection broke.
var ErrLost = errors.New("faultdriver: the connection was lost")

// ErrAborted is the answer of whatever follows in a transaction after a fault
// that aborts it.
var ErrAborted error = stateError{"25P02", "the transaction is aborted"}

// Faults of every database. A driver answers driver.ErrBadConn only where
// nothing was done, and database/sql then repeats the operation by itself; so
// there is none that is done.
var (
	Fail     = Fault{Name: "fails"}
	FailDone = Fault{Name: "is done and fails", Done: true}
	BadConn  = Fault{Name: "finds a bad connection", Err: driver.ErrBadConn, Drop: true}
	Drop     = Fault{Name: "loses the connection", Err: ErrLost, Drop: true}
	DropDone = Fault{Name: "is done and loses the connection", Err: ErrLost, Drop: true, Done: true}
	Hang     = Fault{Name: "hangs", Hang: true}
	HangDone = Fault{Name: "is done and hangs", Hang: true, Done: true}
)

// Faults that mean 'try again', as each database reports them.
var (
	Serialization = Fault{Name: "cannot be serialized", Err: stateError{"40001", "could not serialize access"}, Abort: true}
	Deadlock      = Fault{Name: "is the victim of a deadlock", Err: stateError{"40P01", "deadlock detected"}, Abort: true}
	Busy          = Fault{Name: "finds SQLite busy", Err: codeError{5, "database is locked"}}
	BusySnapshot  = Fault{Name: "finds its SQLite snapshot old", Err: codeError{5 | 2<<8, "database is locked"}}
	MySQLDeadlock = Fault{
		Name:  "is the victim of a MySQL deadlock",
		Err:   &mysql.MySQLError{Number: 1213, SQLState: [5]byte([]byte("40001")), Message: "Deadlock found when trying to get lock"},
		Abort: true,
	}
	MySQLLockWait = Fault{
		Name: "waits too long for a MySQL lock",
		Err:  &mysql.MySQLError{Number: 1205, SQLState: [5]byte([]byte("HY000")), Message: "Lock wait timeout exceeded"},
	}
)

// All returns the faults of every database.
func All() []Fault { return []Fault{Fail, FailDone, BadConn, Drop, DropDone, Hang, HangDone} }

// Conflicts returns the faults that mean 'try again'.
func Conflicts() []Fault {
	return []Fault{Serialization, Deadlock, Busy, BusySnapshot, MySQLDeadlock, MySQLLockWait}
}

func (f Fault) err() error {
	if f.Err == nil {
		return ErrFault
	}
	return f.Err
}

// stateError shows its SQLSTATE as the errors of pgx do.
type stateError struct{ state, text string }

func (e stateError) Error() string    { return "faultdriver: " + e.text + " (SQLSTATE " + e.state + ")" }
func (e stateError) SQLState() string { return e.state }

// codeError shows its result code as the errors of modernc.org/sqlite do.
type codeError struct {
	code int
	text string
}

func (e codeError) Error() string { return "faultdriver: " + e.text }
func (e codeError) Code() int     { return e.code }
