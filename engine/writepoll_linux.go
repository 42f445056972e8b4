//go:build !portable

package engine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A writePoller waits for sockets that were full. gnet only reads; a socket whose send was
// refused is armed here, once, and the loop hears of it through its mailbox.
type writePoller struct {
	fd   int // the epoll set
	stop int // an eventfd that ends run
	done chan struct{}
}

func newWritePoller() (*writePoller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &writePoller{fd: fd, stop: stop, done: make(chan struct{})}
	// Ref 0 names no connection, so it can stand for the eventfd.
	if err := p.control(unix.EPOLL_CTL_ADD, int32(stop), unix.EPOLLIN, 0); err != nil {
		unix.Close(stop)
		unix.Close(fd)
		return nil, err
	}
	return p, nil
}

// arm asks for one notice when fd can be written again, if room is of interest, or has failed. added
// says whether fd is in the set.
func (p *writePoller) arm(fd int32, ref Ref, room, added bool) error {
	op := unix.EPOLL_CTL_ADD
	if added {
		op = unix.EPOLL_CTL_MOD
	}
	events := uint32(unix.EPOLLONESHOT)
	if room {
		events |= unix.EPOLLOUT
	}
	return p.control(op, fd, events, ref)
}

// remove takes fd out of the set, for a descriptor whose file stays open under another number.
func (p *writePoller) remove(fd int32) {
	_ = p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

func (p *writePoller) control(op int, fd int32, events uint32, ref Ref) error {
	ev := unix.EpollEvent{Events: events}
	*(*Ref)(unsafe.Pointer(&ev.Fd)) = ref // Fd and Pad are the event's 64 bits of user data
	if err := unix.EpollCtl(p.fd, op, int(fd), &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// run hands each notice to deliver until close is called.
func (p *writePoller) run(deliver func(Ref)) {
	defer close(p.done)
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(p.fd, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for i := range max(n, 0) {
			ref := *(*Ref)(unsafe.Pointer(&events[i].Fd))
			if ref == 0 {
				return
			}
			deliver(ref)
		}
	}
}

// abandon closes a poller that never ran.
func (p *writePoller) abandon() {
	unix.Close(p.stop)
	unix.Close(p.fd)
}

func (p *writePoller) close() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(p.stop, one[:])
	<-p.done
	p.abandon()
}
