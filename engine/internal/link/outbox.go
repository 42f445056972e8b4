package link

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// An outbox is what waits to be written to a worker: frames, bounded in bytes. Any goroutine may
// append; the writer goroutine takes what makes one write at a time.
//
// While the worker keeps up, frames lie back to back in one buffer, in the order in which they
// came. Once batchSize of them wait, those that come go to the backlog, which has a queue for each
// client.
//
// Its room is shared among clients by one rule: a client may have no more in the outbox than stays
// free. One that floods gets half of it, n that flood get 1/(n+1) each, and as much stays free for
// the others. A frame that is too long for that rule may wait beside the limit if its client has
// nothing else there; one frame at a time.
type outbox struct {
	limit  int
	charge func(bytes int) // what is allocated, as it changes
	began  func(bool)      // a write begins, or has ended; the writer's
	took   func(tally)     // the writer has taken a batch

	noRoom atomic.Bool // what room says, for those that have not locked mu

	mu       sync.Mutex
	filled   sync.Cond // the writer waits here
	drained  sync.Cond // a reader with an answer waits here
	buf      []byte    // to be written first
	clients  tally     // of clients' frames in buf
	backlog  backlog   // to be written then
	batch    []byte    // being written
	spare    []byte
	queued   *shares // of clients in buf; nil before the first
	writing  *shares // and in batch
	beside   int     // bytes of the frame beside the limit
	besideAt place
	besideOf uint64 // its client, where besideAt is inBacklog
	charged  int
	closed   bool
}

// A tally is how many frames there are, and how many bytes they have.
type tally struct{ frames, bytes int }

func (t *tally) add(frames, bytes int) {
	t.frames += frames
	t.bytes += bytes
}

// A place is where in an outbox a frame is.
type place uint8

const (
	inBuf place = iota
	inBacklog
	inBatch
)

func newOutbox(limit int) *outbox {
	o := &outbox{limit: limit, charge: func(int) {}, began: func(bool) {}, took: func(tally) {}}
	o.filled.L, o.drained.L = &o.mu, &o.mu
	return o
}

// keepSpare is how big a buffer may be that is kept for the next batch or answer, in bytes.
const keepSpare = 256 << 10

// batchSize is about how many bytes are written at a time, and may wait in the order in which they
// came: what somebody's first frame waits for. With less, frames would take the dearer way through the
// backlog whenever the writer has to wait for a core; longer batches make writing hardly cheaper.
const batchSize = 64 << 10

// usedLocked returns the bytes that count against the limit.
func (o *outbox) usedLocked() int {
	return len(o.buf) + len(o.batch) + o.backlog.cost() - o.beside
}

// put appends a frame of the gateway's own, which is what f appends, unless the outbox is full or
// closed. One frame always fits.
func (o *outbox) put(f func(dst []byte) []byte) bool {
	return o.putWhere(f, false, func(frame []byte) { o.backlog.pushTo(ownQueue, frame) })
}

// putLast is put for a frame that goes out behind everything else.
func (o *outbox) putLast(f func(dst []byte) []byte) bool {
	return o.putWhere(f, false, func(frame []byte) { o.backlog.pushTo(lastQueue, frame) })
}

// putEvent is put for what the worker is told of a client: it is in order with the client's frames.
func (o *outbox) putEvent(client uint64, f func(dst []byte) []byte) bool {
	return o.putWhere(f, true, func(frame []byte) { o.backlog.push(client, frame) })
}

func (o *outbox) putWhere(f func(dst []byte) []byte, ofClient bool, push func(frame []byte)) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.usedLocked() >= o.limit {
		return false
	}
	if o.directLocked() {
		o.appendLocked(f, ofClient)
	} else {
		o.pushLocked(f, push)
	}
	return true
}

// putFor is put for a frame of about size bytes that a client caused. It is refused beyond the
// client's share too.
func (o *outbox) putFor(client uint64, size int, f func(dst []byte) []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	fits, beside := o.fitsLocked(client, size)
	if !fits {
		return false
	}
	n, at := 0, inBuf
	if o.directLocked() {
		n = o.appendLocked(f, true)
		o.queued.add(client, n)
	} else {
		at = inBacklog
		n = o.pushLocked(f, func(frame []byte) { o.backlog.push(client, frame) })
	}
	if beside {
		o.beside, o.besideAt, o.besideOf = n, at, client
		o.noteRoomLocked()
	}
	return true
}

// putRun is putFor for whole frames that lie back to back, so many of them: all or none.
func (o *outbox) putRun(client uint64, frames []byte, number int) bool {
	o.mu.Lock()
	if fits, beside := o.fitsLocked(client, len(frames)); !fits || beside {
		o.mu.Unlock()
		return false
	}
	waited := len(o.buf) > 0
	if o.directLocked() {
		o.buf = append(o.buf, frames...)
		o.clients.add(number, len(frames))
		o.queued.add(client, len(frames))
	} else {
		for rest := frames; len(rest) > 0; {
			n := frameLen(rest)
			o.backlog.push(client, rest[:n])
			rest = rest[n:]
		}
	}
	o.accountLocked()
	o.mu.Unlock()
	if !waited {
		o.filled.Signal() // without the lock, which the writer takes as it wakes
	}
	return true
}

