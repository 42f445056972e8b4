package worker

import "sync"

const (
	eventCost   = 512 // bytes an event takes beside its frame
	inboxStress = 4   // times the limit, while somebody needs the reader to go on
)

// An inbox bounds what a link has read and handlers have not yet done with. It belongs to the
// link, not to its connection, so that links which break over and over do not pile up events.
type inbox struct {
	mu     sync.Mutex
	free   sync.Cond // room, more urgency, or a connection that is lost
	queued int       // bytes
	limit  int
	urgent int // callers that cannot go on before the reader does
}

func (b *inbox) init(limit int) {
	b.limit = limit
	b.free.L = &b.mu
}

// admit waits for room for n bytes; only c's reader calls it. One event fits whatever its size.
// False means that c is lost.
func (b *inbox) admit(n int, c *conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.queued > 0 && b.queued+n > b.bound() && !c.lost() {
		b.free.Wait()
	}
	b.queued += n
	return !c.lost()
}

func (b *inbox) bound() int {
	if b.urgent > 0 {
		return inboxStress * b.limit
	}
	return b.limit
}

func (b *inbox) release(n int) {
	b.mu.Lock()
	b.queued -= n
	b.mu.Unlock()
	b.free.Signal()
}

// urge has the reader go on, up to four times the limit: a caller waits for an answer that stands
// behind unread events, or for room that the gateway makes only after we have read. The caller
// may be the very handler for which the inbox is full.
func (b *inbox) urge() {
	b.mu.Lock()
	b.urgent++
	b.mu.Unlock()
	b.free.Signal()
}

func (b *inbox) calm() {
	b.mu.Lock()
	b.urgent--
	b.mu.Unlock()
}

// wake has a waiting reader look again whether its connection is lost. The lock is held so that
// it is not between its look and its wait.
func (b *inbox) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free.Broadcast()
}
