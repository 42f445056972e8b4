package main

import "testing"

func TestBurstOver(t *testing.T) {
	var b burst
	for i, step := range []struct {
		connections int64
		accepted    uint64
		over        bool
	}{
		{0, 0, false}, {0, 0, false},
		{900, 900, false}, {900, 900, false}, {900, 900, false}, // no burst
		{19_000, 19_000, false}, {19_000, 19_000, false}, {19_000, 19_000, true}, {19_000, 19_000, false},
		{20_000, 20_000, false}, {20_000, 20_000, false}, {20_000, 20_000, false}, // not a quarter more
		{24_000, 24_000, false}, {24_000, 24_001, false}, {24_000, 24_001, false}, {24_000, 24_001, true},
		{13_000, 24_001, false}, // not half gone
		{11_000, 24_001, true}, {11_000, 24_001, false},
		{0, 24_001, true}, {0, 24_001, false},
	} {
		if got := b.over(step.connections, step.accepted); got != step.over {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
