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
type outbox struct {
	mu     sync.Mutex
	filled sync.Cond
	buf    []byte
	spare  []byte
	limit  int
	writes int // bytes being written
	closed bool
}

func newOutbox(limit int) *outbox {
	o := &outbox{limit: limit}
	o.filled.L = &o.mu
	return o
}

// keepSpare is how big a buffer may be that is kept for the next batch.
const keepSpare = 256 << 10

// put appends what f appends, unless the outbox is full or closed. One frame always fits.
func (o *outbox) put(f func(dst []byte) []byte) bool {
	o.mu.Lock()
	if o.closed || len(o.buf)+o.writes >= o.limit {
		o.mu.Unlock()
		return false
	}
	was := len(o.buf)
	o.buf = f(o.buf)
	o.mu.Unlock()
	if was == 0 {
		o.filled.Signal()
	}
	return true
}

// room reports whether put would succeed now.
func (o *outbox) room() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.closed && len(o.buf)+o.writes < o.limit
}

// take waits for something to write. ok is false when the outbox is closed and empty.
func (o *outbox) take() (batch []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writes = 0
	for len(o.buf) == 0 {
		if o.closed {
			return nil, false
		}
		o.filled.Wait()
	}
	batch, o.buf, o.spare = o.buf, o.spare[:0], nil
	o.writes = len(batch)
	return batch, true
}

// done gives a written batch back.
func (o *outbox) done(batch []byte) {
	if cap(batch) > keepSpare {
		return
	}
	o.mu.Lock()
	o.spare = batch[:0]
	o.mu.Unlock()
}

// close ends the outbox: what is in it is still taken.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.filled.Broadcast()
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
			n, err := conn.Write(batch[sent:min(len(batch), sent+writeChunk)])
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
		o.done(batch)
	}
}

func (o *outbox) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}
