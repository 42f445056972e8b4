package dev

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deeply arrays and objects may nest, as in encoding/json.
const maxDepth = 10_000

// valid reports whether b is one JSON value (RFC 8259) with space around it at most. It accepts
// what encoding/json.Valid accepts, at a fraction of its cost: it goes through strings, which are
// most of most messages, eight bytes at a time. It does not recurse, so nesting costs a bit a level.
func valid(b []byte) bool {
	var few [4]uint64 // a bit per level: is it an object?
	levels := few[:]
	depth, object := 0, false
	i := space(b, 0)
	for {
		// A value begins at i, behind its name when it is in an object.
		if object {
			if i = quoted(b, i); i < 0 {
				return false
			}
			if i = space(b, i); i == len(b) || b[i] != ':' {
				return false
			}
			i = space(b, i+1)
		}
		if i == len(b) {
			return false
		}
		switch c := b[i]; c {
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
			if depth>>6 == len(levels) {
				levels = append(levels, 0)
			}
			object = c == '{'
			levels[depth>>6] &^= 1 << (depth & 63)
			if object {
				levels[depth>>6] |= 1 << (depth & 63)
			}
			i = space(b, i+1)
			if i == len(b) || b[i] != '}' && b[i] != ']' {
				continue
			}
		case '"':
			i = quoted(b, i)
		case 't':
			i = word(b, i, "true")
		case 'f':
			i = word(b, i, "false")
		case 'n':
			i = word(b, i, "null")
		default:
			i = number(b, i)
		}
		if i < 0 {
			return false
		}
		// Behind a value come the ends of what it was in, or a comma.
		for {
			i = space(b, i)
			if depth == 0 {
				return i == len(b)
			}
			if i == len(b) {
				return false
			}
			c := b[i]
			i++
			if c == ',' {
				i = space(b, i)
				break
			}
			if c != '}' && c != ']' || object != (c == '}') {
				return false
			}
			depth--
			object = levels[depth>>6]>>(depth&63)&1 == 1
		}
	}
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// quoted returns the place behind the string that begins at i, or -1.
func quoted(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	if i == len(b) || b[i] != '"' {
		return -1
	}
	for i++; ; {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			quote, back := x^ones*'"', x^ones*'\\'
			// Each term has the high bit of the first byte set that is below a space, a quote or a
			// backslash. Bytes behind that one may be marked wrongly: they are looked at again.
			if m := ((x-ones*' ')&^x | (quote-ones)&^quote | (back-ones)&^back) & highs; m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return -1
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = escaped(b, i+1); i < 0 {
				return -1
			}
		case c < ' ':
			return -1
		default:
			i++
		}
	}
}

// escaped returns the place behind the escape whose character is at i, or -1.
func escaped(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if i+5 > len(b) {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if !digit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

func word(b []byte, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

func digit(c byte) bool { return c-'0' <= 9 }

// number returns the place behind the number that begins at i, or -1.
func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits returns the place behind one digit or more, or -1.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && digit(b[i]) {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
