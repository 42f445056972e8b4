package cluster

import (
	"math"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// Up to where the log is here: the clients of a node that dies go on elsewhere from there, so that must
// not be told too early. Frames come in the stream's order, whatever their topics: what is before the last
// one has come, but for topics of which something is being read, or that were begun with a moment ago. What
// was lost with a connection shows only when the topics have been compared with the stream: until then
// nothing is told. What NATS loses without a word is found by the next audit: of a node that is killed
// before, such a message is missed.

// reachWait is how long the receiver may take to say.
const reachWait = time.Second

// reach returns the position of the log up to which everything that is heard here has been handed to the
// replica. ok is false while that is not known. It may block for reachWait.
func (h *history) reach() (at topic.Position, ok bool) {
	if h.Away() != nil || !h.t.connected.Load() {
		return at, false
	}
	type answer struct {
		at topic.Position
		ok bool
	}
	ch := make(chan answer, 1)
	h.follower.post(func() error {
		at, ok := h.follower.reach()
		ch <- answer{at, ok}
		return nil
	})
	t := time.NewTimer(reachWait)
	defer t.Stop()
	select {
	case a := <-ch:
		return a.at, a.ok
	case <-t.C:
	case <-h.ctx.Done():
	}
	return at, false
}

func (f *follower) reach() (at topic.Position, ok bool) {
	if f.epoch == 0 || f.doubtful || f.proof == math.MaxUint64 {
		return at, false
	}
	last := f.seen
	if f.proof > 0 || f.reads > 0 || f.pendingBytes > 0 {
		proven := true
		_ = f.each(func(o *ownTopic) error {
			l := o.following
			switch {
			case !l.begun && l.first > 0:
				last = min(last, l.first-1)
			case !l.begun:
			case l.filling || l.missing || len(l.pending) > 0:
				last = min(last, l.at)
			}
			proven = proven && l.begun && max(l.at, l.checked) >= f.proof
			return nil
		})
		if !proven && f.proof > 0 {
			return at, false
		}
		f.proof = 0
	}
	for _, y := range f.grown() {
		last = min(last, y.of.at)
	}
	return topic.Position{Epoch: f.epoch, Seq: behind(last)}, true
}

// lost says that frames may be missing of all topics.
func (f *follower) lost() { f.proof = math.MaxUint64 }

// prove says up to which frame of the stream topics must have been compared with it then.
func (f *follower) prove(st StreamState) {
	if f.proof > 0 {
		f.proof = st.Last
	}
}
