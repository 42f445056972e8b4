package websocket

import (
	"testing"
	"unicode/utf8"
)

var utf8Table = []struct {
	name, hex string
	whole     bool // a text by itself
	prefix    bool // can be the beginning of one
}{
	{"empty", ``, true, true},
	{"ASCII", `48656c6c6f`, true, true},
	{"Greek, Autobahn 6.2.1", `cebae1bdb9cf83cebcceb5`, true, true},
	{"U+10FFFF", `f48fbfbf`, true, true},
	{"U+FFFE, a noncharacter", `efbfbe`, true, true},
	{"U+0000", `00`, true, true},
	{"one byte of two", `61 c3`, false, true},
	{"two bytes of three", `61 e282`, false, true},
	{"one byte of four", `f0`, false, true},
	{"three bytes of four", `f09f98`, false, true},
	{"above U+10FFFF, seen at its second byte", `f490`, false, false},
	{"above U+10FFFF", `f4908080`, false, false},
	{"surrogate, seen at its second byte", `eda0`, false, false},
	{"surrogate", `eda080`, false, false},
	{"overlong slash", `c0af`, false, false},
	{"overlong, seen at its first byte", `c1`, false, false},
	{"overlong of three, seen at its second byte", `e080`, false, false},
	{"overlong of four, seen at its second byte", `f08f`, false, false},
	{"lone continuation", `80`, false, false},
	{"four continuations", `80808080`, false, false},
	{"five bytes", `f888808080`, false, false},
	{"0xff", `61ff`, false, false},
	{"wrong before the cut", `ff 61e282`, false, false},
	{"sequence broken off", `e28261`, false, false},
}

func TestUTF8Prefix(t *testing.T) {
	for _, v := range utf8Table {
		p := unhexes(v.hex)
		n, ok := utf8Prefix(p)
		if ok != v.prefix || (ok && n == len(p)) != v.whole || v.whole != utf8.Valid(p) {
			t.Errorf("%s: n=%d of %d, ok=%v", v.name, n, len(p), ok)
		}
	}
}

// TestUTF8PrefixShort compares all strings of up to four bytes, of those that matter, with the
// definition: a prefix is what some bytes can complete.
func TestUTF8PrefixShort(t *testing.T) {
	alphabet := []byte{0x00, 'a', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff}
	completable := func(p []byte) bool {
		if utf8.Valid(p) {
			return true
		}
		for _, a := range alphabet {
			one := append(append([]byte(nil), p...), a)
			if utf8.Valid(one) {
				return true
			}
			for _, b := range alphabet {
				two := append(one[:len(p)+1:len(p)+1], b)
				if utf8.Valid(two) {
					return true
				}
				for _, c := range alphabet {
					if utf8.Valid(append(two[:len(p)+2:len(p)+2], c)) {
						return true
					}
				}
			}
		}
		return false
	}
	var try func(p []byte)
	try = func(p []byte) {
		n, ok := utf8Prefix(p)
		if want := completable(p); ok != want {
			t.Fatalf("%x: %v, want %v", p, ok, want)
		}
		if ok && (!utf8.Valid(p[:n]) || len(p)-n > 3) {
			t.Fatalf("%x: %d bytes said to be whole", p, n)
		}
		if !ok || len(p) == 3 {
			return // what follows a bad prefix is bad
		}
		for _, c := range alphabet {
			try(append(p[:len(p):len(p)], c))
		}
	}
	try(nil)
}
