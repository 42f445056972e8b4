package gateway

import (
	"encoding/binary"

	"github.com/sluicenet/sluice/engine"
)

// Replies of workers travel to a loop in batches: back to back the ticket, the status, the length of
// the payload, and the payload. In place of a payload there may be a message, which bit 31 of the
// length says.
const (
	replyHead    = 8 + 4 + 4
	replyMessage = 1 << 31
)

// ReplySize returns the bytes that AppendReply appends.
func ReplySize(payload []byte) int { return replyHead + len(payload) }

// AppendReply appends the reply to a request to a batch for PostReplies.
func AppendReply(batch []byte, t Ticket, status int32, payload []byte) []byte {
	batch = binary.LittleEndian.AppendUint64(batch, t.id)
	batch = binary.LittleEndian.AppendUint32(batch, uint32(status))
	batch = binary.LittleEndian.AppendUint32(batch, uint32(len(payload)))
	return append(batch, payload...)
}

// AppendFailure is AppendReply with a message for people, which the client's Session puts into its
// protocol's words; see Explainer.
func AppendFailure(batch []byte, t Ticket, status int32, message []byte) []byte {
	start := len(batch)
	batch = AppendReply(batch, t, status, message)
	batch[start+replyHead-1] |= replyMessage >> 24
	return batch
}

// PostReplies sends a batch of replies to requests of one loop there, behind what the Publisher has
// sent there before. worker is the id of the worker that answers; 0 is one that has not registered.
// batch may be used again when it returns. Replies to requests that are over, or were given to
// another worker, are counted.
func (g *Gateway) PostReplies(pb *engine.Publisher, loop, worker int, batch []byte) error {
	return pb.Mail(engine.Ref(uint64(loop)<<56), batches{g}, uint32(worker), 0, batch)
}

// batches are the Gateway as it takes batches of replies: on the loop's own goroutine.
type batches struct{ *Gateway }

// TrustedOnLoop is never called.
func (batches) TrustedOnLoop() {}

// Stray reports whether a ticket names no place that a request could have, on any goroutine: a reply
// to it need not go to a loop. Most replies to nothing are; of the others the loop knows.
func Stray(g *Gateway, t Ticket) bool {
	return t.Loop() >= len(g.scratch) || t.place() == 0 ||
		t.place() >= g.scratch[t.Loop()].pending.places.Load()
}

// CountLate counts a reply that cannot be to any request.
func (g *Gateway) CountLate() { g.stats.late.Add(1) }

// OnMail implements engine.Mail: a batch of replies.
func (g *Gateway) OnMail(_ *engine.Conn, worker uint32, _ int32, batch []byte) {
	for len(batch) >= replyHead {
		t := Ticket{binary.LittleEndian.Uint64(batch)}
		status := int32(binary.LittleEndian.Uint32(batch[8:]))
		size := binary.LittleEndian.Uint32(batch[12:])
		end := replyHead + int(size&^replyMessage)
		g.answer(t, int(worker), int(status), batch[replyHead:end], nil, size&replyMessage != 0)
		batch = batch[end:]
	}
}