// fitsLocked reports whether about size bytes of a client are within its share of the room that is
// left, or beside says that they may wait beside the limit.
func (o *outbox) fitsLocked(client uint64, size int) (fits, beside bool) {
	if o.closed {
		return false, false
	}
	if o.queued == nil {
		o.queued, o.writing = new(shares), new(shares)
	}
	behind := o.backlog.of(client)
	if behind == 0 && !o.directLocked() {
		size += clientCost
	}
	has := o.queued.of(client) + o.writing.of(client) + behind
	if has+size <= o.limit-o.usedLocked()-size {
		return true, false
	}
	beside = has == 0 && o.beside == 0
	return beside, beside
}

// directLocked reports whether a frame may go to buf: nothing is to be overtaken.
func (o *outbox) directLocked() bool {
	return len(o.buf) < batchSize && o.backlog.empty()
}

// appendLocked adds a frame to buf and returns its length.
func (o *outbox) appendLocked(f func(dst []byte) []byte, ofClient bool) int {
	was := len(o.buf)
	o.buf = f(o.buf)
	n := len(o.buf) - was
	if ofClient && n > 0 {
		o.clients.add(1, n)
	}
	o.accountLocked()
	if was == 0 && n > 0 {
		o.filled.Signal()
	}
	return n
}

// pushLocked adds a frame to the backlog and returns its length.
func (o *outbox) pushLocked(f func(dst []byte) []byte, push func(frame []byte)) int {
	was := len(o.buf)
	grown := f(o.buf) // the room behind it is free
	frame := grown[was:]
	if len(frame) > 0 {
		push(frame)
	}
	if o.buf = grown[:was]; cap(grown) > keepSpare && was <= batchSize {
		o.buf = append([]byte(nil), o.buf...)
	}
	o.accountLocked()
	if was == 0 {
		o.filled.Signal()
	}
	return len(frame)
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

// room reports whether put would succeed now. It is asked for every request, by all loops, while the
// lock has others.
func (o *outbox) room() bool { return !o.noRoom.Load() }

// noteRoomLocked keeps what room says.
func (o *outbox) noteRoomLocked() {
	if no := o.closed || o.usedLocked() >= o.limit; no != o.noRoom.Load() {
		o.noRoom.Store(no)
	}
}

// waits reports whether there is something that the writer has not taken.
func (o *outbox) waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) > 0 || !o.backlog.empty()
}

// take waits for something to write. ok is false when the outbox is closed and empty.
func (o *outbox) take() (batch []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && o.backlog.empty() {
		if o.closed {
			return nil, false
		}
		o.filled.Wait()
	}
	if o.besideAt == inBuf {
		o.besideAt = inBatch
	}
	for len(o.buf) < batchSize && !o.backlog.empty() {
		o.popLocked()
	}
	o.took(o.clients)
	o.batch, o.buf, o.spare, o.clients = o.buf, o.spare[:0], nil, tally{}
	o.queued, o.writing = o.writing, o.queued
	o.accountLocked()
	return o.batch, true
}

// popLocked moves the next frame of the backlog to buf.
func (o *outbox) popLocked() {
	var client uint64
	var size int
	if o.buf, client, size = o.backlog.pop(o.buf); client == 0 {
		return
	}
	if o.queued == nil {
		o.queued, o.writing = new(shares), new(shares)
	}
	o.queued.add(client, size)
	o.clients.add(1, size)
	if o.beside > 0 && o.besideAt == inBacklog && o.besideOf == client {
		o.besideAt = inBatch // it is its client's first
	}
}

// withdraw calls move with frames that the writer has not taken, in the order of each client, and
// lets go of those that it takes. client is 0 if only the frame knows. move is called with the
// outbox locked, and not again for a client whose frame it has not taken.
func (o *outbox) withdraw(move func(client uint64, frame []byte) bool) {
	o.mu.Lock()
	kept := o.buf[:0]
	for rest := o.buf; len(rest) > 0; {
		n := frameLen(rest)
		if move(0, rest[:n]) {
			o.clients.add(-1, -n)
		} else {
			kept = append(kept, rest[:n]...)
		}
		rest = rest[n:]
	}
	o.buf = kept
	if o.queued != nil && len(o.buf) == 0 {
		o.queued.clear()
	}
	var w withdrawal
	for o.backlog.withdraw(&w, writeChunk, move) {
		o.mu.Unlock() // loops wait meanwhile
		o.mu.Lock()
	}
	if o.beside > 0 && (o.besideAt == inBuf && len(o.buf) == 0 ||
		o.besideAt == inBacklog && o.backlog.of(o.besideOf) == 0) {
		o.beside = 0
	}
	o.accountLocked()
	o.mu.Unlock()
	o.drained.Broadcast()
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
	if o.besideAt == inBatch {
		o.beside, o.besideAt = 0, inBuf
	}
	o.accountLocked()
	o.drained.Broadcast()
}

// accountLocked charges for what is allocated, once something has come or gone.
func (o *outbox) accountLocked() {
	o.noteRoomLocked()
	n := cap(o.buf) + cap(o.batch) + cap(o.spare) + o.backlog.memory()
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
	o.noteRoomLocked()
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
	n := len(o.buf) + len(o.batch) + o.backlog.bytes
	o.buf, o.clients = nil, tally{}
	o.backlog.reset()
	o.accountLocked()
	return n
}

// release closes the outbox and lets go of all it holds. The writer must have ended.
func (o *outbox) release() {
	o.close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf, o.batch, o.spare = nil, nil, nil
	o.backlog.reset()
	o.backlog = backlog{}
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
			if sent > 0 || isSecure(conn) || !errors.Is(err, os.ErrDeadlineExceeded) {
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
