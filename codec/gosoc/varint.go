package gosoc

// A varint is a length in Compact: 7 bits a byte, low group first, 0x80 for "more follows". More
// bytes than the value takes are allowed, up to four; so no varint is above 2^28-1.
const (
	maxVarint    = 4
	maxRemaining = 1<<(7*maxVarint) - 1
)

// varint reads the varint at the front of src, of n bytes. n is 0 if src ends inside it and
// negative if its fourth byte says that there is a fifth.
func varint(src []byte) (v, n int) {
	if len(src) > 0 && src[0] < 0x80 {
		return int(src[0]), 1 // most packets are short
	}
	for i, b := range src[:min(len(src), maxVarint)] {
		v |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, i + 1
		}
	}
	if len(src) < maxVarint {
		return 0, 0
	}
	return 0, -1
}

// appendVarint appends v, 0 to 2^28-1, in as few bytes as it takes.
func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// varintSize is how many bytes appendVarint appends.
func varintSize(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}
