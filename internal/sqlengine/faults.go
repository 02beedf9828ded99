package sqlengine

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// fault is what an error of a driver means for a write.
type fault int

const (
	faultOther     fault = iota // an outage
	faultConflict               // rolled back because of others: try again
	faultDuplicate              // something has to be unique and is not
)

// faultOf classifies an error of any driver without importing one: those of
// PostgreSQL tell an SQLSTATE, those of MariaDB a number, those of SQLite a code.
func faultOf(err error) fault {
	for ; err != nil; err = errors.Unwrap(err) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, part := range joined.Unwrap() {
				if f := faultOf(part); f != faultOther {
					return f
				}
			}
			return faultOther
		}
		if pg, ok := err.(interface{ SQLState() string }); ok {
			return ofState(pg.SQLState())
		}
		if lite, ok := err.(interface{ Code() int }); ok {
			return ofSQLite(lite.Code())
		}
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		if n := v.FieldByName("Number"); n.IsValid() && n.CanUint() {
			return ofMariaDB(n.Uint())
		}
		if c := v.FieldByName("ExtendedCode"); c.IsValid() && c.CanInt() {
			return ofSQLite(int(c.Int()))
		}
	}
	return faultOther
}

// Contended reports that err says only that others were at the same rows, or at the
// same file.
func Contended(err error) bool { return faultOf(err) == faultConflict }

func ofState(state string) fault {
	switch state {
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock not available
		return faultConflict
	case "23505":
		return faultDuplicate
	}
	return faultOther
}

func ofMariaDB(number uint64) fault {
	switch number {
	case 1020, 1205, 1213: // record has changed since last read, lock wait timeout, deadlock
		return faultConflict
	case 1062, 1586:
		return faultDuplicate
	}
	return faultOther
}

func ofSQLite(code int) fault {
	const busy, locked, uniqueIndex, primaryKey = 5, 6, 2067, 1555
	switch {
	case code == uniqueIndex, code == primaryKey:
		return faultDuplicate
	case code&0xff == busy, code&0xff == locked:
		return faultConflict
	}
	return faultOther
}

// noTable reports that a statement named a table that is not there.
func noTable(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			return slices.ContainsFunc(joined.Unwrap(), noTable)
		}
		if pg, ok := err.(interface{ SQLState() string }); ok {
			return pg.SQLState() == "42P01"
		}
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() == reflect.Struct {
			if n := v.FieldByName("Number"); n.IsValid() && n.CanUint() {
				return n.Uint() == 1146
			}
		}
		if strings.Contains(err.Error(), "no such table") { // SQLite has no code for it
			return true
		}
	}
	return false
}
