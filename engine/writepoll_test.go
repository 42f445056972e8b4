package engine

import (
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startPoller runs a writePoller whose notices arrive on the channel.
func startPoller(t *testing.T) (*writePoller, chan Ref) {
	t.Helper()
	p, err := newWritePoller()
	if err != nil {
		t.Fatal(err)
	}
	notices := make(chan Ref, 1024)
	go p.run(func(ref Ref) { notices <- ref })
	t.Cleanup(p.close)
	return p, notices
}

// socketPair returns a pair of connected non-blocking sockets with small buffers.
func socketPair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unixPair()
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10)
	return fds[0], fds[1]
}

// fillSocket sends until fd takes no more.
func fillSocket(t *testing.T, fd int) (n int) {
	t.Helper()
	p := make([]byte, 4096)
	for {
		sent, errno := send(int32(fd), p, false)
		if errno == unix.EAGAIN {
			return n
		}
		if errno != 0 {
			t.Fatal(errno)
		}
		n += sent
	}
}

func emptySocket(t *testing.T, fd int) (n int) {
	t.Helper()
	p := make([]byte, 64<<10)
	for {
		got, err := unix.Read(fd, p)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += got
	}
}

func noNotice(t *testing.T, notices chan Ref, when string) {
	t.Helper()
	select {
	case ref := <-notices:
		t.Fatalf("%s: a notice for %x", when, ref)
	case <-time.After(30 * time.Millisecond):
	}
}

func wantNotice(t *testing.T, notices chan Ref, want Ref) {
	t.Helper()
	select {
	case ref := <-notices:
		if ref != want {
			t.Fatalf("a notice for %x, want %x", ref, want)
		}
	case <-time.After(patience):
		t.Fatalf("no notice for %x", want)
	}
}

func TestWritePollerOncePerArm(t *testing.T) {
	p, notices := startPoller(t)
	a, b := socketPair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	ref := makeRef(255, maxSlots-1, 1<<32-1) // all bits travel
	fillSocket(t, a)
	for i := range 5 {
		if err := p.arm(int32(a), ref, true, i > 0); err != nil {
			t.Fatal(err)
		}
		noNotice(t, notices, "full")
		emptySocket(t, b)
		wantNotice(t, notices, ref)
		emptySocket(t, b)
		noNotice(t, notices, "writable and not armed again")
		fillSocket(t, a)
	}
}

// A notice comes at once when the socket became writable before it was armed.
func TestWritePollerNotFull(t *testing.T) {
	p, notices := startPoller(t)
	a, b := socketPair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	if err := p.arm(int32(a), 7, true, false); err != nil {
		t.Fatal(err)
	}
	wantNotice(t, notices, 7)
}

func TestWritePollerRemove(t *testing.T) {
	p, notices := startPoller(t)
	a, b := socketPair(t)
	defer unix.Close(b)
	fillSocket(t, a)
	if err := p.arm(int32(a), 1, true, false); err != nil {
		t.Fatal(err)
	}
	dup, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	p.remove(int32(a))
	unix.Close(a)
	emptySocket(t, b)
	noNotice(t, notices, "removed")

	fillSocket(t, dup)
	if err := p.arm(int32(dup), 2, true, false); err != nil {
		t.Fatal(err)
	}
	emptySocket(t, b)
	wantNotice(t, notices, 2)
}

// Closing the descriptor takes it out; the peer's close is a notice.
func TestWritePollerCloses(t *testing.T) {
	p, notices := startPoller(t)
	a, b := socketPair(t)
	fillSocket(t, a)
	if err := p.arm(int32(a), 1, true, false); err != nil {
		t.Fatal(err)
	}
	unix.Close(a)
	time.Sleep(closeSettles)
	unix.Close(b)
	noNotice(t, notices, "closed by us")

	a, b = socketPair(t)
	defer unix.Close(a)
	fillSocket(t, a)
	if err := p.arm(int32(a), 2, true, false); err != nil {
		t.Fatal(err)
	}
	unix.Close(b)
	wantNotice(t, notices, 2)
}

// Who is not interested in room hears of a failure alone, and may change his mind.
func TestWritePollerFailureOnly(t *testing.T) {
	p, notices := startPoller(t)
	a, b := socketPair(t)
	defer unix.Close(a)
	if err := p.arm(int32(a), 1, false, false); err != nil {
		t.Fatal(err)
	}
	noNotice(t, notices, "writable")
	fillSocket(t, a)
	emptySocket(t, b)
	noNotice(t, notices, "writable again")
	if err := p.arm(int32(a), 2, true, true); err != nil {
		t.Fatal(err)
	}
	wantNotice(t, notices, 2)
	if err := p.arm(int32(a), 3, false, true); err != nil {
		t.Fatal(err)
	}
	noNotice(t, notices, "no longer interested")
	unix.Close(b)
	wantNotice(t, notices, 3)
}

// Many goroutines arm at once, as loops do; each socket gets its own notice.
func TestWritePollerManyLoops(t *testing.T) {
	p, notices := startPoller(t)
	const loops, each = 4, 50
	var wg sync.WaitGroup
	for loop := range loops {
		pairs := make([][2]int, each)
		for i := range pairs {
			pairs[i][0], pairs[i][1] = socketPair(t)
			fillSocket(t, pairs[i][0])
		}
		t.Cleanup(func() {
			for _, p := range pairs {
				unix.Close(p[0])
				unix.Close(p[1])
			}
		})
		wg.Go(func() {
			for i, pair := range pairs {
				if err := p.arm(int32(pair[0]), makeRef(loop, uint32(i), 1), true, false); err != nil {
					t.Error(err)
				}
				emptySocket(t, pair[1])
			}
		})
	}
	wg.Wait()
	seen := map[Ref]bool{}
	for range loops * each {
		select {
		case ref := <-notices:
			if seen[ref] {
				t.Fatalf("a second notice for %x", ref)
			}
			seen[ref] = true
		case <-time.After(patience):
			t.Fatalf("%d notices, want %d", len(seen), loops*each)
		}
	}
	noNotice(t, notices, "all done")
}

func TestWritePollerClose(t *testing.T) {
	before := openFiles(t)
	for range 50 {
		p, err := newWritePoller()
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			p.run(func(Ref) {})
			close(ended)
		}()
		p.close()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("run goes on after close")
		}
	}
	p, err := newWritePoller()
	if err != nil {
		t.Fatal(err)
	}
	p.abandon()
	if n := openFiles(t); n > before {
		t.Errorf("%d descriptors more than before", n-before)
	}
}

// openFiles counts this process's descriptors.
func openFiles(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(names)
}
