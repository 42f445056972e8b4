package wire

import (
	"encoding/binary"

	"github.com/sluicenet/sluice/bench/stamp"
)

// A Skimmer recognises pushes that differ from an earlier one in their stamp only, by the bytes in
// front of it, and hands out nothing but the stamp. Lengths are among those bytes, so that a match
// is a whole packet of the same shape.
//
// The zero Skimmer knows no shape yet; Learn gives it one.
type Skimmer struct {
	size    int // of a packet; 0: no shape
	at      int // of the stamp
	words   int
	want    [maxHead / 8]uint64
	mask    [maxHead / 8]uint64
	hasDue  bool
	hasLag  bool
	learned int
}

// maxHead is the longest head compared: WebSocket and GOSOC headers take 19 bytes together.
const maxHead = 40

// relearnLimit is how many shapes a Skimmer follows before it gives up: traffic of many shapes is
// not worth it.
const relearnLimit = 1000

// Learn takes the shape of packet, whose stamp lies at the offset at.
func (k *Skimmer) Learn(packet []byte, at int, s stamp.Stamp) {
	if k.learned++; k.learned > relearnLimit || at > maxHead || at < 0 {
		k.size = 0
		return
	}
	k.size, k.at, k.hasDue, k.hasLag = len(packet), at, s.HasDue, s.HasLag
	k.words = (at + 7) / 8
	for w := range k.words {
		k.mask[w] = ^uint64(0)
		if over := (w+1)*8 - at; over > 0 {
			k.mask[w] >>= 8 * over // little-endian: the bytes that belong to the stamp are on top
		}
		k.want[w] = binary.LittleEndian.Uint64(packet[w*8:]) & k.mask[w]
	}
}

// Size is the length of a packet of the learned shape, 0 if there is none.
func (k *Skimmer) Size() int { return k.size }

// Skim reads the stamp of the packet in front of src. ok is false unless it is whole and of the learned
// shape; it then takes Size bytes.
func (k *Skimmer) Skim(src []byte) (s stamp.Stamp, ok bool) {
	if k.size == 0 || len(src) < k.size {
		return s, false
	}
	for w := range k.words {
		if binary.LittleEndian.Uint64(src[w*8:])&k.mask[w] != k.want[w] {
			return s, false
		}
	}
	src = src[k.at:]
	if s.ID, ok = stamp.Word(binary.BigEndian.Uint64(src)); !ok {
		return s, false
	}
	if k.hasDue {
		s.Due, s.HasDue = stamp.Word(binary.BigEndian.Uint64(src[stamp.Width:]))
	}
	if k.hasLag {
		s.Lag, s.HasLag = stamp.Word(binary.BigEndian.Uint64(src[2*stamp.Width:]))
	}
	return s, true
}

// Run counts the whole packets in front of src that go on from s: of the learned shape, with ids
// that follow s.ID one by one, and with everything else of the stamp as it is in s. They take
// n*Size bytes.
//
// Messages that were published in one go are like that, and they are the many: this is the loop
// that has to be short.
func (k *Skimmer) Run(src []byte, s stamp.Stamp) (n int) {
	if k.size == 0 {
		return 0
	}
	var text [2 * stamp.Width]byte
	stamp.Put(text[:], s.Due)
	stamp.Put(text[stamp.Width:], s.Lag)
	due, lag := binary.BigEndian.Uint64(text[:]), binary.BigEndian.Uint64(text[stamp.Width:])
	want0, mask0, want1, mask1 := k.want[0], k.mask[0], k.want[1], k.mask[1]
	id, size, at := s.ID, k.size, k.at
	for len(src) >= size {
		if at > 0 && binary.LittleEndian.Uint64(src)&mask0 != want0 {
			return n
		}
		if at > 8 && binary.LittleEndian.Uint64(src[8:])&mask1 != want1 {
			return n
		}
		if k.words > 2 && !k.restMatches(src) {
			return n
		}
		mark := src[at:]
		id = stamp.Next(id)
		if got, ok := stamp.Word(binary.BigEndian.Uint64(mark)); got != id || !ok {
			return n
		}
		if k.hasDue && binary.BigEndian.Uint64(mark[stamp.Width:]) != due {
			return n
		}
		if k.hasLag && binary.BigEndian.Uint64(mark[2*stamp.Width:]) != lag {
			return n
		}
		n++
		src = src[size:]
	}
	return n
}

func (k *Skimmer) restMatches(src []byte) bool {
	for w := 2; w < k.words; w++ {
		if binary.LittleEndian.Uint64(src[w*8:])&k.mask[w] != k.want[w] {
			return false
		}
	}
	return true
}
