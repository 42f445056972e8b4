package cluster

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// Who wants to know where his message is, when nothing was heard of the stream for a while, asks for it
// with all others.
func TestOneQuestionForAllPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &histWorld{
			rng: rand.New(rand.NewPCG(1, 1)), net: newSimNet(rand.New(rand.NewPCG(1, 2))), nodes: make([]*histNode, 1),
		}
		w.store = newSimStore(w.net, rand.New(rand.NewPCG(1, 3)))
		w.store.room = 1000
		n := w.boot(0)
		h := n.t.history
		time.Sleep(5 * time.Second)
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
		n.bus.lose(false)
		n.t.changed(false)
		n.t.close()
	})
}
