package gosoc

import (
	"errors"
	"strings"
	"testing"
)

// headerSizeOf is the size of the header at the front of a whole packet.
func headerSizeOf(f Form, src []byte) int {
	if f == Fixed6 {
		return 6
	}
	size := 2
	for src[size-1] >= 0x80 {
		size++
	}
	return size
}

func TestParseHeaderEveryPrefix(t *testing.T) {
	forAll(t, func(t *testing.T, form Form, v vector) {
		src := raw(v.wire)
		size := headerSizeOf(form, src)
		for i := range len(src) + 1 {
			h, err := form.ParseHeader(src[:i])
			if err != nil {
				t.Fatalf("%d bytes: %v", i, err)
			}
			if i < size && h != (Header{}) {
				t.Errorf("%d of %d bytes: %+v", i, size, h)
			}
			if i >= size && (h.Size != size || h.Len() != len(src)) {
				t.Errorf("%d bytes: %+v", i, h)
			}
		}
	})
}

// A connection's bytes come in any pieces: the packets must be the same.
func TestParseHeaderEverySplit(t *testing.T) {
	for _, form := range []Form{Compact, Fixed6} {
		vectors := compactVectors
		if form == Fixed6 {
			vectors = fixed6Vectors
		}
		var stream []byte
		for _, v := range vectors {
			stream = append(stream, raw(v.wire)...)
		}
		check := func(how string, pieces ...[]byte) {
			t.Helper()
			var have []byte
			next := 0
			for _, piece := range pieces {
				have = append(have, piece...)
				for {
					p, n, err := decode(form, have)
					if err != nil {
						t.Fatalf("%v, %s, %s: %v", form, how, vectors[next].name, err)
					}
					if n == 0 {
						break
					}
					if !same(p, vectors[next].want) {
						t.Fatalf("%v, %s, %s: %+v", form, how, vectors[next].name, p)
					}
					have, next = have[n:], next+1
				}
			}
			if next != len(vectors) || len(have) != 0 {
				t.Fatalf("%v, %s: %d of %d packets, %d bytes left", form, how, next, len(vectors), len(have))
			}
		}
		for i := range len(stream) + 1 {
			check("split in two", stream[:i], stream[i:])
		}
		for size := 1; size < 20; size++ {
			var pieces [][]byte
			for rest := stream; len(rest) > 0; {
				n := min(size, len(rest))
				pieces, rest = append(pieces, rest[:n]), rest[n:]
			}
			check("equal pieces", pieces...)
		}
	}
}

func TestParseHeaderMalformed(t *testing.T) {
	type row struct {
		name, wire string
		want       error
		at         int
	}
	rows := map[Form][]row{
		Compact: {
			{"reserved flag", `31 00`, ErrReservedFlag, 0},
			{"fixed6 Connect", `01 0000001c`, ErrType, 0},
			{"5-byte length", `60 80 80 80 80 01`, ErrVarint, 4},
			{"length above 2^28-1", `60 ff ff ff ff`, ErrVarint, 4},
			{"HTTP", `47`, ErrReservedFlag, 0},
			{"GOSOC's name first", `474f534f43`, ErrReservedFlag, 0},
		},
		Fixed6: {
			{"reserved flag", `03 00000000 01`, ErrReservedFlag, 5},
			{"compact Connect", `10 1a05474f534f43`, ErrType, 0},
			{"length -1", `06 ffffffff 00`, ErrLength, 1},
			{"length -2^31", `06 80000000 00`, ErrLength, 1},
			{"length 2^28", `06 10000000 00`, ErrLength, 1},
			{"HTTP", `474554`, ErrType, 0},
		},
	}
	for b := range 256 {
		h := row{"type", string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]), ErrType, 0}
		if b>>4 == 0 || b>>4 > 7 {
			rows[Compact] = append(rows[Compact], h)
		}
		if b == 0 || b > 7 {
			rows[Fixed6] = append(rows[Fixed6], h)
		}
	}
	for form, rows := range rows {
		for _, c := range rows {
			src := raw(c.wire)
			for i := range len(src) + 1 {
				h, err := form.ParseHeader(src[:i])
				var pe *ProtocolError
				if h != (Header{}) {
					t.Fatalf("%v %s, %d bytes: %+v", form, c.name, i, h)
				}
				if i <= c.at {
					if err != nil {
						t.Errorf("%v %s, %d bytes, none of them wrong: %v", form, c.name, i, err)
					}
				} else if !errors.Is(err, c.want) || !errors.As(err, &pe) || pe.Offset != c.at {
					t.Errorf("%v %s, %d bytes: %v", form, c.name, i, err)
				}
			}
		}
	}
}

func TestParseHeaderLongest(t *testing.T) {
	for form, wire := range map[Form]string{Compact: `60 ffffff7f`, Fixed6: `06 0fffffff 00`} {
		h, err := form.ParseHeader(raw(wire))
		if err != nil || h.Remaining != 1<<28-1 || h.Type != TypeSendReq {
			t.Errorf("%v: %+v, %v", form, h, err)
		}
	}
}

// Both forms hand out the same four bits, although Fixed6 has a whole byte for them.
func TestParseHeaderFlags(t *testing.T) {
	for form, wire := range map[Form]string{Compact: `6a 00`, Fixed6: `06 00000000 fa`} {
		if h, err := form.ParseHeader(raw(wire)); err != nil || h.Flags != 0x0a {
			t.Errorf("%v: %+v, %v", form, h, err)
		}
	}
}

func TestNames(t *testing.T) {
	_, err := Compact.DecodeConnect(Header{Type: TypeConnect, Size: 2, Remaining: 6}, []byte("\x05gosoc"))
	for got, want := range map[string]string{
		err.Error():              "gosoc: Connect, byte 2: not GOSOC",
		notGOSOC(0).Error():      "gosoc: byte 0: not GOSOC",
		TypeSendReq.String():     "SendReq",
		Type(9).String():         "Type(9)",
		BadToken.String():        "bad token",
		ReturnCode(200).String(): "return code 200",
		Fixed6.String():          "fixed6",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for typ := TypeConnect; typ <= TypeSendResp; typ++ {
		if strings.Contains(typ.String(), "Type") {
			t.Errorf("type %d has no name", typ)
		}
	}
}

func TestVarint(t *testing.T) {
	for _, v := range []int{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21, 1<<28 - 1} {
		b := appendVarint(nil, v)
		if len(b) != varintSize(v) {
			t.Errorf("%d: %d bytes, said %d", v, len(b), varintSize(v))
		}
		for i := range b {
			if _, n := varint(b[:i]); n != 0 {
				t.Errorf("%d, %d of %d bytes: n = %d", v, i, len(b), n)
			}
		}
		if got, n := varint(append(b, 0xff)); got != v || n != len(b) {
			t.Errorf("%d: %d of %d bytes", v, got, n)
		}
	}
}
