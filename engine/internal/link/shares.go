package link

import (
	"hash/maphash"

	"github.com/sluicenet/sluice/engine"
)

// shares are the bytes that each client has in a queue, in constant memory however many clients
// there are: a count-min sketch. A client's bytes are added to one counter of every row, and its
// share is the least of them, so two clients are taken for one only where all rows agree. A share
// is never less than what the client has.
//
//	row 0  [..........X.....................]   one counter of each row per client,
//	row 1  [.....................X..........]   chosen by nine bits of its hash
//	row 2  [..X.............................]
//	row 3  [.................X..............]
type shares struct {
	rows [shareRows][shareCounters]uint32
	used bool
}

const (
	shareRows     = 4
	shareBits     = 9
	shareCounters = 1 << shareBits
	sharesSize    = shareRows * shareCounters * 4 // bytes
)

// shareSeed makes it impossible to choose connections that share counters.
var shareSeed = maphash.MakeSeed()

// shareOf is what an outbox knows a client by, other than 0: its connection, whatever its id is.
func shareOf(ref engine.Ref) uint64 { return max(maphash.Comparable(shareSeed, ref), 1) }

func (s *shares) add(client uint64, bytes int) {
	s.used = true
	for i := range s.rows {
		s.rows[i][client%shareCounters] += uint32(bytes)
		client >>= shareBits
	}
}

func (s *shares) of(client uint64) int {
	least := ^uint32(0)
	for i := range s.rows {
		least = min(least, s.rows[i][client%shareCounters])
		client >>= shareBits
	}
	return int(least)
}

func (s *shares) clear() {
	if s.used {
		*s = shares{}
	}
}
