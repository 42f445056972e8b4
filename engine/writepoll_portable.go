//go:build portable

package engine

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// A writePoller waits for sockets that were full. gnet only reads; a socket whose send was
// refused is armed here, once, and the loop hears of it through its mailbox. This one uses poll(2),
// which every system has: each wait costs time in proportion to the sockets that are full.
type writePoller struct {
	wakeup [2]int // a pipe that ends a wait
	done   chan struct{}

	mu      sync.Mutex
	armed   map[int32]interest // by descriptor
	waking  bool               // a byte is in the pipe
	closing bool
}

// interest is what an armed descriptor waits for.
type interest struct {
	ref  Ref
	room bool
}

// pollWait is the longest wait in ms while sockets are armed. A poll(2) in progress keeps a file that
// has been closed meanwhile open, and its FIN back.
const pollWait = 10

func newWritePoller() (*writePoller, error) {
	p := &writePoller{done: make(chan struct{}), armed: make(map[int32]interest)}
	if err := unix.Pipe(p.wakeup[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	for _, fd := range p.wakeup {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			p.abandon()
			return nil, fmt.Errorf("pipe: %w", err)
		}
	}
	return p, nil
}

// arm asks for one notice when fd can be written again, if room is of interest, or has failed.
func (p *writePoller) arm(fd int32, ref Ref, room, _ bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed[fd] = interest{ref, room}
	return p.wakeLocked()
}

// remove forgets fd, for a descriptor whose file stays open under another number.
func (p *writePoller) remove(fd int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.armed, fd)
}

func (p *writePoller) wakeLocked() error {
	if p.waking {
		return nil
	}
	if _, err := unix.Write(p.wakeup[1], []byte{0}); err != nil {
		return fmt.Errorf("write to a pipe: %w", err)
	}
	p.waking = true
	return nil
}

// run hands each notice to deliver until close is called.
func (p *writePoller) run(deliver func(Ref)) {
	defer close(p.done)
	var (
		set     []unix.PollFd
		waiting []interest // of set, in its order
		ready   []Ref
	)
	for {
		var ok bool
		if set, waiting, ok = p.gather(set[:0], waiting[:0]); !ok {
			return
		}
		timeout := -1
		if len(set) > 1 {
			timeout = pollWait
		}
		if _, err := unix.Poll(set, timeout); err != nil {
			if err == unix.EINTR || err == unix.EAGAIN {
				continue
			}
			return
		}
		ready = p.collect(ready[:0], set, waiting)
		for _, ref := range ready {
			deliver(ref)
		}
	}
}

// gather returns what to wait for: the pipe and the armed sockets. It reports false once the poller is
// to end.
func (p *writePoller) gather(set []unix.PollFd, waiting []interest) ([]unix.PollFd, []interest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waking {
		var b [1]byte
		_, _ = unix.Read(p.wakeup[0], b[:])
		p.waking = false
	}
	set = append(set, unix.PollFd{Fd: int32(p.wakeup[0]), Events: unix.POLLIN})
	waiting = append(waiting, interest{})
	for fd, in := range p.armed {
		var events int16
		if in.room {
			events = unix.POLLOUT
		}
		set = append(set, unix.PollFd{Fd: fd, Events: events})
		waiting = append(waiting, in)
	}
	return set, waiting, !p.closing
}

// collect takes the sockets that are ready out of those that are armed, unless they were removed or
// armed anew during the wait. A descriptor that has been closed is forgotten without a notice.
func (p *writePoller) collect(ready []Ref, set []unix.PollFd, waiting []interest) []Ref {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, pfd := range set {
		in := waiting[i]
		if i == 0 || pfd.Revents == 0 || p.armed[pfd.Fd] != in {
			continue
		}
		delete(p.armed, pfd.Fd)
		if pfd.Revents&unix.POLLNVAL == 0 {
			ready = append(ready, in.ref)
		}
	}
	return ready
}

// abandon closes a poller that never ran.
func (p *writePoller) abandon() {
	for _, fd := range p.wakeup {
		unix.Close(fd)
	}
}

func (p *writePoller) close() {
	p.mu.Lock()
	p.closing = true
	_ = p.wakeLocked()
	p.mu.Unlock()
	<-p.done
	p.abandon()
}
