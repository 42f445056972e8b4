package websocket

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"strings"
	"testing"
)

// The examples of RFC 7692 7.2.3, for messages that do not refer to one before.
var deflateVectors = []struct{ name, hex, want string }{
	{"7.2.3.1, one block", `f248cdc9c90700`, "Hello"},
	{"7.2.3.2, first of two messages", `f248cdc9c90700`, "Hello"},
	{"7.2.3.3, block without compression", `000500faff48656c6c6f00`, "Hello"},
	{"7.2.3.4, block with BFINAL", `f348cdc9c9070000`, "Hello"},
	{"7.2.3.5, two blocks", `f248050000 00ffff cac9c90700`, "Hello"},
	{"7.2.3.6, empty", `00`, ""},
	{"7.2.3.6, empty, fixed Huffman", `0200`, ""},
	{"BFINAL without its padding", `f348cdc9c90700`, "Hello"},
	{"BFINAL twice", `f348cdc9c90700 f348cdc9c9070000`, "HelloHello"},
	{"BFINAL, then a plain block", `f348cdc9c90700 f248cdc9c90700`, "HelloHello"},
	{"nothing at all", ``, ""},
}

func TestInflate(t *testing.T) {
	for _, v := range deflateVectors {
		got, err := Inflate([]byte("before "), unhexes(v.hex), 1000)
		if err != nil || string(got) != "before "+v.want {
			t.Errorf("%s: %q, %v", v.name, got, err)
		}
		if got, err = Inflate(nil, unhexes(v.hex), len(v.want)); err != nil || string(got) != v.want {
			t.Errorf("%s, limit just enough: %q, %v", v.name, got, err)
		}
		if len(v.want) > 0 {
			if got, err = Inflate([]byte("x"), unhexes(v.hex), len(v.want)-1); err != ErrTooBig || string(got) != "x" {
				t.Errorf("%s, limit too low: %q, %v", v.name, got, err)
			}
		}
	}
	// 7.2.3.2: the second message refers to the first, which nobody keeps.
	if got, err := Inflate(nil, unhexes(`f200110000`), 1000); err != ErrInflate {
		t.Errorf("reference to an earlier message: %q, %v", got, err)
	}
}

func TestInflateCorrupt(t *testing.T) {
	for _, v := range []struct{ name, hex string }{
		{"block type 3", `06`},
		{"stored length wrong", `000500faf0 48656c6c6f00`},
		{"stored, cut", `001000efff 4865`},
		{"reference before the start", `4b04c20000`},
		{"garbage", `ffffffffff`},
		{"garbage behind BFINAL", `f348cdc9c90700 ff`},
	} {
		if got, err := Inflate([]byte("x"), unhexes(v.hex), 1000); err != ErrInflate || string(got) != "x" {
			t.Errorf("%s: %q, %v", v.name, got, err)
		}
	}
	whole := Deflate(nil, []byte(strings.Repeat("The quick brown fox. ", 20)))
	for i := 1; i < len(whole)-1; i++ {
		if got, err := Inflate(nil, whole[:i], 10000); err == nil && len(got) == 420 {
			t.Errorf("%d of %d bytes: inflated as if whole", i, len(whole))
		}
	}
}

