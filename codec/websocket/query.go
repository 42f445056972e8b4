package websocket

import "bytes"

// QueryGet is the first value of key in an undecoded query, decoded: %XX is a byte and '+' a space.
// ok is false if key is not there; pairs that cannot be decoded or hold a ';' do not count, as in
// net/url. The value borrows rawQuery when there was nothing to decode.
func QueryGet(rawQuery []byte, key string) (value []byte, ok bool) {
	for len(rawQuery) > 0 {
		var pair []byte
		pair, rawQuery, _ = bytes.Cut(rawQuery, []byte{'&'})
		if len(pair) == 0 || bytes.IndexByte(pair, ';') >= 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte{'='})
		name, ok := unescape(name)
		if !ok || string(name) != key {
			continue
		}
		if value, ok = unescape(value); ok {
			return value, true
		}
	}
	return nil, false
}

// unescape decodes a name or value; it allocates only if there is something to decode.
func unescape(b []byte) ([]byte, bool) {
	first := bytes.IndexAny(b, "%+")
	if first < 0 {
		return b, true
	}
	out := append(make([]byte, 0, len(b)), b[:first]...)
	for i := first; i < len(b); i++ {
		switch c := b[i]; c {
		case '+':
			out = append(out, ' ')
		case '%':
			if i+2 >= len(b) {
				return nil, false
			}
			high, low := unhex(b[i+1]), unhex(b[i+2])
			if high < 0 || low < 0 {
				return nil, false
			}
			out = append(out, byte(high<<4|low))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out, true
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
