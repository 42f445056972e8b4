package gateway

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// A failureGate counts refused logins, per address and per user whose login they were to be: clients in
// the field reconnect at once when their token is refused, again and again, and some guess.
//
// An address with too many is banned, each time for twice as long as the time before. A user has no
// ban: somebody else would bring it about. While too many guesses are made at a user's token, from
// whatever addresses, each of them bans its address at once; the right token is as good as ever.
//
// Times are ms on the engine's clock: a step of the time of day ends no ban and prolongs none.
type failureGate struct {
	addresses bans[netip.Addr] // by address.Key; those without an address do not count
	users     bans[uint64]     // by hash
	seed      maphash.Seed
}

func newFailureGate(c *Config, charge func(bytes int64)) *failureGate {
	f := &failureGate{seed: maphash.MakeSeed()}
	f.addresses.charge, f.users.charge = charge, charge
	f.setLimits(c)
	return f
}

// setLimits holds for the failures that come; bans last as long as they were to.
func (f *failureGate) setLimits(c *Config) {
	f.addresses.setLimit(c.LoginFailures, c.LoginFailuresPer, c.LoginBanMax)
	f.users.setLimit(c.UserFailures, c.UserFailuresPer, 0)
}

// note counts one refused login, of a user if the provider has said whose. It reports for how long the
// address is banned from now on, 0 for not at all.
func (f *failureGate) note(a netip.Addr, user string, now int64) (ban time.Duration) {
	all := false
	if user != "" {
		h := maphash.String(f.seed, user)
		f.users.note(h, now, false)
		all = f.users.banned(h, now)
	}
	if !a.IsValid() {
		return 0
	}
	return f.addresses.note(address.Key(a), now, all)
}

// banned reports whether an address is.
func (f *failureGate) banned(a netip.Addr, now int64) bool {
	return a.IsValid() && f.addresses.banned(address.Key(a), now)
}

// bans are the failures of many, by key, and their bans.
type bans[K comparable] struct {
	limit  atomic.Int64 // within per; negative: none
	per    atomic.Int64 // ms, and the length of a first ban
	most   atomic.Int64 // ms, of the longest one
	used   atomic.Bool  // false until the first failure: nothing to look up
	total  atomic.Uint64
	charge func(bytes int64)

	mu      sync.Mutex
	windows map[K]window
}

// A window is a time in which failures are counted, or a ban.
type window struct {
	ends   int64 // ms
	calm   int64 // ms, since when it has not been banned
	count  int32 // failures
	level  uint8 // bans, but for those that are forgotten
	banned bool
}

const (
	// maxWindows bounds the memory an attacker with many addresses can take: 10 MiB or so. Beyond it
	// those that are not banned are forgotten first.
	maxWindows = 1 << 17
	// windowCost is about what a window costs, in bytes.
	windowCost = 80
	maxLevel   = 32
)

func (b *bans[K]) setLimit(limit int, per, most time.Duration) {
	b.limit.Store(int64(limit))
	b.per.Store(max(per.Milliseconds(), 1))
	b.most.Store(max(most, per).Milliseconds())
}

// length returns how long a ban of a level above 0 is.
func (b *bans[K]) length(level uint8) int64 {
	most, n := b.most.Load(), b.per.Load()
	for ; level > 1 && n < most; level-- {
		n *= 2
	}
	return max(min(n, most), 1)
}

// settle brings w up to now: what is over is over, and of bans one is forgotten for each time as long
// as that ban was.
func (b *bans[K]) settle(w *window, now int64) {
	if now < w.ends {
		return
	}
	if w.banned {
		w.calm = w.ends
	}
	w.banned, w.count = false, 0
	for w.level > 0 && now-w.calm >= b.length(w.level) {
		w.calm += b.length(w.level)
		w.level--
	}
}

// note counts a failure, or with all as many as there may be. It returns how long the ban is that
// begins with it.
func (b *bans[K]) note(key K, now int64, all bool) time.Duration {
	limit := b.limit.Load()
	if limit < 0 {
		return 0
	}
	b.used.Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	w, ok := b.windows[key]
	switch {
	case ok:
		b.settle(&w, now)
	case len(b.windows) >= maxWindows:
		b.sweep(now)
	}
	if w.banned { // a login that was under way
		return 0
	}
	if w.count == 0 {
		w.ends = now + b.per.Load()
	}
	w.count++
	begins := int64(w.count) >= limit || all
	if begins {
		w.banned = true
		w.level = min(w.level+1, maxLevel)
		w.ends = now + b.length(w.level)
		b.total.Add(1)
	}
	if b.windows == nil {
		b.windows = make(map[K]window)
	}
	before := len(b.windows)
	b.windows[key] = w
	b.charge(int64(len(b.windows)-before) * windowCost)
	if !begins {
		return 0
	}
	return time.Duration(w.ends-now) * time.Millisecond
}

// banned reports whether a key is.
func (b *bans[K]) banned(key K, now int64) bool {
	if b.limit.Load() < 0 || !b.used.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w, ok := b.windows[key]
	if !ok {
		return false
	}
	b.settle(&w, now)
	if now >= w.ends && w.level == 0 {
		delete(b.windows, key)
		b.charge(-windowCost)
	}
	return w.banned
}

func (b *bans[K]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.windows)
}

// sweep makes room: windows that say nothing any more go, then some of those that are not banned, then
// any.
func (b *bans[K]) sweep(now int64) {
	before := len(b.windows)
	for _, goes := range []func(*window) bool{
		func(w *window) bool { return now >= w.ends && w.level == 0 },
		func(w *window) bool { return !w.banned && len(b.windows) > maxWindows*3/4 },
		func(w *window) bool { return len(b.windows) > maxWindows*3/4 },
	} {
		for key, w := range b.windows {
			if b.settle(&w, now); goes(&w) {
				delete(b.windows, key)
			}
		}
	}
	b.charge(int64(len(b.windows)-before) * windowCost)
}

// expire lets go of windows that say nothing any more, of at most n that it looks at.
func (b *bans[K]) expire(now int64, n int) {
	if !b.used.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.windows)
	for key, w := range b.windows {
		if n--; n < 0 {
			break
		}
		if b.settle(&w, now); now >= w.ends && w.level == 0 {
			delete(b.windows, key)
		}
	}
	b.charge(int64(len(b.windows)-before) * windowCost)
}
