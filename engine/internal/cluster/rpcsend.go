package cluster

import "sync"

// outgoing are the frames that wait for the goroutine that sends: publishing may block for a second.
type outgoing struct {
	limit  int // bytes
	charge func(n int)
	wake   chan struct{} // a token: there is something

	mu     sync.Mutex
	list   []outFrame
	bytes  int
	freed  chan struct{} // closed when there is room again; nil while there is
	closed bool
}

// An outFrame is a message for the Bus. number is the call that it is part of, 0 for none.
type outFrame struct {
	subject string
	frame   []byte
	number  uint64
}

// outCost is what one costs beside its frame, in bytes.
const outCost = 64

// defaultQueue is how many bytes may wait.
const defaultQueue = 8 << 20

func (o *outgoing) init(limit int, charge func(int)) {
	if limit <= 0 {
		limit = defaultQueue
	}
	o.limit, o.charge, o.wake = limit, charge, make(chan struct{}, 1)
}

// put adds all of frames, which become its own, or none. One command may reach beyond the limit.
func (o *outgoing) put(subject string, frames [][]byte, number uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.bytes >= o.limit {
		return false
	}
	for _, f := range frames {
		o.list = append(o.list, outFrame{subject, f, number})
		o.add(cap(f) + outCost)
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return true
}

// add counts bytes. o.mu is held.
func (o *outgoing) add(n int) {
	o.bytes += n
	o.charge(n)
	switch {
	case o.bytes >= o.limit && o.freed == nil:
		o.freed = make(chan struct{})
	case o.bytes < o.limit && o.freed != nil:
		close(o.freed)
		o.freed = nil
	}
}

// take takes all that waits, in memory that replaces old. It counts until sent is called for each.
func (o *outgoing) take(old []outFrame) []outFrame {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list = old[:0]
	return list
}

// sent takes a frame off the account.
func (o *outgoing) sent(f *outFrame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(-cap(f.frame) - outCost)
	*f = outFrame{}
}

// room returns nil if something may be put now, else what is closed when that is so again.
func (o *outgoing) room() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.freed == nil {
		return nil
	}
	return o.freed
}

func (o *outgoing) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// close forgets what waits and takes no more.
func (o *outgoing) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.list = true, nil
	o.add(-o.bytes)
}

// send is the goroutine that sends.
func (r *rpc) send() {
	var list []outFrame
	for {
		select {
		case <-r.stop:
			return
		case <-r.out.wake:
		}
		list = r.out.take(list)
		for i := range list {
			f := &list[i]
			err := r.bus.Publish(f.subject, seal(f.frame))
			number := f.number
			r.out.sent(f)
			if err == nil {
				continue
			}
			r.stats.unsent.Add(1)
			r.log.Warn("a command for other nodes was not sent", "subject", list[i].subject, "err", err)
			r.mu.Lock()
			c := r.calls[number]
			r.mu.Unlock()
			if c != nil {
				r.give(c, ErrAway)
			}
		}
		if cap(list) > 4096 {
			list = nil
		}
	}
}

// echo sends the node's other connection an echo.
func (r *rpc) echo(sent int64) {
	r.out.put(r.subjects.node(r.self.id), [][]byte{appendEcho(nil, r.self, sent)}, 0) // one that is lost shows
}
