// Package latency counts durations in the buckets of an HdrHistogram.
//
// # Data flow
//
//	loop: Recorder.Record, some 2 ns -> once a second: Recorder.Drain -> hdrhistogram.Histogram -> merge, text
//
// A Recorder is the histogram's array and nothing else; the index is computed the way HdrHistogram
// does, so that the array becomes a histogram as it is.
//
// # Goroutines
//
// A Recorder belongs to one goroutine.
package latency

import (
	"math/bits"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Three digits, from 1 ns to an hour: 2,048 steps to a power of two.
const (
	Digits = 3
	Max    = int64(time.Hour)

	halfBits  = 10
	halfCount = 1 << halfBits
	subMask   = 2*halfCount - 1
)

var countsLen = len(New().Export().Counts)

// New returns an empty histogram of the geometry that all of this package's have.
func New() *hdrhistogram.Histogram { return hdrhistogram.New(1, Max, Digits) }

// A Recorder counts durations.
type Recorder struct {
	counts []int64
	used   bool
}

// NewRecorder returns an empty Recorder, 270 KB.
func NewRecorder() *Recorder { return &Recorder{counts: make([]int64, countsLen)} }

// Record counts a duration in nanoseconds. What is outside of 0 to Max counts as the nearest of them.
func (r *Recorder) Record(ns int64) { r.RecordN(ns, 1) }

// RecordN counts n equal durations.
func (r *Recorder) RecordN(ns, n int64) {
	v := uint64(min(max(ns, 0), Max))
	bucket := bits.Len64(v|subMask) - (halfBits + 1)
	r.counts[bucket<<halfBits+int(v>>bucket)] += n
	r.used = true
}

// Drain returns what was counted since the last Drain, nil if nothing.
func (r *Recorder) Drain() *hdrhistogram.Histogram {
	if !r.used {
		return nil
	}
	r.used = false
	h := hdrhistogram.Import(&hdrhistogram.Snapshot{
		LowestTrackableValue:  1,
		HighestTrackableValue: Max,
		SignificantFigures:    Digits,
		Counts:                r.counts, // copied by Import
	})
	clear(r.counts)
	return h
}
