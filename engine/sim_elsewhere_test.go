package engine_test

// simElsewhere are other nodes, who come to know some time later that a topic without history has
// subscribers here.
type simElsewhere struct {
	w      *sessionWorld
	slow   int // us that it takes at most
	topics map[string]*simWanted
}

// A simWanted is one of the topics.
type simWanted struct {
	here    bool  // there are subscribers
	wanted  bool  // or were, or are expected
	until   int64 // us, until when it counts that they were
	known   bool  // all nodes know
	waiting []func()
}

// simLinger is how long it counts that a topic had subscribers, in us.
const simLinger = 300_000

func newSimElsewhere(w *sessionWorld) *simElsewhere {
	return &simElsewhere{w: w, slow: 50 << w.sim.Pick(11), topics: make(map[string]*simWanted)}
}

func (e *simElsewhere) want(name string) *simWanted {
	t := e.topics[name]
	if t == nil {
		t = new(simWanted)
		e.topics[name] = t
	}
	if !t.wanted {
		t.wanted = true
		e.w.sim.After(int64(1+e.w.sim.Pick(e.slow)), func() { t.settle(t.wanted) })
	}
	return t
}

// settle ends that somebody waits.
func (t *simWanted) settle(known bool) {
	t.known = known
	due := t.waiting
	t.waiting = nil
	for _, f := range due {
		f()
	}
}

// linger has a topic be let go later.
func (e *simElsewhere) linger(t *simWanted) {
	t.until = e.w.sim.Clock() + simLinger
	e.w.sim.After(simLinger, func() {
		if !t.here && t.until <= e.w.sim.Clock() {
			t.wanted = false
			t.settle(false)
		}
	})
}

func (e *simElsewhere) subscribed(name string) { e.want(name).here = true }

func (e *simElsewhere) unsubscribed(name string) {
	t := e.topics[name]
	t.here = false
	e.linger(t)
}

func (e *simElsewhere) expect(name string) {
	if t := e.want(name); !t.here {
		e.linger(t)
	}
}

func (e *simElsewhere) whenSettled(name string, f func()) (later bool) {
	t := e.topics[name]
	if t == nil || t.known || !t.wanted {
		return false
	}
	t.waiting = append(t.waiting, f)
	return true
}

// letIn is called when a client was told that it is in: all must know of its topics.
func (e *simElsewhere) letIn(k *clientConn, topics []string) {
	for _, name := range topics {
		if !e.w.history.keeps(name) && !e.topics[name].known {
			e.w.sim.Fail("connection %d is let in, and others do not know that it has %s", k.index, name)
		}
	}
}
