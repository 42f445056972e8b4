package topic

import (
	"sync"
	"unsafe"
)

// A Position is a place in a topic's history: behind the message of that number.
type Position struct {
	// Epoch tells one history of a topic from another: a topic that was forgotten, or another
	// process, begins a new one.
	Epoch uint64
	// Seq is the number of the message, 0: before the first. Numbers rise from message to message: one
	// by one, from 1 on, where the History gives them out.
	Seq uint64
}

// A Stream is the history of one topic: its numbers, and the messages that are kept.
type Stream struct {
	// order is held by who gives out numbers, until the messages are on their way to every loop: so
	// each loop gets them in the order of their numbers.
	order sync.Mutex
	// heard is, per loop, the number of the last message that has reached the loop. A loop touches its
	// own alone.
	heard []uint64

	name  string
	epoch uint64 // 0: it has not begun
	began uint64 // the number that it has begun behind

	// What follows is guarded by the History's lock.
	list     *ageList // nil: forgotten
	segments []*segment
	head     int // of segments, the first that is there
	// first is a bound: all messages that have this number or a greater one are kept, up to next, the
	// bound of what is to come.
	first, next uint64
	kept        int    // messages
	cut         uint32 // messages at the front of the first segment that are kept no more
	held        bool   // it is forgotten by End alone
	open        bool   // older messages than those from first on may be known elsewhere
	opened      int64  // ms, when it began, or of the last message that went for want of room
	idle        idlePlace
}

// streamOverhead is what a stream costs beside its name and its places for loops, in bytes: itself and
// its entry in a map.
const streamOverhead = int64(unsafe.Sizeof(Stream{})) + 64

// Name returns the topic's name.
func (s *Stream) Name() string { return s.name }

// Epoch returns what the stream's positions have in common.
func (s *Stream) Epoch() uint64 { return s.epoch }

// Lock is held around Append until the message is on its way to all loops, and around a subscription
// that wants to know where it begins. It is held for a moment only.
func (s *Stream) Lock() { s.order.Lock() }

// Unlock ends Lock.
func (s *Stream) Unlock() { s.order.Unlock() }

// Begun reports whether the stream has numbers. One of a History whose numbers are given begins with
// History.Begin.
func (s *Stream) Begun() bool { return s.epoch > 0 }

// Began returns the number behind which the stream has begun, 0 where numbers are given out here.
func (s *Stream) Began() uint64 { return s.began }

// Heard returns the number of the last message that has reached a loop. It is called on that loop.
func (s *Stream) Heard(loop int) uint64 { return max(s.heard[loop], s.began) }

// Hear notes that a message has reached a loop, on that loop. Numbers only rise.
func (s *Stream) Hear(loop int, seq uint64) { s.heard[loop] = max(s.heard[loop], seq) }

func (s *Stream) cost() int64 {
	return streamOverhead + int64(len(s.name)) + 8*int64(len(s.heard))
}

// empty reports whether nothing is kept.
func (s *Stream) empty() bool { return s.head == len(s.segments) }

// find returns the place in segments of the one that holds number seq or, when that is gone, of the
// first behind it.
func (s *Stream) find(seq uint64) int {
	low, high := s.head, len(s.segments)
	for low < high {
		mid := int(uint(low+high) >> 1)
		if s.segments[mid].end() <= seq {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// compact gives up the room of segments that are gone.
func (s *Stream) compact() {
	if s.head == len(s.segments) {
		s.segments, s.head = nil, 0
		return
	}
	if s.head >= 16 && s.head*2 >= len(s.segments) {
		n := copy(s.segments, s.segments[s.head:])
		clear(s.segments[n:])
		s.segments, s.head = s.segments[:n], 0
	}
}
