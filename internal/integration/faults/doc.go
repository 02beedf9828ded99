// Package faults lets every operation of a database's driver fail, one at a time,
// under every call of a Manager and of a Store (P4, P6).
package faults
