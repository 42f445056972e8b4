package longbridge

// maxMetadataString is the longest key or value: 15 bits of length.
const maxMetadataString = 1<<15 - 1

// NextMetadata reads the first pair of src, the metadata of a version 2 packet,
// and returns what follows it. The slices point into src. The key is as sent:
// compare it without regard to case, and let a later pair of one key win.
//
// Call it while rest has bytes:
//
//	for rest := metadata; len(rest) > 0; {
//		key, value, rest, err = longbridge.NextMetadata(rest)
//	}
func NextMetadata(src []byte) (key, value, rest []byte, err error) {
	if key, rest, err = nextString(src); err != nil {
		return nil, nil, nil, err
	}
	if len(rest) == 0 {
		return nil, nil, nil, ErrMetadataNoValue
	}
	if value, rest, err = nextString(rest); err != nil {
		return nil, nil, nil, err
	}
	return key, value, rest, nil
}

// nextString reads a length and its bytes: 0 to 127 in one byte; 128 to 32767 in
// two, of which the first has its high bit set.
func nextString(src []byte) (s, rest []byte, err error) {
	if len(src) == 0 {
		return nil, nil, ErrMetadataShort
	}
	n, src := int(src[0]), src[1:]
	if n > 127 {
		if len(src) == 0 {
			return nil, nil, ErrMetadataShort
		}
		n, src = n&0x7f<<8|int(src[0]), src[1:]
		if n <= 127 {
			return nil, nil, ErrMetadataLength
		}
	}
	if n > len(src) {
		return nil, nil, ErrMetadataShort
	}
	return src[:n:n], src[n:], nil
}

// CheckMetadata reports what is wrong with src, if anything, without keeping
// any of it. A packet whose metadata fails is refused even if nobody reads it.
func CheckMetadata(src []byte) error {
	for len(src) > 0 {
		var err error
		if _, _, src, err = NextMetadata(src); err != nil {
			return err
		}
	}
	return nil
}

// MetadataMap copies src to a map of lower-case keys, in which the last of equal
// keys wins. It is nil for empty metadata.
func MetadataMap(src []byte) (map[string]string, error) {
	if len(src) == 0 {
		return nil, nil
	}
	m := make(map[string]string)
	for len(src) > 0 {
		key, value, rest, err := NextMetadata(src)
		if err != nil {
			return nil, err
		}
		m[string(appendLower(nil, key))] = string(value)
		src = rest
	}
	return m, nil
}

// AppendMetadata encodes a pair after dst, the key in lower case. It fails with
// ErrMetadataString if either exceeds 32767 bytes. Whether the sum fits is found
// when the packet is encoded.
func AppendMetadata(dst []byte, key, value string) ([]byte, error) {
	if len(key) > maxMetadataString || len(value) > maxMetadataString {
		return dst, ErrMetadataString
	}
	dst = appendStringLength(dst, len(key))
	dst = appendLower(dst, key)
	dst = appendStringLength(dst, len(value))
	return append(dst, value...), nil
}

func appendStringLength(dst []byte, n int) []byte {
	if n > 127 {
		return append(dst, 0x80|byte(n>>8), byte(n))
	}
	return append(dst, byte(n))
}

// appendLower lowers ASCII letters only: that keeps the length, and keys beyond
// ASCII have come in lower case from a client that sends them by the rules.
func appendLower[S string | []byte](dst []byte, s S) []byte {
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if 'A' <= c && c <= 'Z' {
			dst[start+i] = c + 'a' - 'A'
		}
	}
	return dst
}
