// Command ratios runs the workloads of package bench in turns and prints how
// they compare, beside what docs/promises.md promises:
//
//	go run ./bench/ratios [-rounds 9] [-time 100ms] [-run regexp] [-databases]
//
// Each round runs every workload once, so that a machine that is busy for a
// while slows both sides of a ratio; the table has the median over the rounds,
// and beside it the ratio of the fastest rounds, which a busy machine disturbs
// least. It exits with 1 if a bar is missed by more than 10 percent, which a look at the
// rest of the machine should follow before a look at the code.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tokenry/apitoken/bench"
)

// noise is how far beyond a bar a ratio may be on a machine that does other
// things too.
const noise = 1.10

func main() {
	testing.Init()
	rounds := flag.Int("rounds", 9, "how often each workload runs")
	slice := flag.Duration("time", 100*time.Millisecond, "how long it runs each time")
	run := flag.String("run", "", "only promises whose name matches")
	databases := flag.Bool("databases", false, "also promises on PostgreSQL, MariaDB and Redis")
	flag.Parse()
	only, err := regexp.Compile(*run)
	if err != nil {
		fatal(err)
	}
	var promises []bench.Promise
	for _, p := range bench.Promises {
		if only.MatchString(p.Name) && (*databases || !p.Of.OnServer()) {
			promises = append(promises, p)
		}
	}
	fmt.Printf("%s %s/%s, %d processors; median of %d rounds of %s\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), *rounds, *slice)
	results := make(map[string][]testing.BenchmarkResult)
	for _, crowded := range []bool{false, true} {
		measure(slices.DeleteFunc(slices.Clone(promises), func(p bench.Promise) bool { return p.Crowded != crowded }), *rounds, *slice, results)
	}
	kept := report(promises, results)
	if err := bench.Close(); err != nil {
		fatal(err)
	}
	if !kept {
		os.Exit(1)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "ratios:", errors.Join(err, bench.Close()))
	os.Exit(2)
}

// measure adds the results of each workload that a promise needs, one for each
// round.
func measure(promises []bench.Promise, rounds int, slice time.Duration, results map[string][]testing.BenchmarkResult) {
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		done := make(map[string]bool)
		for _, p := range promises {
			for _, w := range []bench.Workload{p.Of, p.Beside} {
				if w.Run == nil || done[w.Name] {
					continue
				}
				done[w.Name] = true
				results[w.Name] = append(results[w.Name], once(w, slice))
			}
		}
	}
}

// once runs a workload on as many processors as it asks for, and for as long.
func once(w bench.Workload, slice time.Duration) testing.BenchmarkResult {
	if err := w.Prepare(); err != nil {
		fatal(fmt.Errorf("workload %q: %w", w.Name, err))
	}
	if err := flag.Set("test.benchtime", max(slice, w.Time).String()); err != nil {
		fatal(err)
	}
	if w.Procs > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(w.Procs))
	}
	runtime.GC()
	r := testing.Benchmark(w.Run)
	if r.N == 0 {
		fatal(fmt.Errorf("workload %q failed", w.Name))
	}
	return r
}

// report prints the table and says whether every bar was reached.
func report(promises []bench.Promise, results map[string][]testing.BenchmarkResult) bool {
	kept := true
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer out.Flush()
	fmt.Fprintln(out, "promise\tns\tbeside\tns\tratio\tat best\tbar\tallocations\tbar\t")
	for _, p := range promises {
		of := results[p.Of.Name]
		verdict := "kept"
		ratio, best := ratios(p, nanos(of), nanos(results[p.Beside.Name]))
		if p.Missed(ratio, noise) {
			verdict = "MISSED"
		} else if p.Missed(ratio, 1) {
			verdict = "within noise"
		}
		allocs := of[0].AllocsPerOp()
		for _, r := range of {
			allocs = min(allocs, r.AllocsPerOp())
		}
		allocBar := "-"
		if p.MaxAllocs >= 0 {
			allocBar = fmt.Sprint(p.MaxAllocs)
			if allocs > p.MaxAllocs {
				verdict = "MISSED"
			}
		}
		beside, besideNs := "-", "-"
		if p.Beside.Run != nil {
			beside, besideNs = p.Beside.Name, fmt.Sprintf("%.1f", median(nanos(results[p.Beside.Name])))
		}
		bar := fmt.Sprintf("≤ %g", p.Bar)
		if p.Faster {
			bar = fmt.Sprintf("≥ %g", p.Bar)
		}
		if p.Bar == 0 {
			bar, verdict = "-", "told"
		}
		fmt.Fprintf(out, "%s\t%.1f\t%s\t%s\t%.2f\t%.2f\t%s\t%d\t%s\t%s\n",
			p.Name, median(nanos(of)), beside, besideNs, ratio, best, bar, allocs, allocBar, verdict)
		kept = kept && verdict != "MISSED"
	}
	return kept
}

// ratios returns the median of the rounds' ratios, and that of the fastest
// rounds.
func ratios(p bench.Promise, of, beside []float64) (typical, best float64) {
	if p.Beside.Run == nil {
		beside = slices.Repeat([]float64{float64(p.Unit)}, len(of))
	}
	ratio := func(of, beside float64) float64 {
		if p.Faster {
			return beside / of
		}
		return of / beside
	}
	all := make([]float64, len(of))
	for i := range of {
		all[i] = ratio(of[i], beside[i])
	}
	return median(all), ratio(slices.Min(of), slices.Min(beside))
}

func nanos(results []testing.BenchmarkResult) []float64 {
	out := make([]float64, len(results))
	for i, r := range results {
		out[i] = float64(r.T.Nanoseconds()) / float64(r.N)
	}
	return out
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}
