package worker

import (
	"context"
	"sync"
)

// An outbox is the queue between the callers of a connection and its writer: frames one behind the
// other, so that all that gathered during one write goes out with the next.
type outbox struct {
	mu      sync.Mutex
	buf     []byte        // frames the writer has not taken yet
	writing int           // bytes it has taken and not written yet
	limit   int           // of both together, looked at before a frame is added
	moved   chan struct{} // closed at the next progress; nil: nobody waits for it
	idle    bool          // the writer sleeps
	wake    chan struct{} // capacity 1; wakes it
	err     error         // why there will be no more writes
}

func (o *outbox) init(limit int) {
	o.limit = limit
	o.wake = make(chan struct{}, 1)
}

// lock waits for room and returns the buffer to append frames to. The caller hands it back with
// unlock, soon: others wait. While it waits it urges in, the inbox of the same link.
func (o *outbox) lock(ctx context.Context, in *inbox) ([]byte, error) {
	o.mu.Lock()
	if o.err == nil && o.queued() >= o.limit {
		in.urge()
		defer in.calm()
	}
	for o.err == nil && o.queued() >= o.limit {
		if err := o.waitLocked(ctx); err != nil {
			o.mu.Unlock()
			return nil, err
		}
	}
	if o.err != nil {
		o.mu.Unlock()
		return nil, o.err
	}
	return o.buf, nil
}

// unlock takes back the buffer of lock.
func (o *outbox) unlock(buf []byte) {
	o.buf = buf
	wake := o.idle && len(buf) > 0
	if wake {
		o.idle = false
	}
	o.mu.Unlock()
	if wake {
		o.wake <- struct{}{} // has room: only whoever ends the idleness sends
	}
}

// flush waits until everything is written.
func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && o.queued() > 0 {
		if err := o.waitLocked(ctx); err != nil {
			return err
		}
	}
	return o.err
}

func (o *outbox) queued() int { return len(o.buf) + o.writing }

// waitLocked waits, unlocked, for the writer to get on or ctx to end.
func (o *outbox) waitLocked(ctx context.Context) error {
	if o.moved == nil {
		o.moved = make(chan struct{})
	}
	moved := o.moved
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-moved:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *outbox) progressLocked() {
	if o.moved != nil {
		close(o.moved)
		o.moved = nil
	}
}

// take is the writer's: it waits for frames and takes them all. empty is the slice of the time
// before, to be filled next.
func (o *outbox) take(empty []byte) (batch []byte, err error) {
	if cap(empty) > 2*o.limit {
		empty = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && o.err == nil {
		o.idle = true
		o.mu.Unlock()
		<-o.wake
		o.mu.Lock()
	}
	batch, o.buf = o.buf, empty[:0]
	o.writing = len(batch)
	return batch, o.err
}

// wrote is the writer's: n bytes of its batch are out.
func (o *outbox) wrote(n int) {
	o.mu.Lock()
	o.writing -= n
	o.progressLocked()
	o.mu.Unlock()
}

// close ends all waiting with err. Only the first error counts.
func (o *outbox) close(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	wake := o.idle
	o.idle = false
	o.progressLocked()
	o.mu.Unlock()
	if wake {
		o.wake <- struct{}{}
	}
}
