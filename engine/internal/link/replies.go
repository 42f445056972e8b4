package link

import (
	"encoding/binary"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// replies gathers a worker's replies that came in one read, by the loop of their client. They go
// there together, so that a client with several requests under way is answered with one write. They
// belong to the link's reader, and go out before any other command of the link is carried out.
type replies struct {
	batches []replyBatch // by loop; nil before the first reply
	waiting bool
}

// A replyBatch is replies back to back: the client's reference, the request's sequence number, the
// status, the payload's length, and the payload.
type replyBatch struct {
	buf   *bytebufferpool.ByteBuffer
	count int
}

const (
	replyHead = 8 + 4 + 4 + 4
	// maxReplyBatch bounds a batch in bytes.
	maxReplyBatch = 32 << 10
	// maxGathered is the longest payload worth gathering, in bytes.
	maxGathered = 4 << 10
)

// replyBuffers are the buffers of batches. None is longer than maxReplyBatch.
var replyBuffers bytebufferpool.Pool

// gather adds a reply, or passes on one that is too long to be copied once more.
func (l *link) gather(t gateway.Ticket, status int32, payload []byte) error {
	if len(payload) > maxGathered {
		if err := l.flushReplies(); err != nil {
			return err
		}
		return l.publisher.Mail(t.Ref, l.hub.gateway, t.Seq, status, payload)
	}
	r := &l.replies
	if r.batches == nil {
		r.batches = make([]replyBatch, l.hub.gateway.Engine().Loops())
	}
	if t.Ref.Loop() >= len(r.batches) {
		return nil
	}
	b := &r.batches[t.Ref.Loop()]
	if b.buf != nil && len(b.buf.B)+replyHead+len(payload) > maxReplyBatch {
		if err := l.flushReplies(); err != nil {
			return err
		}
	}
	if b.buf == nil {
		b.buf = replyBuffers.Get()
	}
	dst := binary.LittleEndian.AppendUint64(b.buf.B, uint64(t.Ref))
	dst = binary.LittleEndian.AppendUint32(dst, t.Seq)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(status))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	b.buf.B = append(dst, payload...)
	b.count++
	r.waiting = true
	return nil
}

// flushReplies passes on what is gathered.
func (l *link) flushReplies() (failed error) {
	if !l.replies.waiting {
		return nil
	}
	l.replies.waiting = false
	g := l.hub.gateway
	for loop := range l.replies.batches {
		b := l.replies.batches[loop]
		if b.count == 0 {
			continue
		}
		l.replies.batches[loop] = replyBatch{}
		var err error
		if b.count == 1 {
			eachReply(b.buf.B, func(ref engine.Ref, seq uint32, status int32, payload []byte) {
				err = l.publisher.Mail(ref, g, seq, status, payload)
			})
			b.release()
		} else {
			// A short batch in a long buffer takes more room than its bytes say.
			err = l.publisher.DoOn(loop, max(len(b.buf.B), cap(b.buf.B)/8), func(on *engine.Loop) {
				eachReply(b.buf.B, func(ref engine.Ref, seq uint32, status int32, payload []byte) {
					g.AnswerOn(on.Conn(ref), seq, int(status), payload)
				})
				b.release()
			})
		}
		if err != nil {
			failed = err
		}
	}
	return failed
}

func (b *replyBatch) release() {
	replyBuffers.Put(b.buf)
}

// eachReply takes a batch apart.
func eachReply(b []byte, f func(ref engine.Ref, seq uint32, status int32, payload []byte)) {
	for len(b) >= replyHead {
		end := replyHead + int(binary.LittleEndian.Uint32(b[16:]))
		f(engine.Ref(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint32(b[8:]),
			int32(binary.LittleEndian.Uint32(b[12:])), b[replyHead:end])
		b = b[end:]
	}
}
