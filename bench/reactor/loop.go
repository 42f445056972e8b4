package reactor

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrStopped is what sockets are closed with when their loop ends.
var ErrStopped = errors.New("reactor: loop stopped")

const (
	// readSize is what one read may bring. It stays in a core's second-level cache.
	readSize = 256 << 10

	// eventBatch bounds the work between two ticks: 64 full reads are a few milliseconds.
	eventBatch = 64

	// longestWait bounds a wait for events when no tick is due; posts end it at once.
	longestWait = int64(time.Second)
)

// A Handler is what a loop calls, on its goroutine.
type Handler interface {
	// Connected says how a Dial ended. With an error the socket is gone.
	Connected(s *Socket, err error)

	// Readable hands over all bytes of s not consumed before, and now, when they were read. n is how many
	// are done with. An error closes s, and Closed gets it.
	Readable(s *Socket, b []byte, now int64) (n int, err error)

	// Drained says that s has sent everything, after Send had to leave bytes behind.
	Drained(s *Socket)

	// Closed says that s is gone by the peer's doing or by an error of Readable; io.EOF is an orderly end.
	Closed(s *Socket, err error)

	// Tick is called after every batch of events, and returns when it wants to be called next; a time that
	// has passed means: do not sleep.
	Tick(now int64) (next int64)
}

// A Loop is an epoll set and what it needs.
type Loop struct {
	handler Handler
	epfd    int
	wakefd  int
	buf     []byte
	events  [eventBatch]unix.EpollEvent
	sockets []*Socket // by slot
	free    []int32
	dirty   []*Socket
	now     int64
	noWait2 bool // the kernel has no epoll_pwait2

	waited atomic.Int64 // ns asleep, for Waited

	mu      sync.Mutex
	posts   []func()
	posted  atomic.Bool
	stopped bool
}

// NewLoop makes a loop. Close it if you do not Run it.
func NewLoop(h Handler) (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("reactor: epoll_create1: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epfd)
		return nil, fmt.Errorf("reactor: eventfd: %w", err)
	}
	l := &Loop{handler: h, epfd: epfd, wakefd: wakefd, buf: make([]byte, readSize)}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakefd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		l.closeFDs()
		return nil, fmt.Errorf("reactor: epoll_ctl: %w", err)
	}
	return l, nil
}

func (l *Loop) closeFDs() {
	unix.Close(l.epfd)
	unix.Close(l.wakefd)
}

// Post runs f on the loop, after what was posted before. It reports false if the loop has stopped. Any
// goroutine may call it.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.posts = append(l.posts, f)
	if !l.posted.Swap(true) {
		one := [8]byte{7: 1}
		_, _ = unix.Write(l.wakefd, one[:]) // a full counter wakes too
	}
	return true
}

// Call is Post, and waits until f has run.
func (l *Loop) Call(f func()) bool {
	done := make(chan struct{})
	if !l.Post(func() { f(); close(done) }) {
		return false
	}
	<-done
	return true
}

// Waited is how long the loop has slept in all. A loop that never sleeps is the bottleneck of a measurement. Any
// goroutine may call it.
func (l *Loop) Waited() time.Duration { return time.Duration(l.waited.Load()) }

// Now is when the loop last looked at the clock, in the nanoseconds of the function Now.
func (l *Loop) Now() int64 { return l.now }

// Run works until a posted function calls Stop. All sockets are closed then, without Closed.
func (l *Loop) Run() error {
	defer l.shut()
	// The kernel may let a thread oversleep by 50 us, half of what a request takes. It is told not to, thread by thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	l.now = Now()
	next := l.now
	busy := true
	for !l.stopped { // written on this goroutine only
		n, err := l.wait(next, busy)
		if err != nil {
			return err
		}
		busy = n > 0
		l.now = Now()
		for i := range n {
			l.serve(&l.events[i])
		}
		if l.posted.Load() {
			l.runPosts()
		}
		next = l.handler.Tick(l.now)
		l.flushDirty()
	}
	return nil
}

// Stop ends Run. On the loop's goroutine only.
func (l *Loop) Stop() {
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
}

func (l *Loop) shut() {
	l.runPosts() // posted before Stop; a Call must not wait for ever
	for _, s := range l.sockets {
		if s.fd >= 0 {
			unix.Close(s.fd)
			s.fd = -1
		}
	}
	l.closeFDs()
}

func (l *Loop) runPosts() {
	l.mu.Lock()
	posts := l.posts
	l.posts = nil
	l.posted.Store(false)
	l.mu.Unlock()
	for _, f := range posts {
		f()
	}
}

// wait fills l.events. After a busy turn it looks without sleeping first: a raw system call that does not
// tell the scheduler costs half as much.
func (l *Loop) wait(next int64, busy bool) (int, error) {
	if busy || next <= l.now {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epfd), uintptr(unsafe.Pointer(&l.events)), eventBatch, 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return 0, fmt.Errorf("reactor: epoll_wait: %w", errno)
		}
		if errno == 0 && n > 0 {
			return int(n), nil
		}
	}
	before := Now()
	span := min(next-before, longestWait)
	if span <= 0 {
		return 0, nil
	}
	n, err := l.sleep(span)
	l.waited.Add(Now() - before)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reactor: epoll_wait: %w", err)
	}
	return n, nil
}

func (l *Loop) sleep(span int64) (int, error) {
	if !l.noWait2 {
		ts := unix.NsecToTimespec(span)
		n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd), uintptr(unsafe.Pointer(&l.events)), eventBatch, uintptr(unsafe.Pointer(&ts)), 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.ENOSYS {
			return 0, errno
		}
		l.noWait2 = true
	}
	ms := span / int64(time.Millisecond)
	if ms == 0 {
		runtime.Gosched() // no timer is that fine: spin
		return unix.EpollWait(l.epfd, l.events[:], 0)
	}
	return unix.EpollWait(l.epfd, l.events[:], int(ms))
}

func (l *Loop) serve(ev *unix.EpollEvent) {
	if ev.Fd < 0 {
		var b [8]byte
		_, _ = unix.Read(l.wakefd, b[:])
		return
	}
	s := l.sockets[ev.Fd]
	if s.generation != ev.Pad || s.fd < 0 {
		return // closed by an event of the same batch
	}
	if s.connecting {
		l.connected(s)
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		if l.flush(s); s.fd < 0 {
			return
		}
		if len(s.out) == 0 {
			l.handler.Drained(s)
		}
	}
	if ev.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && s.fd >= 0 {
		l.read(s)
	}
	if s.fd >= 0 && s.dirty {
		l.flush(s)
	}
}

func (l *Loop) flushDirty() {
	for i, s := range l.dirty {
		l.dirty[i] = nil
		s.listed = false
		if s.fd >= 0 && s.dirty {
			l.flush(s)
		}
	}
	l.dirty = l.dirty[:0]
}

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func rawSend(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
