//go:build faults

package cluster

import (
	"cmp"
	"testing"
)

// historyFaults are the faults that topics with history have under the build tag faults, by number.
var historyFaults = map[int]string{
	31: "a frame is passed on although one before it is missing",
	32: "a frame that has come is passed on again",
	33: "a number that is too low is no reason to look for another stream",
	34: "nobody is told of what is gone",
	35: "another stream is taken for the same",
	36: "that the stream has later frames is not seen",
	37: "what is gone is taken for there",
	38: "a frame that is sent again has another id",
	39: "frames of a stream that is gone are taken for the new one's",
	40: "a subscription is settled before the stream has answered",
	41: "that the stream has kept less before it was told to keep more is forgotten",
	42: "what is stored while a topic is read, and takes the place of others, is not seen",
}

// TestHistorySimulationFindsFaults plants one fault after the other and requires that the simulation finds it.
func TestHistorySimulationFindsFaults(t *testing.T) {
	defer func() { fault = 0 }()
	// Fault 39 shows only when a stream is made again while old frames are on their way, in one of some
	// hundred seeds; the others show within some ten.
	const seeds = 6000
	for number := 31; number <= 42; number++ {
		fault = number
		found := false
		for i := uint64(0); i < seeds && !found; i++ {
			seed := cmp.Or(i, rareSeeds[number], seeds)
			if failure, _, _ := simulateHistory(t, seed, simSteps); failure != "" {
				found = true
				t.Logf("fault %d, %s: seed %d: %s", number, historyFaults[number], seed, failure)
			}
		}
		if !found {
			t.Errorf("fault %d, %s, was not found in %d seeds", number, historyFaults[number], seeds)
		}
	}
}
