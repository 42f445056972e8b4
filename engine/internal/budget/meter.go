package budget

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// A Meter measures what the process uses; see the package's documentation. It belongs to one
// goroutine.
type Meter struct {
	// Kept returns the bytes on the gateway's accounts.
	Kept func() int64

	samples   [len(measured)]metrics.Sample
	cycles    uint64 // collections, when last looked at
	keptThen  int64  // Kept, at the first look behind the last collection
	collected time.Time
}

// measured are the metrics that are read, by their place in Meter.samples.
var measured = [...]string{
	live:     "/gc/heap/live:bytes",
	cycles:   "/gc/cycles/total:gc-cycles",
	total:    "/memory/classes/total:bytes",
	objects:  "/memory/classes/heap/objects:bytes",
	free:     "/memory/classes/heap/free:bytes",
	released: "/memory/classes/heap/released:bytes",
	unused:   "/memory/classes/heap/unused:bytes",
}

const (
	live = iota
	cycles
	total
	objects
	free
	released
	unused
)

// NewMeter returns a Meter of this process.
func NewMeter(kept func() int64) *Meter {
	m := &Meter{Kept: kept, collected: time.Now()}
	for i, name := range measured {
		m.samples[i].Name = name
	}
	return m
}

// Used returns the bytes in use.
func (m *Meter) Used() int64 {
	metrics.Read(m.samples[:])
	kept := m.Kept()
	if n := m.value(cycles); uint64(n) != m.cycles {
		m.cycles, m.keptThen, m.collected = uint64(n), kept, time.Now()
	}
	outside := m.value(total) - m.value(objects) - m.value(free) - m.value(released) - m.value(unused)
	return inUse(m.value(live), m.value(objects), kept-m.keptThen) + outside
}

// inUse returns the bytes of the heap that are in use: what the last collection found alive, and what
// was kept since then. That is no more than there is, garbage too, nor is it anything before the first
// collection.
func inUse(live, objects, grown int64) int64 {
	if live == 0 {
		return objects
	}
	return max(min(live+grown, objects), 0)
}

func (m *Meter) value(i int) int64 {
	if v := m.samples[i].Value; v.Kind() == metrics.KindUint64 {
		return int64(v.Uint64())
	}
	return 0
}

// Collect collects the garbage if the last collection was longer ago than within.
func (m *Meter) Collect(within time.Duration) {
	if time.Since(m.collected) < within {
		return
	}
	m.collected = time.Now()
	runtime.GC()
}
