package admin

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"time"
)

// goMetrics are the runtime's own numbers, under the names that dashboards for Go programs know.
// None of them stops the world.
var goMetrics = []struct {
	name, help, source string
	kind               kind
}{
	{"go_goroutines", "Goroutines.", "/sched/goroutines:goroutines", gauge},
	{"go_sched_gomaxprocs_threads", "GOMAXPROCS.", "/sched/gomaxprocs:threads", gauge},
	{"go_gc_gogc_percent", "GOGC.", "/gc/gogc:percent", gauge},
	{"go_gc_gomemlimit_bytes", "GOMEMLIMIT.", "/gc/gomemlimit:bytes", gauge},
	{"go_gc_cycles_total", "Garbage collections.", "/gc/cycles/total:gc-cycles", counter},
	{"go_gc_heap_live_bytes", "Heap that the last collection found alive.", "/gc/heap/live:bytes", gauge},
	{"go_memstats_next_gc_bytes", "Heap size at which the next collection ends.", "/gc/heap/goal:bytes", gauge},
	{"go_memstats_alloc_bytes_total", "Bytes allocated on the heap.", "/gc/heap/allocs:bytes", counter},
	{"go_memstats_mallocs_total", "Objects allocated on the heap.", "/gc/heap/allocs:objects", counter},
	{"go_memstats_frees_total", "Objects freed.", "/gc/heap/frees:objects", counter},
	{"go_memstats_heap_objects", "Objects on the heap.", "/gc/heap/objects:objects", gauge},
	{"go_memstats_heap_alloc_bytes", "Bytes of objects on the heap.", "/memory/classes/heap/objects:bytes", gauge},
	{"go_memstats_heap_released_bytes", "Heap given back to the system.", "/memory/classes/heap/released:bytes", gauge},
	{"go_memstats_stack_inuse_bytes", "Stacks of goroutines.", "/memory/classes/heap/stacks:bytes", gauge},
	{"go_memstats_sys_bytes", "Memory taken from the system.", "/memory/classes/total:bytes", gauge},
}

// collectGo writes the runtime's metrics.
func collectGo(p *page) {
	p.family("go_info", gauge, "The Go version; always 1.")
	p.sample("go_info", 1, "version", runtime.Version())
	p.gauge("go_threads", "Threads made by the runtime.", float64(pprof.Lookup("threadcreate").Count()))
	samples := make([]metrics.Sample, len(goMetrics))
	for i := range goMetrics {
		samples[i].Name = goMetrics[i].source
	}
	metrics.Read(samples)
	for i, m := range goMetrics {
		if samples[i].Value.Kind() == metrics.KindUint64 { // or the runtime no longer has it
			p.family(m.name, m.kind, m.help)
			p.sample(m.name, float64(samples[i].Value.Uint64()))
		}
	}

	const name = "go_gc_duration_seconds"
	quantiles := []float64{0, .25, .5, .75, 1}
	gc := debug.GCStats{PauseQuantiles: make([]time.Duration, len(quantiles))}
	debug.ReadGCStats(&gc)
	p.family(name, summary, "Pauses of the garbage collector; quantiles over the latest.")
	for i, q := range quantiles {
		p.sample(name, gc.PauseQuantiles[i].Seconds(), "quantile", strconv.FormatFloat(q, 'g', -1, 64))
	}
	p.sample(name+"_sum", gc.PauseTotal.Seconds())
	p.sample(name+"_count", float64(gc.NumGC))
}
