package jsontext

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// LoneSurrogate returns where JSON, which is valid, has one half of a character that \u writes in two,
// -1 if it has none.
func LoneSurrogate(text []byte) int {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		n := escaped(text[i:])
		switch {
		case n < 0:
			i++ // what is escaped may be a backslash
		case !utf16.IsSurrogate(n):
			i += 5
		case utf16.DecodeRune(n, escaped(text[i+6:])) == utf8.RuneError:
			return i
		default:
			i += 11
		}
	}
	return -1
}

// escaped returns the number behind a \u that text begins with, -1 if it does not.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
