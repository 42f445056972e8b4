package gateway

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

// Who shares an address with somebody that guesses tokens, behind a NAT for one, is not locked out
// with him. While an address is banned, a login of it goes on if it proves that it is no guess: a
// resumption ticket of ours, a token that cannot be guessed because it is signed or drawn at random,
// or one with which somebody has logged in here before.

// unguessable reports whether p's tokens prove themselves, so that a refused one says nothing about
// the next.
func unguessable(p login.Provider) bool {
	u, ok := p.(login.Unguessable)
	return ok && u.Unguessable()
}

// knownTokens remembers, as keyed hashes, the tokens that were good, for at least knownFor and as far
// as there is room.
type knownTokens struct {
	seed maphash.Seed

	mu          sync.Mutex
	now, before map[uint64]struct{} // what was good in the present period, and in the one before
	ends        time.Time           // of the present period
}

const (
	// knownFor is longer than a client that is not logged out stays away as a rule.
	knownFor = 24 * time.Hour
	// maxKnown bounds each of the two sets: some 2 MiB.
	maxKnown = 1 << 16
)

func newKnownTokens() *knownTokens { return &knownTokens{seed: maphash.MakeSeed()} }

// note remembers that a token was good.
func (k *knownTokens) note(token string, now time.Time) {
	h := maphash.String(k.seed, token)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn(now)
	if len(k.now) >= maxKnown {
		k.before, k.now = k.now, nil
	}
	if k.now == nil {
		k.now = make(map[uint64]struct{})
	}
	k.now[h] = struct{}{}
}

// known reports whether a token was good a while ago.
func (k *knownTokens) known(token string, now time.Time) bool {
	h := maphash.String(k.seed, token)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn(now)
	_, ok := k.now[h]
	if !ok {
		_, ok = k.before[h]
	}
	return ok
}

// turn begins a new period when the present one is over.
func (k *knownTokens) turn(now time.Time) {
	if now.Before(k.ends) {
		return
	}
	if now.Sub(k.ends) < knownFor {
		k.before = k.now
	} else {
		k.before = nil
	}
	k.now, k.ends = nil, now.Add(knownFor)
}
