//go:build !portable

package reactor

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller is an epoll set. It belongs to its loop's goroutine, but for wake.
type poller struct {
	epfd    int
	wakefd  int
	events  [eventBatch]unix.EpollEvent
	noWait2 bool // the kernel has no epoll_pwait2
}

func newPoller() (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{epfd: epfd, wakefd: wakefd}
	if err := p.control(unix.EPOLL_CTL_ADD, wakefd, unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	unix.Close(p.epfd)
	unix.Close(p.wakefd)
}

func (p *poller) control(op, fd int, ev unix.EpollEvent) error {
	if err := unix.EpollCtl(p.epfd, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// add waits for a socket that connects: for input and for room.
func (p *poller) add(s *Socket) error {
	return p.control(unix.EPOLL_CTL_ADD, s.fd, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: s.slot, Pad: s.generation})
}

// modify waits for room according to s.writing.
func (p *poller) modify(s *Socket) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: s.slot, Pad: s.generation}
	if s.writing {
		ev.Events |= unix.EPOLLOUT
	}
	return p.control(unix.EPOLL_CTL_MOD, s.fd, ev)
}

// remove has nothing to do: closing a descriptor takes it out of the set.
func (p *poller) remove(*Socket) {}

// wake ends a sleep. Any goroutine may call it.
func (p *poller) wake() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(p.wakefd, one[:]) // a full counter wakes too
}

// awake answers the event that wake causes.
func (p *poller) awake() {
	var b [8]byte
	_, _ = unix.Read(p.wakefd, b[:])
}

// look finds events without sleeping: a raw system call that does not tell the scheduler costs half
// as much.
func (p *poller) look() (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.events)), eventBatch, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sleep waits span ns for events.
func (p *poller) sleep(span int64) (int, error) {
	if !p.noWait2 {
		ts := unix.NsecToTimespec(span)
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.events)), eventBatch, uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.ENOSYS {
			return 0, errno
		}
		p.noWait2 = true
	}
	ms := span / int64(time.Millisecond)
	if ms == 0 {
		runtime.Gosched() // no timer is that fine: spin
		return unix.EpollWait(p.epfd, p.events[:], 0)
	}
	return unix.EpollWait(p.epfd, p.events[:], int(ms))
}

// event returns the i-th event found.
func (p *poller) event(i int) event {
	ev := &p.events[i]
	return event{ev.Fd, ev.Pad, ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0, ev.Events&unix.EPOLLOUT != 0}
}
