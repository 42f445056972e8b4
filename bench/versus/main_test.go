package main

import (
	"testing"

	"github.com/sluicenet/sluice/bench"
)

func TestJudge(t *testing.T) {
	result := func(cpu, rate float64, closed uint64) *bench.Result {
		r := &bench.Result{Rate: rate}
		r.Server.Watched, r.Server.PerUnit, r.Server.PerConnection = true, cpu, cpu
		r.Accounting.Closed = closed
		return r
	}
	flat := load{name: "flat", config: bench.Config{Scenario: "fanout"}, rate: tolerateFlat}
	paced := load{name: "paced", config: bench.Config{Scenario: "fanout"}}
	idle := load{name: "idle", config: bench.Config{Scenario: "idle"}}
	for _, tt := range []struct {
		name     string
		load     load
		old, new *bench.Result
		ok       bool
	}{
		{"more CPU", flat, result(1, 100, 0), result(1.04, 100, 0), false},
		{"more memory", idle, result(1, 0, 0), result(1.04, 0, 0), false},
		{"slower", flat, result(1, 100, 0), result(1, 89, 0), false},
		{"closed", flat, result(1, 100, 0), result(1, 100, 1), false},
		{"not measured", flat, result(1, 100, 0), &bench.Result{Rate: 100}, false},
		{"the load's own rate", paced, result(1, 100, 0), result(1, 50, 0), true},
		{"alike", flat, result(1, 100, 0), result(1.02, 91, 0), true},
		{"better", flat, result(1, 100, 1), result(0.5, 200, 0), true},
	} {
		three := func(r *bench.Result) []*bench.Result { return []*bench.Result{r, r, r} }
		if got := tt.load.judge([2][]*bench.Result{three(tt.old), three(tt.new)}); got != tt.ok {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.ok)
		}
	}
	// The machine slows down between the repeats: neighbours tell.
	drift := [2][]*bench.Result{
		{result(1, 100, 0), result(2, 50, 0), result(4, 25, 0)},
		{result(1, 100, 0), result(2, 50, 0), result(4, 25, 0)},
	}
	if !flat.judge(drift) {
		t.Error("the same build is said to be worse")
	}
}

func TestInterval(t *testing.T) {
	for _, tt := range []struct {
		values    int // 0, 1, 2 ... values-1
		low, high float64
	}{{1, 0, 0}, {5, 0, 4}, {6, 0, 5}, {8, 0, 7}, {9, 1, 7}, {25, 7, 17}, {60, 21, 38}} { // tables of the sign test
		values := make([]float64, tt.values)
		for i := range values {
			values[len(values)-1-i] = float64(i)
		}
		if low, high := interval(values); low != tt.low || high != tt.high {
			t.Errorf("of %d: %v to %v, want %v to %v", tt.values, low, high, tt.low, tt.high)
		}
	}
}
