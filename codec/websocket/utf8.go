package websocket

import "unicode/utf8"

// utf8Prefix reports whether p can be the beginning of a UTF-8 text, and how many of its bytes are
// whole code points. The rest, at most 3 bytes, begins a code point that p cuts.
func utf8Prefix(p []byte) (n int, ok bool) {
	n = len(p)
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				n = i
			}
			break
		}
	}
	return n, utf8.Valid(p[:n])
}
