package engine

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// Scenes are runs in which everybody has a part, for what random load does not get to. Sizes are
// scaled down, times are not.

// scene makes a world of n clients of one kind who have all subscribed to topic 0, and workers that
// publish to it.
func scene(seed uint64, change func(*simWorld, *simOptions)) *simWorld {
	w := newSimWorld(seed, simOptions{
		loops: 2, clients: 40, topics: 1, workers: 1, dialects: 1,
		config:  Config{Backlog: 64 << 10, InputBacklog: 64 << 10},
		sendCap: 4 << 10, window: 4 << 10, rxCap: 16 << 10, latency: 50, size: 1000, hold: 1, unsent: 1,
		period: 3_600_000_000, workerPeriod: 1000, roundTime: simSecond, pace: 1, cuts: 4,
		policies: [3]int{1}, modes: []simMode{simFlatOut}, every: 256,
	})
	w.opt.kinds[simQuick] = 1
	change(w, &w.opt)
	return w
}

// cast gives the clients their parts and has them connect and subscribe.
func (w *simWorld) cast(part func(c *simClient)) {
	for _, c := range w.clients {
		c.topics = []int{0}
		part(c)
		w.call(int64(c.index), func() {
			c.connect()
			c.file.tx = append(c.file.tx[:0], "C\n"...)
			c.asked, c.file.lines = 1, 1
			for _, t := range c.topics {
				c.request('S', t)
			}
		})
	}
	for _, k := range w.workers {
		k.topics = []int{0}
		k.wakeAt = w.clock + 10_000
	}
}

// play runs a scene for d, tells t, if there is one, of a broken promise, and returns how many messages a second its workers have published.
func (w *simWorld) play(t *testing.T, d time.Duration, part func(c *simClient)) float64 {
	if err := w.begin(); err != nil {
		w.fail("%v", err)
	}
	w.queue = w.queue[:0] // nobody acts by himself
	if w.opt.kinds[simRounds] > 0 {
		w.after(0, evRound, nil, 0)
	}
	w.cast(part)
	begun := w.clock
	for until := w.clock + d.Microseconds(); w.clock < until && w.failure == ""; {
		w.step()
	}
	published := 0
	for _, k := range w.workers {
		published += k.messages
	}
	rate := float64(published) / (float64(w.clock-begun) / float64(simSecond))
	w.end()
	if w.failure != "" && t != nil {
		t.Errorf("step %d, %d ms: %s", w.steps, w.ms(), w.failure)
	}
	return rate
}

// healthyClosed counts the quick clients that the engine has closed.
func (w *simWorld) healthyClosed() (n int) {
	for _, h := range w.handlers {
		if h.closed && h.client.kind == simQuick && h.why != ReasonPeerClosed && h.why != ReasonShutdown && h.why != ReasonClientClose {
			n++
		}
	}
	return n
}

// TestSimulationShed is P2: 40 connections that read nothing, those of one loop behind a topic that is
// much faster than the others', and a total that is used up. checkVictim looks at each that goes.
func TestSimulationShed(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= shedSeeds; seed++ {
		w := shedScene(seed)
		w.play(t, 6*time.Second, nobodyReads(w))
		if n := w.closes[ReasonBacklogTotal]; n == 0 {
			t.Errorf("seed %d: nobody was shed", seed)
		}
	}
}

func shedScene(seed uint64) *simWorld {
	w := scene(seed, func(w *simWorld, o *simOptions) {
		simBigLag(&o.config)
		o.config.Backlog, o.config.BacklogTotal = 256<<10, 3<<20
		o.topics = 2
	})
	w.publishCost = 400
	return w
}

// nobodyReads has the clients of loop 0 subscribe to a fast topic and the others to a slow one.
func nobodyReads(w *simWorld) func(c *simClient) {
	return func(c *simClient) {
		if c.index == 0 {
			w.call(1000, func() { w.workers[0].topics = []int{0, 0, 0, 0, 0, 0, 0, 1} })
		}
		c.kind = simStalled
		c.pinned = w.loops[c.index%2]
		c.topics = []int{c.index % 2}
	}
}

// rolling has stallers stop in turn, k at a time for d each.
func rolling(w *simWorld, stallers []*simClient, k int, d time.Duration) {
	at := 0
	var turn func()
	turn = func() {
		for range k {
			c := stallers[at%len(stallers)]
			c.kind, c.stall = simRolling, w.clock+d.Microseconds()
			at++
		}
		w.call(d.Microseconds(), turn)
	}
	w.call(int64(100_000), turn)
}

