package lograte

import (
	"hash/maphash"
	"log/slog"
	"net/netip"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// A key says whom a line is about: an address, else a user, else a connection. The zero key is nobody.
type key struct {
	of   kind
	hash uint64
}

// A kind is what is known of whom a line is about. Of several the highest counts.
type kind uint8

const (
	nobody kind = iota
	connection
	user
	peer
)

// kinds are the attributes that say whom a line is about.
var kinds = map[string]kind{"peer": peer, "user": user, "uniqId": connection}

// keyParts is how many keys it takes to have all lines of a place.
const keyParts = 4

var seed = maphash.MakeSeed()

// keyOf returns whom a line is about.
func (h *handler) keyOf(r *slog.Record) key {
	k := h.about
	r.Attrs(func(a slog.Attr) bool {
		k.take(a)
		return k.of != peer
	})
	return k
}

// take takes an attribute if it says more than what is known.
func (k *key) take(a slog.Attr) {
	of := kinds[a.Key]
	if of <= k.of {
		return
	}
	v := a.Value.Resolve()
	if of == peer {
		if p, ok := v.Any().(netip.AddrPort); ok {
			*k = peerKey(p.Addr())
			return
		}
	}
	text := v.String()
	if text == "" {
		return
	}
	if of == peer {
		// Another port is no other peer.
		if p, err := netip.ParseAddrPort(text); err == nil {
			*k = peerKey(p.Addr())
			return
		}
	}
	*k = key{of, maphash.String(seed, text)}
}

// peerKey is the key of an address; one that is invalid is nobody's.
func peerKey(a netip.Addr) key {
	if !a.IsValid() {
		return key{}
	}
	return key{peer, maphash.Comparable(seed, address.Key(a))}
}

// spend reports whether a line about k may go on, as far as k goes, and counts it.
func (w *window) spend(k key, perSecond int) bool {
	if k.of == nobody {
		return true
	}
	n := w.keyed[k]
	if n >= max(perSecond/keyParts, 1) {
		return false
	}
	if w.keyed == nil {
		w.keyed = make(map[key]int)
	}
	w.keyed[k] = n + 1
	return true
}
