package cluster

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/topic"
)

// append stores frames of one message each of a topic, all at once, as if somebody else had published them.
func (w *histWorld) append(n *histNode, name string, count int) {
	known, _ := n.t.history.lastState()
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	from := origin{9, 9}
	for range count {
		k := w.store.last + 1
		message := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, 9), k)
		frame := append(appendRunHead(nil, from, []byte(name)), topic.AppendRecord(nil, "", 0, message)...)
		putRun(frame, len(name), false, historySeries|1, known.Epoch, 0, 1)
		w.store.store(n.t.subs.history(name), fmt.Sprint("other-", k), seal(frame))
	}
}

// missing has the next frames of the stream not come to n: it finds out by those behind them.
func (w *histWorld) missing(n *histNode, f func()) {
	w.net.cut(n.bus, w.store.server)
	f()
	w.net.mend(n.bus, w.store.server)
}

// A frame that is missing may be gone from the stream when it is read, and with it those behind it that have
// come meanwhile: they are here, and only what is not is told as a gap.
func TestPendingFramesThatAreGone(t *testing.T) {
	const name = "h-0"
	for _, test := range []struct {
		what  string
		limit func(*simStore)             // of what the stream keeps
		more  func(*histWorld, *histNode) // stored while what is missing is being read
		gaps  int
		last  uint64
		got   int // frames
	}{
		{
			what:  "all frames are of the topic",
			limit: func(s *simStore) { s.room = 10 },
			more:  func(w *histWorld, n *histNode) { w.append(n, name, 20) },
			gaps:  1, last: 24, got: 23,
		},
		{
			what:  "another one is missing among them",
			limit: func(s *simStore) { s.room = 10 },
			more: func(w *histWorld, n *histNode) {
				w.append(n, name, 5)
				time.Sleep(2 * time.Millisecond)
				w.missing(n, func() { w.append(n, name, 1) })
				w.append(n, name, 20)
			},
			gaps: 2, last: 30, got: 28,
		},
		{
			what:  "the stream has no frame of the topic before one of them",
			limit: func(s *simStore) { s.room = 10 },
			more: func(w *histWorld, n *histNode) {
				w.append(n, name, 5)
				time.Sleep(2 * time.Millisecond)
				w.missing(n, func() { w.append(n, name, 1) })
				w.append(n, "h-1", 10)
				w.append(n, name, 20)
			},
			gaps: 2, last: 40, got: 28,
		},
		{
			what:  "the stream has none left",
			limit: func(s *simStore) { s.room = 10 },
			more: func(w *histWorld, n *histNode) {
				w.append(n, name, 5)
				w.append(n, "h-1", 20)
			},
			gaps: 1, last: 9, got: 8,
		},
		{
			what:  "the stream keeps few of each topic",
			limit: func(s *simStore) { s.want.PerSubject, s.limits.PerSubject = 10, 10 },
			more:  func(w *histWorld, n *histNode) { w.append(n, name, 20) },
			gaps:  1, last: 24, got: 23,
		},
		{
			what:  "the stream keeps few of each topic, and what is gone has not come",
			limit: func(s *simStore) { s.want.PerSubject, s.limits.PerSubject = 10, 10 },
			more:  func(w *histWorld, n *histNode) { w.missing(n, func() { w.append(n, name, 20) }) },
			gaps:  2, last: 24, got: 13,
		},
	} {
		t.Run(test.what, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				w, _ := bootHistory(t)
				n := w.nodes[0]
				n.subscribe(name)
				time.Sleep(2 * time.Second)
				w.net.mu.Lock()
				test.limit(w.store)
				w.net.mu.Unlock()
				w.append(n, name, 2)
				time.Sleep(100 * time.Millisecond)
				w.missing(n, func() { w.append(n, name, 1) })
				w.append(n, name, 1)
				time.Sleep(2 * time.Millisecond) // it has come: what is missing before is about to be read
				test.more(w, n)
				time.Sleep(5 * time.Second)
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.failure != "" {
					t.Error(w.failure)
				}
				if k := n.rings[name]; k.gaps != test.gaps || k.stored != test.last || k.frames != test.got {
					t.Errorf("%d frames up to %d, and %d gaps, want %d, %d, %d", k.frames, k.stored, k.gaps, test.got, test.last, test.gaps)
				}
			})
		})
	}
}

