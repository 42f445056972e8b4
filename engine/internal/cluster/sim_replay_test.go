package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// mapOrder has the order of maps be that of a seed, until the function that it returns is called. It goes
// by nothing else: which of two nodes that do something at the same instant goes first makes no difference.
func mapOrder(seed uint64) (restore func()) {
	shuffle = func(n int, swap func(i, j int)) { rand.New(rand.NewPCG(seed, uint64(n))).Shuffle(n, swap) }
	return func() { shuffle = nil }
}

// TestSimulationReplay: a seed gives the same run each time, and another seed another one. A goroutine that
// the system has interrupted for 10 ms goes behind those that are ready, so that one run of some may differ.
func TestSimulationReplay(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has goroutines run in random order")
	}
	topics := func(seed uint64) uint64 {
		_, _, digest := simulate(t, seed, simSteps)
		return digest
	}
	history := func(seed uint64) uint64 {
		_, _, digest := simulateHistory(t, seed, simSteps)
		return digest
	}
	for what, play := range map[string]func(seed uint64) uint64{"topics": topics, "history": history} {
		before := uint64(0)
		for _, seed := range []uint64{1, 2, 3, 6, 15} {
			digests := []uint64{play(seed)}
			for again := play(seed); !slices.Contains(digests, again); again = play(seed) {
				if digests = append(digests, again); len(digests) == 4 {
					t.Fatalf("%s, seed %d: all of %x differ", what, seed, digests)
				}
			}
			if len(digests) > 1 {
				t.Logf("%s, seed %d: %x differ", what, seed, digests)
			}
			if digests[0] == before {
				t.Errorf("%s: seed %d gives the same run as the one before", what, seed)
			}
			before = digests[0]
		}
	}
}
