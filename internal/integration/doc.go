// Package integration holds the stores to their promises on real databases:
// SQLite, PostgreSQL and MariaDB. It is never published.
//
// By default its tests make each check a few times. The flags -levels, -races,
// -rounds, -acks and -rows, and -every of the package faults, ask for the long
// proofs; go test -args -help says how much that is.
//
// With the race detector the SQLite driver's translated C takes several times as
// long. As in .ci/run, leave it out:
//
//	go test -race -gcflags=modernc.org/sqlite/lib=-race=false ./internal/integration/...
package integration
