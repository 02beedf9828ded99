package bench_test

import (
	"testing"

	"github.com/tokenry/apitoken/bench"
)

func Benchmark(b *testing.B) {
	for _, w := range bench.Workloads {
		b.Run(w.Name, w.Run)
	}
}
