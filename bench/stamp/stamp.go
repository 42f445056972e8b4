// Package stamp writes into a message what its receiver needs to check it: who sent it, its number
// in the sender's sequence, when it was due and how late it left.
//
// A stamp is text that is the same inside and outside JSON and has a fixed length, so that it lies at a
// fixed place of every message of a run:
//
//	id    8 characters   publisher<<24 | sequence number
//	due   8 characters   ticks, if the message has room for 16
//	lag   8 characters   ticks between due and sending, if there is room for 24
//
// Eight characters carry 32 bits, four each, as '@' plus the bits: a number is read back with one load
// and three shifts.
//
// # Goroutines
//
// None, and no state.
package stamp

import "encoding/binary"

const (
	// Width is the length of one number in characters.
	Width = 8

	// MinSize is the least room a stamp needs: the id.
	MinSize = Width

	// TicksPerSecond: a tick is 100 ns. Ticks wrap after 429 s, far beyond any latency.
	TicksPerSecond = 10_000_000

	// SequenceBits of an id are the sequence number, the rest is the publisher.
	SequenceBits = 24
	sequenceMask = 1<<SequenceBits - 1

	// MaxPublishers is how many publishers ids can tell apart.
	MaxPublishers = 1 << (32 - SequenceBits)
)

const (
	zeros   = 0x4040404040404040 // "@@@@@@@@"
	nibbles = 0x0f0f0f0f0f0f0f0f
)

// A Stamp is what a message says about itself. HasDue and HasLag say whether it had room to.
type Stamp struct {
	ID             uint32
	Due            uint32 // ticks, modulo 2^32
	Lag            uint32 // ticks
	HasDue, HasLag bool
}

// ID joins a publisher, below MaxPublishers, and its sequence number, which wraps.
func ID(publisher int, sequence uint32) uint32 {
	return uint32(publisher)<<SequenceBits | sequence&sequenceMask
}

// Publisher is the sender in id.
func Publisher(id uint32) int { return int(id >> SequenceBits) }

// Next is the id that follows id from the same publisher.
func Next(id uint32) uint32 { return id&^sequenceMask | (id+1)&sequenceMask }

// Ahead is how far got's sequence number is ahead of want's, negative if it is behind.
func Ahead(got, want uint32) int32 {
	return int32((got-want)<<(32-SequenceBits)) >> (32 - SequenceBits)
}

// Ticks converts nanoseconds.
func Ticks(ns int64) uint32 { return uint32(uint64(ns) / 100) }

// Put writes v to the first 8 bytes of dst.
func Put(dst []byte, v uint32) {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & nibbles
	binary.BigEndian.PutUint64(dst, x|zeros)
}

// Word reads a number from its 8 characters, loaded big-endian. ok tells whether they are any.
func Word(x uint64) (v uint32, ok bool) {
	ok = x&^nibbles == zeros
	x &= nibbles
	x = (x | x>>4) & 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return uint32(x | x>>16), ok
}

// Get reads a number from the first 8 bytes of src.
func Get(src []byte) (uint32, bool) {
	if len(src) < Width {
		return 0, false
	}
	return Word(binary.BigEndian.Uint64(src))
}

// Write stamps dst, a message without quotes, with as much of s as it has room for. dst has at least
// MinSize bytes.
func Write(dst []byte, s Stamp) {
	Put(dst, s.ID)
	if len(dst) >= 2*Width {
		Put(dst[Width:], s.Due)
	}
	if len(dst) >= 3*Width {
		Put(dst[2*Width:], s.Lag)
	}
}

// Read reads what Write wrote; ok is false if src does not begin with a stamp.
func Read(src []byte) (s Stamp, ok bool) {
	if s.ID, ok = Get(src); !ok {
		return s, false
	}
	s.Due, s.HasDue = Get(src[Width:])
	if s.HasDue {
		s.Lag, s.HasLag = Get(src[2*Width:])
	}
	return s, true
}

// Fill makes dst padding that cannot be mistaken for a stamp.
func Fill(dst []byte) {
	const pad = "abcdefghijklmnopqrstuvwxyz0123456789"
	for i := range dst {
		dst[i] = pad[i%len(pad)]
	}
}
