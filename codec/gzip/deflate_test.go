package gzip

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"strconv"
	"testing"
)

var sizes = []struct {
	name string
	n    int
}{{"16B", 16}, {"256B", 256}, {"4KiB", 4 << 10}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}}

// sample returns n bytes of JSON lines.
func sample(n int) []byte {
	var b []byte
	for i := 0; len(b) < n; i++ {
		b = append(b, `{"message_id":"`...)
		b = strconv.AppendInt(b, int64(i)*7919, 10)
		b = append(b, `","message":"hi"}`...)
	}
	return b[:n]
}

func TestDeflate(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 1000, 1 << 16, 1<<20 + 3} {
		text := sample(n)
		wire := Deflate([]byte("kept"), text)
		if string(wire[:4]) != "kept" {
			t.Fatalf("%d bytes: begins %q", n, wire[:4])
		}
		wire = wire[4:]

		r, err := stdgzip.NewReader(bytes.NewReader(wire))
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: the standard library reads %d, %v", n, len(got), err)
		}
		if !r.ModTime.IsZero() || r.OS != 255 || r.Name != "" {
			t.Errorf("%d bytes: header %+v", n, r.Header)
		}
		if again := Deflate(nil, text); !bytes.Equal(again, wire) {
			t.Errorf("%d bytes: the second result differs from the first", n)
		}
	}
}

func TestDeflateAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("pools leak under the race detector")
	}
	text := sample(4 << 10)
	dst := make([]byte, 0, 2*len(text))
	if n := testing.AllocsPerRun(200, func() { Deflate(dst, text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDeflate(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(`{"message":"hi"}`))
	f.Add(sample(70_000))
	f.Fuzz(func(t *testing.T, text []byte) {
		wire := Deflate(nil, text)
		got, err := Inflate(nil, wire, len(text))
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("%d bytes come back as %d, %v", len(text), len(got), err)
		}
		if !bytes.Equal(Deflate(nil, text), wire) {
			t.Fatal("not deterministic")
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			text, dst := sample(s.n), make([]byte, 0, 2*s.n+100)
			b.SetBytes(int64(s.n))
			b.ReportAllocs()
			for b.Loop() {
				Deflate(dst, text)
			}
		})
	}
}
