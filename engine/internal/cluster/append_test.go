package cluster

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/topic"
)

// Who wants to know where his message is, when nothing was heard of the stream for a while, asks for it
// with all others.
func TestOneQuestionForAllPositions(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w, h := bootHistory(t)
		h.heardAt.Store(0)
		asked := func() int {
			w.net.mu.Lock()
			defer w.net.mu.Unlock()
			return w.store.asked
		}
		before := asked()
		var answered atomic.Int32
		for i := range 50 {
			record := topic.AppendRecord(nil, "", 0, []byte("x"))
			h.Append(fmt.Appendf(nil, "t%d", i), record, 1, func(at topic.Position, err error) {
				if err != nil || at.Epoch == 0 || at.Seq == 0 {
					t.Errorf("stored at %v, %v", at, err)
				}
				answered.Add(1)
			})
		}
		time.Sleep(500 * time.Millisecond)
		if got := answered.Load(); got != 50 {
			t.Errorf("%d of 50 are answered", got)
		}
		if got := asked() - before; got < 1 || got > 5 { // it is looked at for other reasons, too
			t.Errorf("the stream was asked for its state %d times, for 50 positions", got)
		}
	})
}

// bootHistory returns a world of one node with history, which has heard of the stream.
func bootHistory(t *testing.T) (*histWorld, *history) {
	w := &histWorld{
		rng: rand.New(rand.NewPCG(1, 1)), net: newSimNet(rand.New(rand.NewPCG(1, 2))), nodes: make([]*histNode, 1),
	}
	w.store = newSimStore(w.net, rand.New(rand.NewPCG(1, 3)))
	w.store.room = 1000
	n := w.boot(0)
	t.Cleanup(func() {
		n.bus.lose(false)
		n.t.changed(false)
		n.t.close()
	})
	time.Sleep(5 * time.Second)
	return w, n.t.history
}

// Answers overtake one another: one that was under way while the stream was found to be another one says
// nothing.
func TestAnswerOfTheStreamBefore(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		_, h := bootHistory(t)
		old, known := h.lastState()
		if !known {
			t.Fatal("the stream is not known")
		}
		other := StreamState{Epoch: old.Epoch + 1, First: 1, Limits: old.Limits}
		answers := make(chan StreamState, 2)
		slow := make(chan StreamState)
		go func() {
			st, err := h.hear(func() (StreamState, error) { return <-answers, nil })
			if err != nil {
				t.Error(err)
			}
			slow <- st
		}()
		synctest.Wait()
		before := h.counts.epochs.Load()
		if st, err := h.hear(func() (StreamState, error) { return other, nil }); err != nil || st.Epoch != other.Epoch {
			t.Fatalf("heard of %+v, %v", st, err)
		}
		answers <- old
		answers <- other
		if st := <-slow; st.Epoch != other.Epoch {
			t.Errorf("who asked before is told of the old stream: %+v", st)
		}
		if st, _ := h.lastState(); st.Epoch != other.Epoch {
			t.Errorf("the old stream is taken for the one that is: %+v", st)
		}
		if got := h.counts.epochs.Load() - before; got != 1 {
			t.Errorf("the stream was found to be another one %d times, not once", got)
		}
	})
}
