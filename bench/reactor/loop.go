package reactor

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

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

	// Readable hands over all bytes of s not consumed before, and now, when they were read. n is
	// how many are done with. An error closes s, and Closed gets it.
	Readable(s *Socket, b []byte, now int64) (n int, err error)

	// Drained says that s has sent everything, after Send had to leave bytes behind.
	Drained(s *Socket)

	// Closed says that s is gone by the peer's doing or by an error of Readable; io.EOF is an
	// orderly end.
	Closed(s *Socket, err error)

	// Tick is called after every batch of events, and returns when it wants to be called next; a
	// time that has passed means: do not sleep.
	Tick(now int64) (next int64)
}

// A Loop is a poller, its sockets and what they need.
type Loop struct {
	handler Handler
	poller  *poller
	buf     []byte
	plain   []byte    // decrypted
	sockets []*Socket // by slot
	free    []int32
	dirty   []*Socket
	now     int64

	waited atomic.Int64 // ns asleep, for Waited

	mu      sync.Mutex
	posts   []func()
	posted  atomic.Bool
	stopped bool
}

// NewLoop makes a loop. Close it if you do not Run it.
func NewLoop(h Handler) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, fmt.Errorf("reactor: %w", err)
	}
	return &Loop{handler: h, poller: p, buf: make([]byte, readSize)}, nil
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
		l.poller.wake()
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

// Waited is how long the loop has slept in all. A loop that never sleeps is the bottleneck of a
// measurement. Any goroutine may call it.
func (l *Loop) Waited() time.Duration { return time.Duration(l.waited.Load()) }

// Now is when the loop last looked at the clock, in the nanoseconds of the function Now.
func (l *Loop) Now() int64 { return l.now }

// Run works until a posted function calls Stop. All sockets are closed then, without Closed.
func (l *Loop) Run() error {
	defer l.shut()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sleepExactly()
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
			l.serve(l.poller.event(i))
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
	l.poller.close()
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

// wait looks for events. After a busy turn it looks without sleeping first.
func (l *Loop) wait(next int64, busy bool) (int, error) {
	if busy || next <= l.now {
		n, err := l.poller.look()
		if err != nil && err != unix.EINTR {
			return 0, fmt.Errorf("reactor: %w", err)
		}
		if err == nil && n > 0 {
			return n, nil
		}
	}
	before := Now()
	span := min(next-before, longestWait)
	if span <= 0 {
		return 0, nil
	}
	n, err := l.poller.sleep(span)
	l.waited.Add(Now() - before)
	if err == unix.EINTR {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reactor: %w", err)
	}
	return n, nil
}

// An event says what a socket is ready for.
type event struct {
	slot, generation int32 // slot -1: somebody has posted
	in, out          bool  // a failure is in
}

func (l *Loop) serve(ev event) {
	if ev.slot < 0 {
		l.poller.awake()
		return
	}
	s := l.sockets[ev.slot]
	if s.generation != ev.generation || s.fd < 0 {
		return // closed by an event of the same batch
	}
	if s.connecting {
		l.connected(s)
		return
	}
	if ev.out {
		if l.flush(s); s.fd < 0 {
			return
		}
		if s.Queued() == 0 && (s.tls == nil || s.tls.shaken) {
			l.handler.Drained(s)
		}
	}
	if ev.in && s.fd >= 0 {
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
