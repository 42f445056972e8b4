package link

import (
	"net/netip"
	"sync"
	"time"
)

// failures are the wrong tokens of late, by address. Peers without an address share one entry.
type failures struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]failure
}

type failure struct {
	last  time.Time
	count int
}

const (
	// failureMemory is how long a wrong token counts behind the last.
	failureMemory = time.Minute
	// leastDelay is what the first costs; each further one twice as much, up to mostDelay.
	leastDelay = 200 * time.Millisecond
	mostDelay  = 8 * time.Second
	// maxFailures bounds the memory, 300 KiB or so.
	maxFailures = 4096
)

// note counts a wrong token and returns how long its refusal is to be delayed.
func (f *failures) note(addr netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byAddr == nil {
		f.byAddr = make(map[netip.Addr]failure)
	}
	n, known := f.byAddr[addr]
	if now.Sub(n.last) > failureMemory {
		n.count = 0
	}
	if !known && len(f.byAddr) >= maxFailures {
		f.makeRoom(now)
	}
	delay := min(leastDelay<<min(n.count, 16), mostDelay)
	f.byAddr[addr] = failure{now, n.count + 1}
	return delay
}

// makeRoom forgets what is over or, if nothing is, some that is not.
func (f *failures) makeRoom(now time.Time) {
	for addr, n := range f.byAddr {
		if now.Sub(n.last) > failureMemory {
			delete(f.byAddr, addr)
		}
	}
	for addr := range f.byAddr {
		if len(f.byAddr) < maxFailures*3/4 {
			return
		}
		delete(f.byAddr, addr)
	}
}
