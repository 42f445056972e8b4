package gateway

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// A failureGate counts refused logins per address: clients in the field reconnect at once when
// their token is refused, again and again. Clients without an address do not count.
type failureGate struct {
	limit atomic.Int64 // negative: none
	per   atomic.Int64 // ns
	used  atomic.Bool  // false until the first failure: nothing to look up

	mu      sync.Mutex
	windows map[netip.Addr]window // by address.Key
}

type window struct {
	ends  time.Time
	count int
}

// maxWindows bounds the memory an attacker with many addresses can take: 10 MiB or so.
const maxWindows = 1 << 17

func newFailureGate(limit int, per time.Duration) *failureGate {
	f := &failureGate{windows: make(map[netip.Addr]window)}
	f.setLimit(limit, per)
	return f
}

// setLimit holds for the failures that come; windows that are open stay open as long as they were
// to.
func (f *failureGate) setLimit(limit int, per time.Duration) {
	f.limit.Store(int64(limit))
	f.per.Store(int64(per))
}

// note counts one refused login.
func (f *failureGate) note(a netip.Addr, now time.Time) {
	if f.limit.Load() < 0 || !a.IsValid() {
		return
	}
	f.used.Store(true)
	a = address.Key(a)
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.windows[a]
	if !ok || now.After(w.ends) {
		if !ok && len(f.windows) >= maxWindows {
			f.sweep(now)
		}
		w = window{ends: now.Add(time.Duration(f.per.Load()))}
	}
	w.count++
	f.windows[a] = w
}

// banned reports whether an address has used up its failures.
func (f *failureGate) banned(a netip.Addr, now time.Time) bool {
	if f.limit.Load() < 0 || !f.used.Load() || !a.IsValid() {
		return false
	}
	a = address.Key(a)
	f.mu.Lock()
	defer f.mu.Unlock()
	w, ok := f.windows[a]
	if ok && now.After(w.ends) {
		delete(f.windows, a)
		return false
	}
	return ok && int64(w.count) >= f.limit.Load()
}

// sweep makes room: windows that are over go, and if there are none, some that are not.
func (f *failureGate) sweep(now time.Time) {
	for a, w := range f.windows {
		if now.After(w.ends) {
			delete(f.windows, a)
		}
	}
	for a := range f.windows {
		if len(f.windows) < maxWindows*3/4 {
			break
		}
		delete(f.windows, a)
	}
}