// The server of the stream's leader may learn of a subscription behind the question from when on the topic is
// followed: what was stored in between comes soon, and the log is not here up to it before.
func TestSubscriptionBehindTheQuestion(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const name = "h-0"
		w, h := bootHistory(t)
		n := w.nodes[0]
		n.subscribe("h-1")
		time.Sleep(2 * time.Second)
		w.net.mu.Lock()
		w.net.pipe(n.bus, w.store.server).last = time.Now().Add(20 * time.Millisecond)
		w.net.mu.Unlock()
		n.subscribe(name)
		time.Sleep(10 * time.Millisecond)
		w.append(n, name, 1)
		w.append(n, "h-1", 1)
		time.Sleep(5 * time.Millisecond)
		if at, ok := h.reach(); !ok || frameOf(at.Seq) != 0 {
			t.Errorf("the log is here up to %v, %v, and the first frame is not", at, ok)
		}
		time.Sleep(100 * time.Millisecond)
		if at, ok := h.reach(); !ok || frameOf(at.Seq) != 2 {
			t.Errorf("the log is here up to %v, %v, want frame 2", at, ok)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if k := n.rings[name]; !n.subs[name].settled || k.stored != 1 || k.gaps > 0 {
			t.Errorf("settled: %v, %d gaps, and the last frame is %d", n.subs[name].settled, k.gaps, k.stored)
		}
	})
}

// Who is alone asks nobody for a topic with history, and yet has the server know of the subscription first.
func TestAloneSubscribesFirst(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const name = "h-0"
		w, _ := bootHistory(t)
		n := w.nodes[0]
		w.net.mu.Lock()
		n.bus.up.last = time.Now().Add(100 * time.Millisecond)
		w.net.mu.Unlock()
		n.subscribe(name)
		settled := func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return n.subs[name].settled
		}
		begun := time.Now()
		for !settled() {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(begun); d < 100*time.Millisecond || d > 200*time.Millisecond {
			t.Errorf("the subscription is answered after %v, and gets to the server after 100ms", d)
		}
	})
}

// A frame of another stream may have a number that this one might have given to it, if others' topics have
// made its numbers go on unheard: but it was stored later than frames of higher numbers.
func TestAnotherStreamBehindQuietTopics(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const name = "h-0"
		w, _ := bootHistory(t)
		n := w.nodes[0]
		n.subscribe(name)
		time.Sleep(5 * time.Second)
		w.append(n, name, 1)
		w.append(n, "h-1", 30)
		time.Sleep(2 * time.Second)
		w.net.mu.Lock()
		w.store.lose()
		w.store.make()
		w.net.mu.Unlock()
		w.append(n, "h-1", 9)
		w.append(n, name, 1) // by somebody who does not know either
		time.Sleep(100 * time.Millisecond)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failure != "" {
			t.Error(w.failure)
		}
		if k := n.rings[name]; k.stored != 10 || k.gaps != 1 {
			t.Errorf("%d gaps, and the last frame is %d, want 1 and 10", k.gaps, k.stored)
		}
	})
}

// A server's clock may be set back to before the moment the stream was made. What is stored then is dated
// before that, and is of this stream all the same: it comes at once.
func TestStreamsClockSetBack(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const name = "h-0"
		w, _ := bootHistory(t)
		n := w.nodes[0]
		n.subscribe(name)
		time.Sleep(5 * time.Second)
		w.append(n, name, 1)
		time.Sleep(2 * time.Second)
		w.net.mu.Lock()
		w.store.ahead = -time.Hour
		w.net.mu.Unlock()
		for want := uint64(2); want < 10; want++ {
			w.append(n, name, 1)
			time.Sleep(50 * time.Millisecond)
			w.mu.Lock()
			k := *n.rings[name]
			w.mu.Unlock()
			if k.stored != want || k.gaps > 0 {
				t.Fatalf("50ms later the last frame is %d, want %d, and there are %d gaps", k.stored, want, k.gaps)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failure != "" {
			t.Error(w.failure)
		}
	})
}

// What another stream has sent on may come late: it is dated before this one was made, and by who did not
// know of this one.
func TestLateFramesOfAnotherStream(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		const name = "h-0"
		w, h := bootHistory(t)
		n := w.nodes[0]
		n.subscribe(name)
		time.Sleep(5 * time.Second)
		w.append(n, "h-1", 30)
		w.net.mu.Lock()
		w.net.pipe(w.store.server, n.bus).last = time.Now().Add(20 * time.Millisecond)
		w.net.mu.Unlock()
		w.append(n, name, 1)
		time.Sleep(time.Millisecond)
		w.net.mu.Lock()
		w.store.lose()
		w.store.make()
		w.net.mu.Unlock()
		h.doubt(true)
		time.Sleep(time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failure != "" {
			t.Error(w.failure)
		}
		if s := h.stats(); s.Repeated != 1 {
			t.Errorf("%d frames were passed over, want 1: %+v", s.Repeated, s)
		}
	})
}