func TestInflateManyFinalBlocks(t *testing.T) {
	block := unhexes(`f348cdc9c90700`)
	if got, err := Inflate(nil, bytes.Repeat(block, maxFinal), 1<<20); err != nil || len(got) != 5*maxFinal {
		t.Errorf("%d blocks: %d bytes, %v", maxFinal, len(got), err)
	}
	if _, err := Inflate(nil, bytes.Repeat(block, maxFinal+1), 1<<20); err != ErrInflate {
		t.Errorf("%d blocks: %v", maxFinal+1, err)
	}
	// A later block may refer to an earlier one, though that was marked as the last.
	text := strings.Repeat("abcdefgh", 20)
	var b bytes.Buffer
	b.Write(block)
	w, _ := flate.NewWriterDict(&b, flate.BestCompression, []byte("Hello"))
	w.Write([]byte("Hello" + text))
	w.Flush()
	got, err := Inflate(nil, bytes.TrimSuffix(b.Bytes(), []byte(flushed)), 1<<20)
	if err != nil || string(got) != "HelloHello"+text {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDeflate(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 10, 511, 512, 513, 4096, 65535, 65536, 1 << 20} {
		noise, text := make([]byte, size), bytes.Repeat([]byte("sluice "), size/7+1)[:size]
		for i := range noise {
			noise[i] = byte(rnd.Uint32())
		}
		for _, src := range [][]byte{noise, text} {
			wire := Deflate([]byte("before"), src)
			if !bytes.HasPrefix(wire, []byte("before")) {
				t.Fatal("dst was not kept")
			}
			got, err := Inflate(nil, wire[6:], size)
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
			}
			if cap(got) > max(2*size, firstRoom) {
				t.Errorf("%d bytes inflated into %d", size, cap(got))
			}
			// As RFC 7692 7.2.2 has it, by another inflater.
			std := flate.NewReader(strings.NewReader(string(wire[6:]) + tail))
			var out bytes.Buffer
			if _, err := out.ReadFrom(std); err != nil || !bytes.Equal(out.Bytes(), src) {
				t.Errorf("%d bytes: compress/flate: %d, %v", size, out.Len(), err)
			}
		}
	}
}

// TestInflateBomb: memory is bounded by the limit, not by what would come out.
func TestInflateBomb(t *testing.T) {
	bomb := Deflate(nil, make([]byte, 64<<20))
	got, err := Inflate(nil, bomb, 1000)
	if err != ErrTooBig || len(got) != 0 || cap(got) > 1000 {
		t.Errorf("%d bytes in %d, %v", len(got), cap(got), err)
	}
}

func TestAppendDeflatedFrame(t *testing.T) {
	for _, v := range []struct {
		name, payload string
		compressed    bool
	}{
		{"empty", "", false},
		{"too short to gain", "Hi", false},
		{"long header to short", strings.Repeat("a", 200), true},
		{"longest header to shorter", strings.Repeat("a", 70000), true},
		{"same header", strings.Repeat("ab", 60), true},
	} {
		wire := AppendDeflatedFrame([]byte("before"), OpText, []byte(v.payload))
		h, n, err := ParseHeader(wire[6:])
		if string(wire[:6]) != "before" || err != nil || h.RSV1 != v.compressed || len(wire) != 6+n+int(h.Length) {
			t.Errorf("%s: %+v, %d bytes, %v", v.name, h, len(wire), err)
		}
		r := NewReader(&ReaderConfig{Client: true}, true)
		ev, _, err := r.Next(wire[6:], nil)
		if err != nil || ev.Kind != EventMessage || string(ev.Payload) != v.payload {
			t.Errorf("%s: %+v, %v", v.name, ev.Kind, err)
		}
	}
}

func TestScratch(t *testing.T) {
	var s Scratch
	large := Deflate(nil, make([]byte, 1<<20))
	for range 2 {
		if got, err := s.inflate(large, 1<<20); err != nil || len(got) != 1<<20 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if got, err := s.inflate(unhexes(`f248cdc9c90700`), 1<<20); err != nil || string(got) != "Hello" {
			t.Fatalf("%q, %v", got, err)
		}
		if cap(s.buf) > keepScratch {
			t.Errorf("%d bytes kept", cap(s.buf))
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, v := range deflateVectors {
		f.Add(unhexes(v.hex))
	}
	f.Add(Deflate(nil, bytes.Repeat([]byte("sluice "), 100)))
	f.Fuzz(func(t *testing.T, src []byte) {
		const limit = 1 << 16
		got, err := Inflate(nil, src, limit)
		if len(got) > limit || cap(got) > limit+1024 || err != nil && len(got) > 0 {
			t.Fatalf("%d bytes in %d, %v", len(got), cap(got), err)
		}
		// What is no DEFLATE stream is a fine message to compress.
		if again, err := Inflate(nil, Deflate(nil, src), len(src)); err != nil || !bytes.Equal(again, src) {
			t.Fatalf("round trip: %v", err)
		}
		frame := AppendDeflatedFrame(nil, OpBinary, src)
		r := NewReader(&ReaderConfig{Client: true}, true)
		if ev, n, err := r.Next(frame, nil); err != nil || n != len(frame) || !bytes.Equal(ev.Payload, src) {
			t.Fatalf("frame: %v", err)
		}
	})
}
