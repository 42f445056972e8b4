//go:build faults

package engine

import (
	"cmp"
	"fmt"
	"testing"
	"time"
)

// simFaults are the faults that the engine has under the build tag faults, by number: fault (see
// fault_on.go) switches one on.
var simFaults = []string{
	1:  "messages from before a subscription are delivered",
	2:  "a loop sheds its own heaviest connection, whatever the others have",
	3:  "a run is extended although its topic has ended",
	4:  "a congested connection that ends is counted on",
	5:  "deferred publishes of one client overtake one another",
	6:  "drop-oldest drops replies",
	7:  "an entry stays on the account",
	8:  "progress is not noted",
	9:  "waits in silence are not charged",
	10: "a reset is taken for a half-close",
	11: "an unsubscription does not wait for what was published before",
	12: "a push overtakes what its client has published before",
	13: "deferred publishes are forgotten",
	14: "what a half-closed client has still to be sent is lost",
	15: "final words follow half a message",
	16: "a silent crowd is brought to its limits at once",
}

// rareSeeds are seeds that have found faults which show in one of some hundred: they are played first.
// Where the simulation has changed since, the fault is searched for.
var rareSeeds = map[int]uint64{3: 276, 6: 95, 13: 480}

// PlantFault plants one of the faults that the simulation of sessions finds; 0 is none.
func PlantFault(number int) { fault = number }

// TestSimulationFindsFaults plants one fault after the other and requires that the simulation finds
// it.
func TestSimulationFindsFaults(t *testing.T) {
	defer func() { fault = 0 }()
	const seeds, steps = 1000, 4000
	for number, what := range simFaults {
		if number == 0 {
			continue
		}
		fault = number
		begun := time.Now()
		found := false
		for name, play := range simScenes {
			if failure := play(); failure != "" {
				found = true
				t.Logf("fault %d, %s: scene %d, after %v: %s", number, what, name, time.Since(begun).Round(time.Millisecond), failure)
				break
			}
		}
		for i := uint64(0); i < seeds && !found; i++ {
			seed := cmp.Or(i, rareSeeds[number], seeds)
			w := simulate(seed, steps)
			if found = w.failure != ""; found {
				t.Logf("fault %d, %s: seed %d, step %d, after %v: %s", number, what, seed, w.steps, time.Since(begun).Round(time.Millisecond), w.failure)
			}
		}
		if !found {
			t.Errorf("fault %d, %s, was not found in %d seeds of %d steps and the scenes", number, what, seeds, steps)
		}
	}
}

var simScenes = []func() string{sceneShed, sceneFew, sceneCrowd}

// sceneShed and sceneFew are TestSimulationShed and TestSimulationFewReceivers, for one seed.
func sceneShed() string {
	w := shedScene(1)
	w.play(nil, 6*time.Second, nobodyReads(w))
	return w.failure
}

func sceneFew() string {
	w := fewScene(3, 16<<10)
	w.play(nil, 20*time.Second, oneStalls(w))
	return w.failure
}

// sceneCrowd is TestSimulationCrowdStalls, for all of them.
func sceneCrowd() string {
	w := crowdScene(9)
	w.play(nil, 5*time.Second, crowdStalls(w, w.opt.clients))
	if n := w.closes[ReasonSlowConsumer]; n > 0 && w.failure == "" {
		return fmt.Sprintf("%d of %d are closed", n, w.opt.clients)
	}
	return w.failure
}
