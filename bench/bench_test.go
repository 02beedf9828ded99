package bench_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/tokenry/apitoken/bench"
)

var databases = flag.Bool("databases", false, "also the workloads on PostgreSQL, MariaDB and Redis")

func TestMain(m *testing.M) {
	code := m.Run()
	if err := bench.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func Benchmark(b *testing.B) {
	for _, w := range bench.Workloads {
		if w.OnServer() && !*databases {
			continue
		}
		b.Run(w.Name, func(b *testing.B) {
			if w.Procs > 0 {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(w.Procs))
			}
			w.Run(b)
		})
	}
}
