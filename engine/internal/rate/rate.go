// Package rate says how often a second something may happen. All limits per second of the gateway are
// made of it: connections of an address, packets, bytes and requests of a connection, frames of a
// worker.
//
// A Bucket is a token bucket in one number, and a Table has the buckets of many, by key. A Table knows
// of those alone that have used something within the last second or two, so who is idle costs nothing.
//
// Nothing here reads a clock. Times are ns on any clock that does not go back and starts above 0.
package rate

// Window is the time in which an empty bucket is full again, in ns: a bucket holds what one second
// allows.
const Window = 1_000_000_000

// A Bucket is the time at which it is full again. The zero Bucket is full.
type Bucket int64

// cost is how long n tokens take to come back when perSecond come in a second. n is below
// 1<<33, perSecond above 0 and below 1<<33.
func cost(n, perSecond int) int64 { return int64(n) * Window / int64(perSecond) }

// Take takes n tokens if the bucket has them.
func (b *Bucket) Take(now int64, n, perSecond int) bool {
	until := max(int64(*b), now) + cost(n, perSecond)
	if until > now+Window {
		return false
	}
	*b = Bucket(until)
	return true
}

// Spend takes n tokens also from a bucket that does not have them. It returns the ns until it has as
// many as were missing, 0 when none were.
func (b *Bucket) Spend(now int64, n, perSecond int) (wait int64) {
	*b = Bucket(max(int64(*b), now) + cost(n, perSecond))
	return max(int64(*b)-now-Window, 0)
}

// Left returns how many tokens the bucket has.
func (b Bucket) Left(now int64, perSecond int) int {
	free := min(now+Window-int64(b), Window)
	if free <= 0 {
		return 0
	}
	return int(free * int64(perSecond) / Window)
}
