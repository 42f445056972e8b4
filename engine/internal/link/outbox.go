package link

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// An outbox is what waits to be written to a worker: frames back to back, bounded in bytes. Any
// goroutine may append; the writer goroutine takes all there is at a time, so that many frames
// share a write.
//
// Its room is shared among clients by one rule: a client may have no more in the outbox than stays
// free. One that floods gets half of it, n that flood get 1/(n+1) each, and as much stays free for
// the others. A frame that is too long for that rule may wait beside the limit if its client has
// nothing else there; one frame at a time.
type outbox struct {
	limit  int
	charge func(bytes int) // what is allocated, as it changes
	began  func(bool)      // a write begins, or has ended; the writer's

	mu      sync.Mutex
	filled  sync.Cond // the writer waits here
	drained sync.Cond // a reader with an answer waits here
	buf     []byte    // to be written
	batch   []byte    // being written
	spare   []byte
	queued  *shares // of clients in buf; nil before the first
	writing *shares // and in batch
	beside  int     // bytes of the frame beside the limit, in buf or batch
	besideB bool    // it is in batch
	charged int
	closed  bool
}

func newOutbox(limit int) *outbox {
	o := &outbox{limit: limit, charge: func(int) {}, began: func(bool) {}}
	o.filled.L, o.drained.L = &o.mu, &o.mu
	return o
}

// keepSpare is how big a buffer may be that is kept for the next batch or answer, in bytes.
const keepSpare = 256 << 10

// used returns the bytes that count against the limit. Call it with mu locked.
func (o *outbox) usedLocked() int { return len(o.buf) + len(o.batch) - o.beside }

// put appends what f appends, unless the outbox is full or closed. One frame always fits.
func (o *outbox) put(f func(dst []byte) []byte) bool {
	o.mu.Lock()
	if o.closed || o.usedLocked() >= o.limit {
		o.mu.Unlock()
		return false
	}
	o.appendLocked(f)
	o.mu.Unlock()
	return true
}

// putFor is put for a frame of about size bytes that a client caused. It is refused beyond the
// client's share too.
func (o *outbox) putFor(client uint64, size int, f func(dst []byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	if o.queued == nil {
		o.queued, o.writing = new(shares), new(shares)
	}
	has := o.queued.of(client) + o.writing.of(client)
	beside := false
	if has+size > o.limit-o.usedLocked()-size {
		if has > 0 || o.beside > 0 {
			return false
		}
		beside = true
	}
	n := o.appendLocked(f)
	o.queued.add(client, n)
	if beside {
		o.beside, o.besideB = n, false
	}
	return true
}

// appendLocked adds a frame and returns its length.
func (o *outbox) appendLocked(f func(dst []byte) []byte) int {
	was := len(o.buf)
	o.buf = f(o.buf)
	o.accountLocked()
	if was == 0 && len(o.buf) > 0 {
		o.filled.Signal()
	}
	return len(o.buf) - was
}

// awaitRoom waits until put would succeed. It reports false when the outbox is closed.
func (o *outbox) awaitRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && o.usedLocked() >= o.limit {
		o.drained.Wait()
	}
	return !o.closed
}

// room reports whether put would succeed now.
func (o *outbox) room() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.closed && o.usedLocked() < o.limit
}

// take waits for something to write. ok is false when the outbox is closed and empty.
func (o *outbox) take() (batch []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 {
		if o.closed {
			return nil, false
		}
		o.filled.Wait()
	}
	o.batch, o.buf, o.spare = o.buf, o.spare[:0], nil
	o.queued, o.writing = o.writing, o.queued
	o.besideB = o.beside > 0
	return o.batch, true
}

// done says that the batch is written, or dropped.
func (o *outbox) done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if cap(o.batch) <= keepSpare {
		o.spare = o.batch[:0]
	}
	o.batch = nil
	if o.writing != nil {
		o.writing.clear()
	}
	if o.besideB {
		o.beside, o.besideB = 0, false
	}
	o.accountLocked()
	o.drained.Broadcast()
}

// accountLocked charges for what is allocated.
func (o *outbox) accountLocked() {
	n := cap(o.buf) + cap(o.batch) + cap(o.spare)
	if o.queued != nil {
		n += 2 * sharesSize
	}
	if n != o.charged {
		o.charge(n - o.charged)
		o.charged = n
	}
}

// close ends the outbox: what is in it is still taken.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.filled.Broadcast()
	o.drained.Broadcast()
}

// cut closes the outbox and lets go of what the writer has not taken. It returns how many bytes are
// not written, as far as is known.
func (o *outbox) cut() int {
	o.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.buf) + len(o.batch)
	o.buf = nil
	o.accountLocked()
	return n
}

// release closes the outbox and lets go of all it holds. The writer must have ended.
func (o *outbox) release() {
	o.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf, o.batch, o.spare = nil, nil, nil
	o.queued, o.writing, o.beside = nil, nil, 0
	o.accountLocked()
}

// writeChunk is how much a worker must take within the time-out of a write: with whole batches, one
// that reads steadily but slower than 1.6 MB/s would be cut off.
const writeChunk = 64 << 10

// write sends batches until the outbox is closed and empty, or the worker does not take them.
// A batch of which nothing went out in time is dropped and the link goes on; after a part of one
// the stream is broken.
func (o *outbox) write(conn net.Conn, timeout time.Duration, dropped func(bytes int)) error {
	for {
		batch, ok := o.take()
		if !ok {
			return nil
		}
		for sent := 0; sent < len(batch); {
			if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
				return err
			}
			o.began(true)
			n, err := conn.Write(batch[sent:min(len(batch), sent+writeChunk)])
			o.began(false)
			sent += n
			if err == nil {
				continue
			}
			if sent > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			dropped(len(batch))
			break
		}
		o.done()
	}
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}
