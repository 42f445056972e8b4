package engine

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/rate"
)

// addresses bound what one address may have of the gateway: its connections, and how many new ones a
// second. It knows of an address while it has a connection, and for a second or two afterwards.
// Acceptors and loops share it.
type addresses struct {
	engine *Engine

	mu      sync.Mutex
	open    map[addressKey]uint32  // connections
	recent  rate.Table[addressKey] // of those that have connected a moment ago
	all     rate.Bucket            // of all of them
	charged int64                  // bytes, on the Engine's account
	swept   bool                   // the first loop comes by to forget, see Loop.sweep
}

// An addressKey is an address.Key in a number, of which a map with very many needs less memory. IPv4
// takes the keys of 0:ffff::/32, in which no IPv6 host is.
type addressKey uint64

const (
	// maxRecent bounds what somebody with very many addresses can take: about 4 MiB in all. Beyond it
	// the addresses that connected the longest ago are forgotten first, within the second: each of
	// them may connect as if it had not, and Config.ConnectRate is what holds them back.
	maxRecent = 1 << 16
	// addressCost is about what an address costs in one of the maps, in bytes.
	addressCost = 32

	// What Config's zero stands for on a listener that other machines reach.
	defaultPerAddress  = 1000
	defaultAddressRate = 100
)

func keyOf(a netip.Addr) addressKey {
	a = address.Key(a)
	if a.Is4() {
		b := a.As4()
		return addressKey(0xffff<<32 | uint64(binary.BigEndian.Uint32(b[:])))
	}
	b := a.As16()
	return addressKey(binary.BigEndian.Uint64(b[:8]))
}

// bound returns the limit that n stands for: zero is def, negative is none, which is 0.
func bound(n, def int) int {
	if n == 0 {
		n = def
	}
	return max(n, 0)
}

// enter counts a new connection of an address on a listener, or says why there can be none. Whoever
// enters leaves. Peers without an address, on unix sockets, are not counted, but by ConnectRate.
func (a *addresses) enter(addr netip.Addr, public bool) (why Reason, ok bool) {
	limits := a.engine.limits.Load()
	most, perSecond := limits.MaxPerAddress, limits.ConnectRatePerAddress
	if public {
		most, perSecond = bound(most, defaultPerAddress), bound(perSecond, defaultAddressRate)
	}
	now := (a.engine.Now() + 1) * 1_000_000
	a.mu.Lock()
	defer a.mu.Unlock()
	var key addressKey
	if addr.IsValid() {
		key = keyOf(addr)
		switch b := a.recent.At(key, now); {
		case most > 0 && int(a.open[key]) >= most:
			return ReasonAddressLimit, false
		case perSecond > 0 && b.Left(now, perSecond) < 1:
			return ReasonAddressRate, false
		}
	}
	// The address's own limits come first: what they refuse is taken from nobody else.
	if n := limits.ConnectRate; n > 0 && !a.all.Take(now, 1, n) {
		return ReasonConnectRate, false
	}
	if addr.IsValid() {
		if perSecond > 0 {
			a.recent.Take(key, now, 1, perSecond)
		}
		if a.open == nil {
			a.open = make(map[addressKey]uint32)
		}
		a.open[key]++
	}
	a.charge()
	if !a.swept && a.recent.Len() > 0 {
		a.swept = true
		a.engine.loops[0].mailbox.postTick()
	}
	return 0, true
}

// forget lets go of the addresses that have not connected of late. It reports whether there are others
// left, for which it is to be called again.
func (a *addresses) forget() (more bool) {
	now := (a.engine.Now() + 1) * 1_000_000
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.swept {
		return false
	}
	a.recent.Forget(now)
	a.charge()
	a.swept = a.recent.Len() > 0
	return a.swept
}

// leave ends what enter began.
func (a *addresses) leave(key addressKey) {
	now := (a.engine.Now() + 1) * 1_000_000
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.open[key]; n > 1 {
		a.open[key] = n - 1
	} else {
		delete(a.open, key)
	}
	a.recent.Forget(now)
	a.charge()
}

// charge brings the gauge up to date.
func (a *addresses) charge() {
	n := int64(len(a.open)+a.recent.Len()) * addressCost
	if n != a.charged {
		a.engine.Charge(KindAddresses, n-a.charged)
		a.charged = n
	}
}

// count returns how many addresses have connections.
func (a *addresses) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.open)
}

// leaveAddress takes c off the count of its address. Its peer must be known still.
func (l *Loop) leaveAddress(c *Conn) {
	if c.flags&flagCounted != 0 {
		c.flags &^= flagCounted
		l.engine.addresses.leave(keyOf(c.Peer().Addr()))
	}
}
