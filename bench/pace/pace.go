// Package pace says when events of an open loop are due.
//
// A Schedule is a pure function between elapsed time and a count, in both directions: nobody sleeps
// here, and a caller that was late knows exactly which events it owes and since when. That is what
// makes latency free of coordinated omission: it is measured from Due, however late the event
// really left.
//
// # Goroutines
//
// None. A Schedule does not change once made.
package pace

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Stage is a span of time with a rate, in events per second, that goes evenly from From to To.
type Stage struct {
	Span     time.Duration
	From, To float64
}

// A Schedule is stages one after another. Behind the last one nothing is due. The zero Schedule is
// empty.
type Schedule struct {
	stages []segment
	span   time.Duration
	total  float64
}

type segment struct {
	Stage
	start time.Duration
	base  float64 // events before start
}

// New makes a schedule of stages.
func New(stages ...Stage) Schedule {
	var s Schedule
	for _, st := range stages {
		s.stages = append(s.stages, segment{Stage: st, start: s.span, base: s.total})
		s.span += st.Span
		s.total += (st.From + st.To) / 2 * st.Span.Seconds()
	}
	return s
}

// Constant is a schedule of one rate.
func Constant(rate float64, span time.Duration) Schedule {
	return New(Stage{Span: span, From: rate, To: rate})
}

// Span is how long the schedule lasts.
func (s Schedule) Span() time.Duration { return s.span }

// Total is how many events it has in all.
func (s Schedule) Total() int64 { return int64(math.Ceil(s.total - roundoff)) }

// Sums of float64 rates miss whole numbers by less than this.
const roundoff = 1e-6

// Count is how many events are due once elapsed has passed: those k with Due(k) <= elapsed. The
// first is due at 0.
func (s Schedule) Count(elapsed time.Duration) int64 {
	if elapsed < 0 || s.total == 0 {
		return 0
	}
	n := s.total
	for _, seg := range s.stages {
		if elapsed < seg.start+seg.Span {
			t := (elapsed - seg.start).Seconds()
			slope := (seg.To - seg.From) / seg.Span.Seconds()
			n = seg.base + (seg.From+slope*t/2)*t
			break
		}
	}
	count := min(int64(math.Floor(n+roundoff))+1, s.Total())
	if due, _ := s.Due(count - 1); due > elapsed {
		count-- // at the edge of a pause, or of rounding
	}
	return count
}

// Due is when event k, counted from 0, is due; ok is false if there is no such event.
func (s Schedule) Due(k int64) (due time.Duration, ok bool) {
	if k < 0 || k >= s.Total() {
		return 0, false
	}
	for _, seg := range s.stages {
		n := float64(k) - seg.base
		span := seg.Span.Seconds()
		if n > (seg.From+seg.To)/2*span-roundoff {
			continue
		}
		if n <= 0 && seg.From == seg.To {
			return seg.start, true
		}
		// n = From*t + slope/2*t^2, solved in the form that keeps its precision when the slope is small
		slope := (seg.To - seg.From) / span
		t := 0.0
		if root := math.Sqrt(max(seg.From*seg.From+2*slope*max(n, 0), 0)); seg.From+root > 0 {
			t = 2 * max(n, 0) / (seg.From + root)
		}
		return seg.start + time.Duration(math.Round(min(t, span)*1e9)), true
	}
	return s.span, true
}

// Parse reads stages as users write them: "10s:1000,30s:20000" holds a rate during each,
// "30s:0-20000" climbs evenly.
func Parse(text string) ([]Stage, error) {
	var stages []Stage
	for part := range strings.SplitSeq(text, ",") {
		span, rate, found := strings.Cut(strings.TrimSpace(part), ":")
		if !found {
			return nil, fmt.Errorf("stage %q: want DURATION:RATE, as in 10s:1000", part)
		}
		d, err := time.ParseDuration(span)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("stage %q: %q is not a duration above 0", part, span)
		}
		from, to, ramp := strings.Cut(rate, "-")
		if !ramp {
			to = from
		}
		st := Stage{Span: d}
		if st.From, err = parseRate(from); err != nil {
			return nil, fmt.Errorf("stage %q: %w", part, err)
		}
		if st.To, err = parseRate(to); err != nil {
			return nil, fmt.Errorf("stage %q: %w", part, err)
		}
		stages = append(stages, st)
	}
	return stages, nil
}

func parseRate(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, fmt.Errorf("%q is not a rate", s)
	}
	return f, nil
}
