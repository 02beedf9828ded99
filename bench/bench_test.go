package bench_test

import (
	"runtime"
	"testing"

	"github.com/tokenry/apitoken/bench"
)

func Benchmark(b *testing.B) {
	for _, w := range bench.Workloads {
		b.Run(w.Name, func(b *testing.B) {
			if w.Procs > 0 {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(w.Procs))
			}
			w.Run(b)
		})
	}
}
