// Package bench measures what the library promises about speed, beside peers
// that do a comparable job. Every figure is a ratio of two workloads that ran in
// turns in one process: absolute times say more about the machine than about the
// code.
//
//	go test -bench . -benchmem ./bench/            each workload by itself
//	go run ./bench/ratios                          the table of ratios and bars
//
// With -databases either also measures PostgreSQL, MariaDB and Redis. It starts servers,
// the databases with the settings of production, or uses those that
// APITOKEN_TEST_POSTGRES_DSN, APITOKEN_TEST_MARIADB_DSN and APITOKEN_TEST_REDIS_ADDR
// lead to.
//
// None of it belongs into a test run: a shared machine is too noisy for a timed
// test to tell the truth.
package bench

import (
	"testing"
	"time"
)

// Workload is one thing to measure. Run prepares it outside the timed loop.
type Workload struct {
	Name  string
	Run   func(b *testing.B)
	Procs int // processors to run it on; 0 = as they are
	// Time is how long it has to run at least to show what it is about; 0 = as long
	// as is asked for.
	Time time.Duration

	on backing
}

// Tokens is how many tokens are warm in the workloads that do not say otherwise.
const Tokens = 1000
