package blocks

import "testing"

func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		name         string
		in, out      int // of each block
		pieces       int // in how many reads it comes out
		blocks, most int // how many there are, and how many are let through
	}{
		{"as zlib makes them with the least memory", 95, 127, 1, 2_000_000, 2_000_000},
		{"stored blocks", 32<<10 + 5, 32 << 10, 2, 100_000, 100_000},
		{"a byte each", 7, 1, 1, 20_000, 16_513},
		{"a byte each, with codes of their own", 12, 1, 1, 20_000, 8224},
		{"much of nothing before a byte", 60_000, 1, 1, 10, 4},
		{"a long copy each", 14, 64, 1, 50_000, 32_768},
	} {
		var m Meter
		n := 0
		for ; n < tt.blocks; n++ {
			var err error
			for i, in := 0, tt.in; i < tt.pieces && err == nil; i, in = i+1, 0 {
				err = m.Add(in, tt.out/tt.pieces)
			}
			if err != nil {
				break
			}
		}
		if n != tt.most {
			t.Errorf("%s: %d were let through, want %d", tt.name, n, tt.most)
		}
	}
}
