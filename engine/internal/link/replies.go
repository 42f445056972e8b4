package link

import (
	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// replies gathers a worker's replies that came in one read, by the loop of their client. They go
// there together, so that a client with several requests under way is answered with one write. They
// belong to the link's reader, and go out before any other command of the link is carried out.
type replies struct {
	batches []*bytebufferpool.ByteBuffer // by loop; nil where nothing waits
	waiting bool
}

// maxReplyBatch bounds a batch in bytes, but for one reply that is longer by itself.
const maxReplyBatch = 32 << 10

// batchBuffers are the batches of all links: most links have none most of the time.
var batchBuffers bytebufferpool.Pool

// gather adds a reply to what goes to its loop.
func (l *link) gather(t gateway.Ticket, status int32, payload []byte) error {
	return l.gatherAs(gateway.AppendReply, t, status, payload)
}

func (l *link) gatherAs(
	appendTo func([]byte, gateway.Ticket, int32, []byte) []byte, t gateway.Ticket, status int32, payload []byte,
) error {
	r, g := &l.replies, l.hub.gateway
	if l.hub.stray(g, t) {
		g.CountLate()
		return nil
	}
	if r.batches == nil {
		r.batches = make([]*bytebufferpool.ByteBuffer, g.Engine().Loops())
	}
	if b := r.batches[t.Loop()]; b != nil && b.Len()+gateway.ReplySize(payload) > maxReplyBatch {
		if err := l.flushReplies(); err != nil {
			return err
		}
	}
	if r.batches[t.Loop()] == nil {
		r.batches[t.Loop()] = batchBuffers.Get()
	}
	b := r.batches[t.Loop()]
	b.B = appendTo(b.B, t, status, payload)
	r.waiting = true
	return nil
}

// flushReplies passes on what is gathered.
func (l *link) flushReplies() (failed error) {
	if !l.replies.waiting {
		return nil
	}
	l.replies.waiting = false
	for loop, b := range l.replies.batches {
		if b == nil {
			continue
		}
		l.replies.batches[loop] = nil
		if err := l.hub.gateway.PostReplies(l.publisher, loop, l.workerID, b.B); err != nil {
			failed = err
		}
		batchBuffers.Put(b)
	}
	return failed
}
