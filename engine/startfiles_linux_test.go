package engine

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStartWithoutFiles runs out of descriptors at each step of Start in turn.
func TestStartWithoutFiles(t *testing.T) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Skip(err)
	}
	before := takeFootprint(t)
	started := false
	for room := 0; room < 40 && !started; room++ {
		e, err := New(Config{Loops: 2})
		if err != nil {
			t.Fatal(err)
		}
		restrict(t, lim, room)
		err = e.Start()
		if rerr := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); rerr != nil {
			t.Fatal(rerr)
		}
		started = err == nil
		stopped := make(chan error, 1)
		go func() { stopped <- stopWithin(e, patience) }()
		select {
		case err := <-stopped:
			if err != nil {
				t.Errorf("with room for %d files: Stop: %v", room, err)
			}
		case <-time.After(2 * patience):
			t.Fatalf("with room for %d files Start says %v, and then Stop hangs", room, err)
		}
	}
	if !started {
		t.Error("never started")
	}
	before.check(t)
}

// restrict lets the process open room more files than it has open.
func restrict(t *testing.T, lim unix.Rlimit, room int) {
	t.Helper()
	used := map[int]bool{}
	for fd := range 4096 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			used[fd] = true
		}
	}
	n := 0
	for free := 0; ; n++ {
		if !used[n] {
			if free == room {
				break
			}
			free++
		}
	}
	lim.Cur = uint64(n)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Skip(err)
	}
}
