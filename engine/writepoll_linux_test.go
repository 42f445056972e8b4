//go:build !portable

package engine

import (
	"testing"

	"golang.org/x/sys/unix"
)

// closeSettles is how long the poller may keep a closed descriptor's file open.
const closeSettles = 0

func TestWritePollerAddTwice(t *testing.T) {
	p, _ := startPoller(t)
	a, b := socketPair(t)
	defer unix.Close(a)
	defer unix.Close(b)
	fillSocket(t, a)
	for i := range 2 {
		if err := p.arm(int32(a), 1, true, false); (err != nil) != (i == 1) {
			t.Errorf("adding a descriptor, time %d: %v", i+1, err)
		}
	}
}

// The poller is found by asking, among several and with other descriptors in between.
func TestFindPoller(t *testing.T) {
	sets := make([]int, 3)
	for i := range sets {
		a, b := socketPair(t)
		defer unix.Close(a)
		defer unix.Close(b)
		set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(set)
		sets[i] = set
		if got := findPoller(int32(a)); got != -1 {
			t.Errorf("in no set: %d", got)
		}
		if err := unix.EpollCtl(set, unix.EPOLL_CTL_ADD, a, &unix.EpollEvent{Events: readEvents}); err != nil {
			t.Fatal(err)
		}
		if got := findPoller(int32(a)); got != int32(set) {
			t.Errorf("found in %d, want %d", got, set)
		}
	}
}
