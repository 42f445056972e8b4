package gzip

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/sluicenet/sluice/codec/internal/blocks"
)

// Blocks of nothing: two that have Huffman codes of their own, 92 bits each, four of fixed codes,
// and one that is stored.
const (
	dynamic = "04c0810800000000207feb43001c880000000000f2b73e"
	fixed   = "0208208000"
	stored  = "000000ffff"
)

// In 15 MiB there is room for a million blocks of nothing, and each costs a microsecond.
func TestManyBlocks(t *testing.T) {
	unit := unhex(t, dynamic)
	zeros := func(n int) []byte { return bytes.Repeat(unit, n/len(unit)) }
	end := "\x01\x00\x00\xff\xff" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00"
	header := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
	member := func(body []byte) []byte { return append(append([]byte(header), body...), end...) }
	for _, tt := range []struct {
		name    string
		src     []byte
		tooMany bool
	}{
		{"a few", member(zeros(60 << 10)), false},
		{"very many", member(zeros(15 << 20)), true},
		{"in members that are short themselves", bytes.Repeat(member(zeros(60<<10)), 250), true},
		{"of fixed codes", member(bytes.Repeat(unhex(t, fixed), 3<<20)), true},
		{"stored", member(bytes.Repeat(unhex(t, stored), 3<<20)), true},
	} {
		got, err := Inflate([]byte("kept"), tt.src, 4<<20)
		if string(got) != "kept" {
			t.Errorf("%s: %d bytes came out", tt.name, len(got)-4)
		}
		if tooMany := errors.Is(err, ErrCorrupt) && errors.Is(err, blocks.ErrTooMany); tooMany != tt.tooMany || !tooMany && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What compressors make is inflated as before, however long it is.
func TestLongSources(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	text := make([]byte, 4<<20)
	for i := range text {
		text[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[min(r.IntN(36), r.IntN(36))]
	}
	for name, plain := range map[string][]byte{"noise": noise, "text": text} {
		for _, level := range []int{0, 1, 6, 9, gzip.HuffmanOnly} {
			var packed bytes.Buffer
			w, err := gzip.NewWriterLevel(&packed, level)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(plain)
			w.Close()
			for _, dst := range [][]byte{nil, make([]byte, 0, 1000), make([]byte, 0, len(plain))} {
				got, err := Inflate(dst, packed.Bytes(), len(plain))
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s at level %d: %d bytes, %v", name, level, len(got), err)
				}
			}
			if _, err := Inflate(nil, packed.Bytes(), len(plain)-1); err != ErrTooLarge {
				t.Errorf("%s at level %d, a byte too long: %v", name, level, err)
			}
			cut := packed.Bytes()[:packed.Len()-100]
			if _, err := Inflate(nil, cut, len(plain)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s at level %d, cut short: %v", name, level, err)
			}
		}
		var members []byte
		for i := 0; i < len(plain); i += 64 << 10 { // as bgzip does
			members = append(members, Deflate(nil, plain[i:i+64<<10])...)
		}
		if got, err := Inflate(nil, members, len(plain)); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s in members: %d bytes, %v", name, len(got), err)
		}
	}
	// A program that flushes each line.
	var lines, packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	for range 8000 {
		line := text[r.IntN(len(text)-40):][:40]
		lines.Write(line)
		w.Write(line)
		w.Flush()
	}
	w.Close()
	if got, err := Inflate(nil, packed.Bytes(), lines.Len()); err != nil || !bytes.Equal(got, lines.Bytes()) {
		t.Errorf("flushed lines, %d bytes packed: %d bytes, %v", packed.Len(), len(got), err)
	}
}
