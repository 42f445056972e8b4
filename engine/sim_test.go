package engine

import (
	"flag"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed of the simulation alone")
	simSeeds = flag.Int("sim.seeds", simDefaultSeeds, "how many seeds of the simulation to run")
	simTrace = flag.Int("sim.trace", -1, "print what happens to this client, with one runner")
	simSteps = flag.Int("sim.steps", 2000, "steps of each seed")
)

const simReplay = "to see it again: go test ./engine -run 'TestSimulation$' -sim.seed=%d -sim.steps=%d"

// simulate runs one seed.
func simulate(seed uint64, steps int) *simWorld {
	w := newSimWorld(seed, simOptions{})
	w.randomOptions()
	w.run(steps)
	return w
}

// TestSimulation drives loops, mailboxes, topics, deferred publishes and backpressure without
// sockets, and holds the engine to its promises after every step.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		w := simulate(*simSeed, *simSteps)
		t.Logf("%+v", w.shown)
		t.Logf("%d steps, %d ms (loops slept %d), digest %x, %d messages, closed %v", w.steps, w.ms(), w.loopSlept/1000, w.digest(), w.received, simReasons(w.closes))
		if w.failure != "" {
			t.Fatalf("step %d, %d ms: %s", w.steps, w.ms(), w.failure)
		}
		return
	}
	seeds := int64(*simSeeds)
	if testing.Short() {
		seeds = min(seeds, 100)
	}
	begun := time.Now()
	var next, steps, received, simulated, waits, pauses atomic.Int64
	var failures atomic.Int64
	var mu sync.Mutex
	var saw simSaw
	var closes [numSimReasons]atomic.Int64
	var wg sync.WaitGroup
	for range simRunners {
		wg.Go(func() {
			for failures.Load() < 5 {
				seed := next.Add(1)
				if seed > seeds {
					return
				}
				w := simulate(uint64(seed), *simSteps)
				if w.failure != "" {
					failures.Add(1)
					t.Errorf("seed %d, step %d, %d ms: %s\n"+simReplay, seed, w.steps, w.ms(), w.failure, seed, *simSteps)
				}
				mu.Lock()
				saw.add(w.saw)
				mu.Unlock()
				steps.Add(int64(w.steps))
				received.Add(int64(w.received))
				simulated.Add(w.ms())
				pauses.Add(int64(w.pauses))
				waits.Add(int64(w.engine.Stats().Waits))
				for i, n := range w.closes {
					closes[i].Add(int64(n))
				}
			}
		})
	}
	wg.Wait()
	var all [numSimReasons]int
	for i := range closes {
		all[i] = int(closes[i].Load())
	}
	d := time.Since(begun)
	t.Logf("%d steps in %v: %.0f a second; %d messages, %.0f simulated s, %d waits, %d pauses; closed: %v", steps.Load(), d.Round(time.Millisecond),
		float64(steps.Load())/d.Seconds(), received.Load(), float64(simulated.Load())/1000, waits.Load(), pauses.Load(), simReasons(all))
	t.Logf("saw %+v", saw)
}

const simRunners = 2

func simReasons(closes [numSimReasons]int) map[string]int {
	m := make(map[string]int)
	for i, n := range closes {
		if n > 0 {
			m[Reason(i).String()] = n
		}
	}
	return m
}

// TestSimulationReplay: a seed gives the same run bit for bit.
func TestSimulationReplay(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 20; seed++ {
		a, b := simulate(seed, 2000), simulate(seed, 2000)
		if a.digest() != b.digest() || a.steps != b.steps || a.clock != b.clock || a.failure != b.failure {
			t.Errorf("seed %d: %d steps to %d us, digest %x, then %d steps to %d us, digest %x", seed,
				a.steps, a.clock, a.hash, b.steps, b.clock, b.hash)
		}
	}
}
