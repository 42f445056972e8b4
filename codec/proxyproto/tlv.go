package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
)

// A Type says what the value of a TLV is.
type Type uint8

// The types that are registered. Those from 0xe0 are for applications and experiments.
const (
	TypeALPN      Type = 0x01
	TypeAuthority Type = 0x02 // the host name that the client has asked for
	TypeCRC32C    Type = 0x03
	TypeNoop      Type = 0x04
	TypeUniqueID  Type = 0x05
	TypeSSL       Type = 0x20
	TypeNetNS     Type = 0x30
)

const (
	tlvHead     = 3 // bytes before the value
	maxUniqueID = 128
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	noChecksum [crc32.Size]byte
)

// Values returns the TLVs' types and values, in order. A value points into h.TLVs.
func (h *Header) Values() iter.Seq2[Type, []byte] {
	return func(yield func(Type, []byte) bool) {
		for b := h.TLVs; len(b) >= tlvHead; {
			n := tlvHead + int(binary.BigEndian.Uint16(b[1:]))
			if n > len(b) || !yield(Type(b[0]), b[tlvHead:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// AppendTLV encodes a TLV after dst. Value must be shorter than 64 KiB. Append fills in the value of a
// TypeCRC32C, which is four bytes long.
func AppendTLV(dst []byte, t Type, value []byte) []byte {
	dst = append(dst, byte(t))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}

// whole returns where the first TLV of src from off on is that runs past its end, -1 when none does.
func whole(src []byte, off int) int {
	for off < len(src) {
		at := off
		if off += tlvHead; off <= len(src) {
			off += int(binary.BigEndian.Uint16(src[at+1:]))
		}
		if off > len(src) {
			return at
		}
	}
	return -1
}

// checkTLVs checks the TLVs of a header, which are whole and begin at off.
func checkTLVs(src []byte, off int) error {
	sum := 0 // where the checksum is
	for off < len(src) {
		n := int(binary.BigEndian.Uint16(src[off+1:]))
		switch t := Type(src[off]); {
		case t == TypeCRC32C && (n != crc32.Size || sum != 0):
			return malformed(off, ErrChecksum)
		case t == TypeCRC32C:
			sum = off + tlvHead
		case t == TypeUniqueID && n > maxUniqueID:
			return malformed(off, ErrUniqueID)
		}
		off += tlvHead + n
	}
	if sum != 0 && binary.BigEndian.Uint32(src[sum:]) != checksum(src, sum) {
		return malformed(sum, ErrChecksum)
	}
	return nil
}

// fillChecksum puts the checksum of src, a header whose TLVs begin at off, where there is a place for
// one.
func fillChecksum(src []byte, off int) {
	h := Header{TLVs: src[off:]}
	for t, value := range h.Values() {
		off += tlvHead
		if t == TypeCRC32C && len(value) == crc32.Size {
			binary.BigEndian.PutUint32(value, checksum(src, off))
			return
		}
		off += len(value)
	}
}

// checksum returns that of a whole header whose checksum is at off, where it counts as zero.
func checksum(src []byte, off int) uint32 {
	sum := crc32.Update(0, castagnoli, src[:off])
	sum = crc32.Update(sum, castagnoli, noChecksum[:])
	return crc32.Update(sum, castagnoli, src[off+crc32.Size:])
}
