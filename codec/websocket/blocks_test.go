package websocket

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"testing"
)

// In 15 MiB there is room for a million blocks of nothing, and each costs a microsecond.
func TestInflateManyBlocks(t *testing.T) {
	var (
		dynamic = unhexes(`04c0810800000000207feb43001c880000000000f2b73e`) // two, with codes of their own
		fixed   = unhexes(`0208208000`)                                     // four
		stored  = unhexes(`000000ffff`)
	)
	for _, tt := range []struct {
		name  string
		unit  []byte
		bytes int
		want  error
	}{
		{"a few", dynamic, 60 << 10, nil},
		{"very many", dynamic, 15 << 20, ErrManyBlocks},
		{"of fixed codes", fixed, 15 << 20, ErrManyBlocks},
		{"stored", stored, 15 << 20, ErrManyBlocks},
	} {
		src := append(bytes.Repeat(tt.unit, tt.bytes/len(tt.unit)), 0)
		if got, err := Inflate([]byte("kept"), src, 16<<20); string(got) != "kept" || err != tt.want {
			t.Errorf("%s: %d bytes, %v", tt.name, len(got)-4, err)
		}
	}
	if CodeOf(ErrManyBlocks) != ClosePolicyViolation {
		t.Error("another close code")
	}
}

// What compressors make is inflated as before, however long it is, and refused for the same.
func TestInflateLong(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	noise, text := make([]byte, 3<<20), make([]byte, 3<<20)
	for i := range text {
		noise[i] = byte(r.Uint32())
		text[i] = "abcdefghijklmnopqrstuvwxyz0123456789"[min(r.IntN(36), r.IntN(36))]
	}
	for name, plain := range map[string][]byte{"noise": noise, "text": text} {
		for _, level := range []int{0, 1, 6, flate.HuffmanOnly} {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(plain[:1<<20])
			w.Close() // a last block, others behind it
			w, err = flate.NewWriterDict(&b, level, plain[1<<20-window:1<<20])
			if err != nil {
				t.Fatal(err)
			}
			w.Write(plain[1<<20:])
			w.Flush()
			src := bytes.TrimSuffix(b.Bytes(), []byte(flushed))
			for _, dst := range [][]byte{nil, make([]byte, 0, 1000), make([]byte, 0, len(plain))} {
				if got, err := Inflate(dst, src, len(plain)); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s at level %d: %d bytes, %v", name, level, len(got), err)
				}
			}
			if _, err := Inflate(nil, src, len(plain)-1); err != ErrTooBig {
				t.Errorf("%s at level %d, a byte too long: %v", name, level, err)
			}
			if _, err := Inflate(nil, src[:len(src)-100], len(plain)); err != ErrInflate {
				t.Errorf("%s at level %d, cut short: %v", name, level, err)
			}
		}
	}
}
