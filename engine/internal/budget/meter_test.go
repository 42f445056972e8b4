package budget

import (
	"runtime"
	"testing"
)

func TestInUse(t *testing.T) {
	for _, tc := range []struct {
		what                       string
		live, objects, grown, want int64
	}{
		{"no collection yet", 0, 50, 10, 50},
		{"right after one", 100, 100, 0, 100},
		{"garbage", 100, 180, 0, 100},
		{"kept since", 100, 180, 30, 130},
		{"kept in what was there", 100, 120, 30, 120},
		{"given back since", 100, 180, -30, 70},
		{"more given back than there was", 100, 180, -130, 0},
	} {
		if got := inUse(tc.live, tc.objects, tc.grown); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.what, got, tc.want)
		}
	}
}

// What is alive counts as soon as it is kept or a collection has found it, garbage does not.
func TestMeter(t *testing.T) {
	const size = 64 << 20
	kept := int64(0)
	m := NewMeter(func() int64 { return kept })
	m.Collect(0)
	before := m.Used()
	if before <= 0 {
		t.Fatalf("%d bytes used", before)
	}
	near := func(what string, want int64) {
		t.Helper()
		if got := m.Used() - before; got < want-size/4 || got > want+size/4 {
			t.Errorf("%s: %d MiB more, want %d", what, got>>20, want>>20)
		}
	}
	b := make([]byte, size)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	kept = size
	near("kept", size)
	m.Collect(0)
	near("kept, and found", size)
	runtime.KeepAlive(b)
	b, kept = nil, 0
	near("given back", 0)
	m.Collect(0)
	near("collected", 0)
	m.Collect(1 << 62)
	if cycles := m.cycles; m.Used() < 0 || m.cycles != cycles {
		t.Error("collected again within the time")
	}
}
