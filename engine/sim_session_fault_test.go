//go:build faults

package engine_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// gatewayFaults and sessionFaults are the faults that these packages have under the build tag faults,
// by number.
var gatewayFaults = []string{
	1:  "a user's newer connection goes for the older one, whose verdict came later",
	2:  "a late reply is not counted",
	3:  "the requests of a client that has gone stay in the table",
	4:  "replies are sent in the order in which they come",
	5:  "what a session's former holder had is not handed over",
	6:  "a kick-out ends the session that a newer connection has taken over",
	7:  "a kick-out leaves the session to be resumed",
	8:  "snapshots of expired sessions stay on the account",
	9:  "a connection that has ended counts against its user's limit",
	10: "who has taken a session over gives it back as it was when he ends",
	11: "the end of the connection that has a session's state is not awaited",
	12: "a session can be taken over that ends meanwhile",
	13: "where a session was in its topics' histories is not given back",
}

// historyFaults are the engine's that have to do with histories, topicFaults the ring's.
var historyFaults = map[int]string{
	101: "who comes back gets its last message once more",
	102: "a subscription does not wait for what is on its way to its loop",
	103: "a gap is told twice",
	104: "a gap is not told",
	105: "who catches up joins in the middle of a run",
	106: "what is published overtakes what was missed",
	107: "what TCP has not acknowledged counts as received",
	108: "what waits in the queue counts as received",
	109: "a message that was received in part counts as received",
	110: "what is on its way of an earlier subscription counts for the next",
	111: "who lacks what is older than what is here is not waited for",
	112: "who has a topic that begins anew goes on there, whatever came between",
	113: "who comes back to a topic that has not begun goes on where it begins",
}

var topicFaults = []string{
	1: "a topic that is full keeps what it has",
	2: "a topic keeps one message less",
	3: "the newest messages go when the total is used up",
	4: "messages that are too old are given out",
	5: "what comes back begins before the oldest message",
	6: "what the log is asked for counts as all that there is",
}

var sessionFaults = []string{
	1: "snapshots are not released",
	2: "a ticket is good long after its successor was used",
	3: "a session that has ended can be resumed",
	4: "the total of snapshots is not bounded",
}

// rareSeeds are seeds that have found faults which show in one of some hundred: they are played first.
// Where the simulation has changed since, the fault is searched for.
var rareSeeds = map[string]map[int]uint64{
	"gateway": {6: 482},
	"session": {2: 123},
	"engine":  {108: 84, 109: 56, 110: 91, 113: 126},
	"topic":   {3: 217},
}

// TestSimulationFindsSessionFaults plants one fault after the other and requires that the simulation
// finds it.
func TestSimulationFindsSessionFaults(t *testing.T) {
	for _, p := range []struct {
		name   string
		plant  func(int)
		faults map[int]string
	}{
		{"gateway", gateway.PlantFault, numbered(gatewayFaults)},
		{"session", session.PlantFault, numbered(sessionFaults)},
		{"engine", engine.PlantFault, historyFaults},
		{"topic", topic.PlantFault, numbered(topicFaults)},
	} {
		for number, what := range p.faults {
			p.plant(number)
			findSessionFault(t, p.name, number, what)
			p.plant(0)
		}
	}
}

// numbered is a list by number, without 0.
func numbered(list []string) map[int]string {
	m := maps.Collect(slices.All(list))
	delete(m, 0)
	return m
}

func findSessionFault(t *testing.T, name string, number int, what string) {
	const seeds, steps = 3000, 2000
	begun := time.Now()
	for scene := range sessionScenes {
		for _, longbridge := range []bool{false, true} {
			if _, failure := playSession(t, scene, longbridge); failure != "" {
				t.Logf("%s, fault %d, %s: scene %s, after %v: %s", name, number, what, scene, time.Since(begun).Round(time.Millisecond), failure)
				return
			}
		}
	}
	for i := range uint64(seeds) {
		seed := cmp.Or(i, rareSeeds[name][number], seeds)
		if w, failure := simulateSessions(t, seed, steps); failure != "" {
			t.Logf("%s, fault %d, %s: seed %d, step %d, after %v: %s", name, number, what, seed, w.sim.Steps(), time.Since(begun).Round(time.Millisecond), failure)
			return
		}
	}
	t.Errorf("%s, fault %d, %s, was not found in %d seeds of %d steps", name, number, what, seeds, steps)
}