// TestSimulationRollingStalls: readers that stall in turn, 5% at a time, for a minute, do not slow
// the others' topic down, and nobody is closed.
func TestSimulationRollingStalls(t *testing.T) {
	t.Parallel()
	run := func(stalled int, d time.Duration) float64 {
		w := scene(7, func(w *simWorld, o *simOptions) {
			o.clients = 60
			o.workers = 1
			simBigLag(&o.config)
		})
		w.publishCost = 400
		var stallers []*simClient
		rate := w.play(t, sceneTime, func(c *simClient) {
			if c.index%4 == 0 {
				stallers = append(stallers, c)
			}
			if c.index == len(w.clients)-1 && stalled > 0 {
				rolling(w, stallers, stalled, d)
			}
		})
		if n := w.healthyClosed(); n > 0 {
			t.Errorf("%d healthy readers were closed", n)
		}
		return rate
	}
	calm := run(0, time.Second)
	for _, d := range []time.Duration{400 * time.Millisecond, time.Second} {
		rate := run(3, d)
		t.Logf("stalls of %v: %.0f messages a second, %.0f without", d, rate, calm)
		if rate < 0.85*calm {
			t.Errorf("stalls of %v: %.0f messages a second, %.0f without", d, rate, calm)
		}
	}
}

// TestSimulationFewReceivers: one of five stalls for 400 ms of every 800, for a minute. Each is waited
// for, but waits in silence are a tenth of the time (checkWait looks at that), also where the others
// are congested for a moment with each message.
func TestSimulationFewReceivers(t *testing.T) {
	t.Parallel()
	for _, backlog := range []int{16 << 10, 64 << 10, 1 << 20} {
		w := fewScene(3, backlog)
		rate := w.play(t, sceneTime, oneStalls(w))
		k := w.workers[0]
		t.Logf("backlog %d: %.0f messages a second, waited %d ms of %d, %d ms in silence", backlog, rate, k.slept/1000, w.ms(), k.silent/1000)
	}
}

func fewScene(seed uint64, backlog int) *simWorld {
	w := scene(seed, func(w *simWorld, o *simOptions) {
		o.clients = 5
		simBigLag(&o.config)
		o.config.Backlog = backlog
	})
	w.publishCost = 400
	return w
}

// oneStalls has the last of five clients stall for 400 ms of every 800.
func oneStalls(w *simWorld) func(c *simClient) {
	return func(c *simClient) {
		if c.index != 4 {
			return
		}
		var turn func()
		turn = func() {
			c.kind, c.stall = simRolling, w.clock+400_000
			w.call(800_000, turn)
		}
		w.call(100_000, turn)
	}
}

// TestSimulationRounds: one program reads many connections in turn, flat out; none is closed.
func TestSimulationRounds(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int{1, 2, 3, 5} {
		w := scene(uint64(seconds), func(w *simWorld, o *simOptions) {
			o.clients, o.size = 60, 100
			o.sendCap, o.window, o.latency = 64<<10, 64<<10, 20
			o.kinds = [simKinds]int{simRounds: 1}
			o.roundTime = int64(seconds) * simSecond
			simBigLag(&o.config)
		})
		w.publishCost = 100
		rate := w.play(t, sceneTime/2, func(c *simClient) { c.kind = simRounds })
		t.Logf("rounds of %d s: %.0f messages a second, %d closed for being slow", seconds, rate, w.closes[ReasonSlowConsumer])
		if n := w.closes[ReasonSlowConsumer]; n > 0 {
			t.Errorf("rounds of %d s: %d of 60 are closed", seconds, n)
		}
	}
}

// TestSimulationCrowdStalls: a crowd that takes nothing for 1.8 s at a time is not brought to its limits
// by a source that goes flat out, and the source does not stand still until it comes back.
func TestSimulationCrowdStalls(t *testing.T) {
	t.Parallel()
	for _, stalled := range []int{6, 60} {
		w := crowdScene(9)
		rate := w.play(t, sceneTime/12, crowdStalls(w, stalled))
		longest := time.Duration(w.workers[0].longest) * time.Microsecond
		t.Logf("%d of 60 stall: %.0f messages a second, longest wait %v", stalled, rate, longest)
		if n := w.closes[ReasonSlowConsumer]; n > 0 {
			t.Errorf("%d of 60 stall for 1.8 s: %d are closed", stalled, n)
		}
		if longest > time.Second {
			t.Errorf("%d of 60 stall for 1.8 s: a message has waited %v", stalled, longest)
		}
	}
}

func crowdScene(seed uint64) *simWorld {
	w := scene(seed, func(w *simWorld, o *simOptions) {
		o.clients, o.size = 60, 12_000
		o.sendCap, o.window, o.latency = 64<<10, 64<<10, 20
		simBigLag(&o.config)
	})
	w.publishCost = 100 // some 50 MB a second
	return w
}

