//go:build !linux || portable

package reactor

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A poller waits with poll(2), which every system has: each wait costs time in proportion to all
// sockets. It belongs to its loop's goroutine, but for wake.
type poller struct {
	set        []unix.PollFd // the pipe, then by slot; a descriptor below 0 is passed over
	generation []int32       // by slot
	pipe       [2]int
	found      []event
	next       int // where to look first: a batch does not hold all
}

func newPoller() (*poller, error) {
	p := &poller{found: make([]event, 0, eventBatch)}
	if err := unix.Pipe(p.pipe[:]); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	for _, fd := range p.pipe {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			p.close()
			return nil, fmt.Errorf("pipe: %w", err)
		}
	}
	p.set = []unix.PollFd{{Fd: int32(p.pipe[0]), Events: unix.POLLIN}}
	return p, nil
}

func (p *poller) close() {
	for _, fd := range p.pipe {
		unix.Close(fd)
	}
}

// add waits for a socket that connects: for input and for room.
func (p *poller) add(s *Socket) error {
	for len(p.generation) <= int(s.slot) {
		p.set = append(p.set, unix.PollFd{Fd: -1})
		p.generation = append(p.generation, 0)
	}
	p.set[s.slot+1] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN | unix.POLLOUT}
	p.generation[s.slot] = s.generation
	return nil
}

// modify waits for room according to s.writing.
func (p *poller) modify(s *Socket) error {
	p.set[s.slot+1].Events = unix.POLLIN
	if s.writing {
		p.set[s.slot+1].Events |= unix.POLLOUT
	}
	return nil
}

// remove forgets a socket that is about to be closed.
func (p *poller) remove(s *Socket) {
	if int(s.slot) < len(p.generation) {
		p.set[s.slot+1] = unix.PollFd{Fd: -1}
	}
}

// wake ends a sleep. Any goroutine may call it.
func (p *poller) wake() { _, _ = unix.Write(p.pipe[1], []byte{0}) } // a full pipe wakes too

// awake answers the event that wake causes.
func (p *poller) awake() {
	var b [64]byte
	_, _ = unix.Read(p.pipe[0], b[:])
}

// look finds events without sleeping.
func (p *poller) look() (int, error) { return p.poll(0) }

// sleep waits span ns for events.
func (p *poller) sleep(span int64) (int, error) {
	ms := span / int64(time.Millisecond)
	if ms == 0 {
		runtime.Gosched() // no timer is that fine: spin
	}
	return p.poll(int(ms))
}

func (p *poller) poll(ms int) (int, error) {
	p.found = p.found[:0]
	n, err := unix.Poll(p.set, ms)
	if err != nil {
		if err == unix.EAGAIN { // as EINTR: try again (poll(2))
			err = unix.EINTR
		}
		return 0, err
	}
	i := p.next
	for range p.set {
		if n == 0 || len(p.found) == eventBatch {
			break
		}
		if i >= len(p.set) {
			i = 0
		}
		if p.set[i].Revents != 0 {
			p.found = append(p.found, p.at(i))
			n--
		}
		i++
	}
	p.next = i
	return len(p.found), nil
}

// at makes the event of a place in the set.
func (p *poller) at(place int) event {
	ready := p.set[place].Revents
	ev := event{slot: int32(place) - 1, in: ready&(unix.POLLIN|unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0, out: ready&unix.POLLOUT != 0}
	if ev.slot >= 0 {
		ev.generation = p.generation[ev.slot]
	}
	return ev
}

// event returns the i-th event found.
func (p *poller) event(i int) event { return p.found[i] }
