package stamp

import (
	"encoding/json"
	"testing"
)

func TestNumberRoundTrip(t *testing.T) {
	for _, v := range []uint32{0, 1, 0xf, 0x10, 0x12345678, 0xdeadbeef, 1<<32 - 1} {
		var b [8]byte
		Put(b[:], v)
		if got, ok := Get(b[:]); !ok || got != v {
			t.Errorf("%#x: read back %#x, %v from %q", v, got, ok, b)
		}
		quoted, _ := json.Marshal(string(b[:]))
		if string(quoted) != `"`+string(b[:])+`"` {
			t.Errorf("%#x: %q changes in JSON", v, b)
		}
	}
	if _, ok := Get([]byte("abcdefgh")); ok {
		t.Error("padding taken for a number")
	}
	if _, ok := Get([]byte("@@@")); ok {
		t.Error("short text taken for a number")
	}
}

func TestSequence(t *testing.T) {
	last := ID(7, 1<<SequenceBits-1)
	if next := Next(last); next != ID(7, 0) || Publisher(next) != 7 {
		t.Errorf("after the last number: %#x", next)
	}
	for _, tt := range []struct {
		got, want uint32
		ahead     int32
	}{
		{5, 5, 0}, {7, 5, 2}, {4, 5, -1},
		{ID(3, 1), ID(3, 1<<24-2), 3}, // across the wrap
		{ID(3, 1<<24-1), ID(3, 0), -1},
	} {
		if a := Ahead(tt.got, tt.want); a != tt.ahead {
			t.Errorf("Ahead(%#x, %#x) = %d, want %d", tt.got, tt.want, a, tt.ahead)
		}
	}
}

func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		size           int
		hasDue, hasLag bool
	}{{8, false, false}, {15, false, false}, {16, true, false}, {23, true, false}, {24, true, true}, {100, true, true}} {
		b := make([]byte, tt.size)
		Fill(b)
		Write(b, Stamp{ID: ID(2, 9), Due: 77, Lag: 5})
		s, ok := Read(b)
		if !ok || s.ID != ID(2, 9) || s.HasDue != tt.hasDue || s.HasLag != tt.hasLag {
			t.Errorf("%d bytes: %+v %v", tt.size, s, ok)
		}
		if tt.hasLag && (s.Due != 77 || s.Lag != 5) {
			t.Errorf("%d bytes: %+v", tt.size, s)
		}
	}
}
