package websocket

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"
)

// unhexes turns spaced hex into bytes.
func unhexes(s string) []byte {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		panic(err)
	}
	return b
}

// frameVectors are the examples of RFC 6455 5.7 and the borders of each length form.
var frameVectors = []struct {
	name string
	wire string
	want FrameHeader
}{
	{"unmasked text", `81 05 48656c6c6f`, FrameHeader{Fin: true, Opcode: OpText, Length: 5}},
	{"masked text", `81 85 37fa213d 7f9f4d5158`, FrameHeader{Fin: true, Opcode: OpText, Masked: true, Mask: [4]byte{0x37, 0xfa, 0x21, 0x3d}, Length: 5}},
	{"first fragment", `01 03 48656c`, FrameHeader{Opcode: OpText, Length: 3}},
	{"last fragment", `80 02 6c6f`, FrameHeader{Fin: true, Opcode: OpContinuation, Length: 2}},
	{"ping", `89 05 48656c6c6f`, FrameHeader{Fin: true, Opcode: OpPing, Length: 5}},
	{"masked pong", `8a 85 37fa213d 7f9f4d5158`, FrameHeader{Fin: true, Opcode: OpPong, Masked: true, Mask: [4]byte{0x37, 0xfa, 0x21, 0x3d}, Length: 5}},
	{"256 bytes", `82 7e 0100`, FrameHeader{Fin: true, Opcode: OpBinary, Length: 256}},
	{"64 KiB", `82 7f 0000000000010000`, FrameHeader{Fin: true, Opcode: OpBinary, Length: 65536}},
	{"empty", `82 00`, FrameHeader{Fin: true, Opcode: OpBinary}},
	{"125 bytes", `82 7d`, FrameHeader{Fin: true, Opcode: OpBinary, Length: 125}},
	{"126 bytes", `82 7e 007e`, FrameHeader{Fin: true, Opcode: OpBinary, Length: 126}},
	{"65535 bytes", `82 7e ffff`, FrameHeader{Fin: true, Opcode: OpBinary, Length: 65535}},
	{"63 bits, masked", `02 ff 7fffffffffffffff 01020304`, FrameHeader{Opcode: OpBinary, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: math.MaxInt64}},
	{"compressed, RFC 7692 7.2.3.1", `c1 07 f248cdc9c90700`, FrameHeader{Fin: true, RSV1: true, Opcode: OpText, Length: 7}},
}

func TestParseHeader(t *testing.T) {
	for _, v := range frameVectors {
		t.Run(v.name, func(t *testing.T) {
			wire := unhexes(v.wire)
			h, n, err := ParseHeader(wire)
			if err != nil || h != v.want {
				t.Fatalf("got %+v, %v\nwant %+v", h, err, v.want)
			}
			if again := h.Append(nil); !bytes.Equal(again, wire[:n]) {
				t.Errorf("encoded again: %x, was %x", again, wire[:n])
			}
			for i := range n { // every prefix asks for more; none fails
				if h, m, err := ParseHeader(wire[:i]); m != 0 || err != nil || h != (FrameHeader{}) {
					t.Errorf("prefix of %d bytes: %+v, n=%d, err=%v", i, h, m, err)
				}
				if need := headerSize(wire[:i]); need <= i || need > n {
					t.Errorf("prefix of %d bytes: header of %d said to be %d", i, n, need)
				}
			}
		})
	}
}

func TestParseHeaderMalformed(t *testing.T) {
	for _, v := range []struct {
		name, wire string
		want       error
	}{
		{"RSV2", `a1 80 00000000`, ErrReservedBits},
		{"RSV3", `91 80 00000000`, ErrReservedBits},
		{"opcode 3", `83 80 00000000`, ErrOpcode},
		{"opcode 7", `87 80 00000000`, ErrOpcode},
		{"opcode 11", `8b 80 00000000`, ErrOpcode},
		{"opcode 15", `8f 80 00000000`, ErrOpcode},
		{"fragmented ping", `09 80 00000000`, ErrControlFrame},
		{"fragmented close", `08 80 00000000`, ErrControlFrame},
		{"ping of 126", `89 fe 007e 00000000`, ErrControlFrame},
		{"pong of 64 bits", `8a ff 0000000000010000 00000000`, ErrControlFrame},
		{"125 in two bytes", `82 7e 007d`, ErrLength},
		{"0 in two bytes", `82 fe 0000 00000000`, ErrLength},
		{"65535 in eight bytes", `82 7f 000000000000ffff`, ErrLength},
		{"64 bits", `82 7f 8000000000000000`, ErrLength},
	} {
		h, n, err := ParseHeader(unhexes(v.wire))
		if err != v.want || n != 0 || h != (FrameHeader{}) {
			t.Errorf("%s: %+v, n=%d, err=%v, want %v", v.name, h, n, err, v.want)
		}
		if CodeOf(err) != CloseProtocolError {
			t.Errorf("%s: close code %d", v.name, CodeOf(err))
		}
	}
}

func TestMask(t *testing.T) {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for size := range 70 {
		for offset := range 9 {
			got, want := make([]byte, size), make([]byte, size)
			for i := range got {
				got[i] = byte(i * 7)
				want[i] = got[i] ^ key[(offset+i)%4]
			}
			Mask(got, key, offset)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes at offset %d: %x, want %x", size, offset, got, want)
			}
		}
	}
}

func TestAppendFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536} {
		payload := bytes.Repeat([]byte{0xa5}, size)
		key := [4]byte{1, 2, 3, 4}

		for _, wire := range [][]byte{
			AppendFrame([]byte("x"), OpBinary, payload),
			AppendMaskedFrame([]byte("x"), OpBinary, key, payload),
		} {
			h, n, err := ParseHeader(wire[1:])
			if err != nil || h.Length != int64(size) || !h.Fin || h.Opcode != OpBinary {
				t.Fatalf("%d bytes: %+v, %v", size, h, err)
			}
			got := wire[1+n:]
			if h.Masked {
				Mask(got, h.Mask, 0)
			}
			if wire[0] != 'x' || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes, masked %v: payload came out different", size, h.Masked)
			}
		}
	}
	if !bytes.Equal(AppendMaskedFrame(nil, OpText, [4]byte{0x37, 0xfa, 0x21, 0x3d}, []byte("Hello")), unhexes(`81 85 37fa213d 7f9f4d5158`)) {
		t.Error("RFC 6455 5.7, masked text")
	}
}

func ExampleAppendFrame() {
	fmt.Printf("% x\n", AppendFrame(nil, OpText, []byte("Hello")))
	// Output: 81 05 48 65 6c 6c 6f
}
