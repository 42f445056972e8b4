package engine

import (
	"testing"
	"time"
)

// heldConns makes n held connections without sockets, last seen to take something at l.now.
func heldConns(t *testing.T, l *Loop, n int) []*Conn {
	t.Helper()
	conns := make([]*Conn, n)
	for i := range conns {
		c := bareConn(t, l, 0)
		c.flags |= flagBlocked
		c.queued = l.quarter + 1
		l.review(c)
		conns[i] = c
	}
	return conns
}

func held(conns []*Conn) (n int) {
	for _, c := range conns {
		if c.flags&flagHeld != 0 {
			n++
		}
	}
	return n
}

// pass lets ms go by, with the looks that a loop takes.
func pass(l *Loop, ms int64) {
	for end := l.now + ms; l.now < end; {
		l.now += reviewEvery
		l.ageHeld()
	}
}

// Readers that have stopped hold up publishers for half a second, however many they are.
func TestStalledReadersLoseTheirHold(t *testing.T) {
	for _, n := range []int{1, learnFrom - 1, learnFrom, 500} {
		l := bareLoop(t, Config{})
		conns := heldConns(t, l, n)
		pass(l, stalledAfter-reviewEvery)
		if got := held(conns); got != n {
			t.Errorf("%d of %d held before the time", got, n)
		}
		pass(l, 2*reviewEvery)
		if got := held(conns); got != 0 {
			t.Errorf("%d of %d still held after %d ms", got, n, stalledAfter)
		}
	}
}

// A program that reads its connections in turn keeps them all, although each is silent for a whole
// round, and those that it does not read lose their hold.
func TestSilenceIsLearned(t *testing.T) {
	for _, round := range []int64{1000, 5000, 9000} {
		l := bareLoop(t, Config{})
		l.now = 1000
		conns := heldConns(t, l, 400)
		stopped := heldConns(t, l, 40)
		lost := 0
		for range 3 {
			for i, c := range conns {
				if i%8 == 7 {
					pass(l, round/50)
				}
				if c.flags&flagHeld == 0 {
					lost++
				}
				l.progress(c)
				c.backlog.overSince = uint32(l.now) // it was below for a moment
			}
		}
		if lost > 0 {
			t.Errorf("rounds of %d ms: %d holds lost", round, lost)
		}
		if got := held(stopped); got != 0 {
			t.Errorf("rounds of %d ms: %d that were never read are held", round, got)
		}
		if p := l.patience(); p < round || p > patienceAtMost {
			t.Errorf("rounds of %d ms: patience of %d ms", round, p)
		}
		l.now += 10 * fadeEvery
		if p := l.patience(); p > stalledAfter+round/100 {
			t.Errorf("rounds of %d ms: still a patience of %d ms much later", round, p)
		}
	}
}

// When a good part of a topic's subscribers are held, publishers are patient with them.
func TestCrowd(t *testing.T) {
	for _, tt := range []struct {
		subscribers, held int
		patience          int64
	}{
		{learnFrom - 1, learnFrom - 1, stalledAfter},
		{learnFrom, learnFrom, crowdStalledAfter},
		{400, 100, crowdStalledAfter},
		{400, 99, stalledAfter},
	} {
		l := bareLoop(t, Config{})
		for range tt.subscribers - tt.held {
			bareConn(t, l, 0).Subscribe([]byte("t"))
		}
		conns := heldConns(t, l, tt.held)
		for _, c := range conns {
			c.Subscribe([]byte("t"))
		}
		pass(l, tt.patience-reviewEvery)
		if got := held(conns); got != tt.held {
			t.Errorf("%d of %d: %d held before the time", tt.held, tt.subscribers, got)
		}
		pass(l, 2*reviewEvery)
		if got := held(conns); got != 0 {
			t.Errorf("%d of %d: %d still held after %d ms", tt.held, tt.subscribers, got, tt.patience)
		}
	}
}

// A crowd that goes on reading, but never catches up, is waited for much longer than a few.
func TestCrowdThatNeverCatchesUp(t *testing.T) {
	for n, most := range map[int]int64{learnFrom - 1: holdAtMost, learnFrom: crowdHoldAtMost} {
		l := bareLoop(t, Config{})
		conns := heldConns(t, l, n)
		for _, c := range conns {
			c.Subscribe([]byte("t"))
		}
		readOn := func(ms int64) {
			for end := l.now + ms; l.now < end; {
				for _, c := range conns {
					if c.flags&flagHeld != 0 {
						l.progress(c)
					}
				}
				pass(l, reviewEvery)
			}
		}
		readOn(most - reviewEvery)
		if got := held(conns); got != n {
			t.Errorf("%d of %d held before the time", got, n)
		}
		readOn(2 * reviewEvery)
		if got := held(conns); got != 0 {
			t.Errorf("%d of %d still held after %d ms", got, n, most)
		}
	}
}

// A few odd readers are no measure for the others.
func TestFewTeachNothing(t *testing.T) {
	l := bareLoop(t, Config{})
	l.now = 1000
	conns := heldConns(t, l, learnFrom-1)
	pass(l, stalledAfter-2*reviewEvery)
	for _, c := range conns {
		l.progress(c)
	}
	if p := l.patience(); p != stalledAfter {
		t.Errorf("patience of %d ms", p)
	}
}

// The bigger a publish and the more patient a loop, the longer it waits: all that trickles through
// must find room.
func TestLongestWait(t *testing.T) {
	for _, tt := range []struct {
		patience int64
		bytes    int
		want     int64
	}{
		{0, 64 << 10, publishWait},
		{500, 100, publishWait},
		{500, 64 << 10, 166},
		{10_000, 100, publishWait},
		{10_000, 64 << 10, 3333},
		{10_000, 1 << 20, 10_000},
	} {
		l := &Loop{limit: 1 << 20, quarter: 1 << 18}
		l.patienceNow.Store(tt.patience)
		e := &Engine{loops: []*Loop{{}, l}}
		if got := e.longestWait(tt.bytes); got != tt.want {
			t.Errorf("patience %d ms, %d bytes: waits %d ms, want %d", tt.patience, tt.bytes, got, tt.want)
		}
	}
}

// A loop that had no core for a while has not looked at those it holds: what they asked of publishers holds all the same, and
// nobody is taken to have stalled before there were looks enough. A loop that is stuck makes publishers wait no more.
func TestHoldOutlastsAStandstill(t *testing.T) {
	l := bareLoop(t, Config{})
	c := bareConn(t, l, 0)
	c.Subscribe([]byte("t"))
	c.flags |= flagBlocked
	c.queued = l.quarter + 1
	l.review(c)
	key, _ := l.engine.topics.Lookup([]byte("t"))
	pb := l.engine.NewPublisher()
	start := l.engine.kernel.start
	for _, tt := range []struct {
		standstill int64
		slow       bool
	}{{0, true}, {stalledAfter, true}, {heldFor - 1000, true}, {heldFor + 1, false}} {
		l.engine.kernel.start = start.Add(-time.Duration(tt.standstill) * time.Millisecond)
		if _, slow := pb.look(&audience{key: key}); slow != tt.slow {
			t.Errorf("after %d ms: publishers wait: %v, want %v", tt.standstill, slow, tt.slow)
		}
	}
	l.now += 2 * stalledAfter
	l.ageHeld()
	if c.flags&flagHeld == 0 {
		t.Error("lost its hold at the first look after a standstill")
	}
}
