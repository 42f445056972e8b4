package cluster

// seenNumbers is how many numbers of a node's commands a seen covers. A command that comes so much later
// than others that it is not covered any more was not waited for in any case.
const seenNumbers = 1 << 16

// A seen knows which of a node's commands have come: of the last seenNumbers numbers, each with one bit.
// Who hears the bus can say again what was said there, and what is done twice, a cast or a forced end,
// would be told to clients twice.
type seen struct {
	top  uint64 // the highest number that has come
	bits [seenNumbers / 64]uint64
}

// seenCost is how many bytes it takes.
const seenCost = seenNumbers / 8

// has reports whether a number has come, or is too old for that to be known.
func (s *seen) has(n uint64) bool {
	switch {
	case n > s.top:
		return false
	case s.top-n >= seenNumbers:
		return true
	}
	return s.bits[n/64%uint64(len(s.bits))]&(1<<(n%64)) != 0
}

// add notes a number, which has reports false for.
func (s *seen) add(n uint64) {
	switch {
	case n <= s.top:
	case n-s.top >= seenNumbers:
		clear(s.bits[:])
		s.top = n
	default:
		for s.top < n {
			s.top++
			s.bits[s.top/64%uint64(len(s.bits))] &^= 1 << (s.top % 64)
		}
	}
	s.bits[n/64%uint64(len(s.bits))] |= 1 << (n % 64)
}
