package wire

import (
	"encoding/binary"

	"github.com/sluicenet/sluice/bench/stamp"
)

// A Skimmer recognises pushes that differ from an earlier one in their stamp only, by the bytes in front of
// it, and hands out nothing but the stamp. Lengths are among those bytes, so that a match is a whole
// packet of the same shape.
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

// relearnLimit is how many shapes a Skimmer follows before it gives up: traffic of many shapes is not worth it.
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