// crowdStalls has the first n clients stall together for 1.8 s of every 4.
func crowdStalls(w *simWorld, n int) func(c *simClient) {
	return func(c *simClient) {
		if c.index >= n {
			return
		}
		var turn func()
		turn = func() {
			c.kind, c.stall = simRolling, w.clock+1_800_000
			w.call(4_000_000, turn)
		}
		w.call(100_000, turn)
	}
}

// TestSimulationHotTopics: many topics flat out with one reader each that has stopped. They fill the
// total; the readers that go on are never closed, and nobody waits.
func TestSimulationHotTopics(t *testing.T) {
	t.Parallel()
	w := scene(11, func(w *simWorld, o *simOptions) {
		o.topics, o.clients, o.workers = simTopics, simTopics*6, 4
		simSmallLag(&o.config) // a sixteenth of the default limits
		o.config.Backlog, o.config.BacklogTotal = 64<<10, 16<<20/4
	})
	w.publishCost = 50
	for range w.opt.workers {
		w.opt.modes = append(w.opt.modes, simFlatOut)
	}
	rate := w.play(t, hotTime, func(c *simClient) {
		c.topics = []int{c.index % simTopics}
		if c.index < simTopics {
			c.kind = simStalled
		}
		if c.index == len(w.clients)-1 {
			for i, k := range w.workers {
				w.call(1000, func() { k.topics = []int{i, i + 4} })
			}
		}
	})
	t.Logf("%.0f messages a second, closed: %v", rate, simReasons(w.closes))
	if n := w.healthyClosed(); n > 0 {
		t.Errorf("%d healthy readers were closed", n)
	}
}

// TestSimulationCuts is P7: what a client gets does not depend on how its bytes were cut.
func TestSimulationCuts(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 20; seed++ {
		var want [2][]byte
		for cut := range 6 {
			var got [2][]byte // pushes and replies
			w := scene(seed, func(w *simWorld, o *simOptions) {
				o.clients, o.topics, o.workers, o.publishers, o.dialects = 2, 3, 0, 2, 1
				o.loops, o.policies = 1, [3]int{1}
				o.sendCap, o.window = 64<<10, 64<<10
				o.cuts = 0
			})
			script := newSimWorld(seed, simOptions{}) // the same numbers for all cuts
			w.play(t, 2*time.Second, func(c *simClient) {
				if c.index != 0 {
					return
				}
				w.call(1000, func() {
					for range 40 {
						topic, size := script.pick(3), script.pick(200)
						switch script.pick(6) {
						case 0:
							c.request('S', topic)
						case 1:
							c.request('U', topic)
						case 2:
							c.request('E', size)
						case 3:
							c.command('M', size)
						default:
							c.command('P', topic, size)
						}
					}
					f := c.file
					all := bytes.Clone(f.tx)
					f.tx = f.tx[:0]
					at := int64(0)
					for len(all) > 0 {
						n := len(all)
						switch cut {
						case 0:
						case 1:
							n = 1
						default:
							n = min(n, 1+w.pick(1<<(2*cut)))
						}
						piece := all[:n]
						all = all[n:]
						w.call(at, func() {
							if c.file == f {
								f.tx = append(f.tx, piece...)
								f.sendLater(0)
							}
						})
						at += 1000
					}
				})
				c.record = func(b []byte) {
					i := 0
					if b[0] != '<' {
						i = 1
					}
					if b[0] != 'z' {
						got[i] = append(append(got[i], b...), '\n')
					}
				}
			})
			if cut == 0 {
				want = got
			}
			for i, what := range []string{"pushes", "replies"} {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("seed %d, cut %d: %s\n%s\nin one piece\n%s", seed, cut, what, got[i], want[i])
				}
			}
			if t.Failed() {
				return
			}
			if len(want[1]) == 0 {
				t.Error(fmt.Sprint("seed ", seed, ": no replies"))
			}
		}
	}
}

// TestSimulationResetWhilePaused is P8: a reset is noticed although the connection's input, of which
// there is more than is kept, waits for 5 s: whether the poller tells of it during a pause or not.
func TestSimulationResetWhilePaused(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		w := scene(1, func(w *simWorld, o *simOptions) {
			o.clients, o.workers, o.deaf = 2, 0, deaf
		})
		w.play(t, 4*time.Second, func(c *simClient) {
			w.call(100_000, func() {
				c.request('H', 5000)
				for range 60 {
					c.request('E', 1000)
					c.file.tx = simPad(c.file.tx, 1000)
				}
				c.file.sendLater(0)
			})
			w.call(500_000, func() {
				if !c.file.paused {
					t.Errorf("client %d is read on", c.index)
				}
				c.reset()
			})
		})
	}
}
