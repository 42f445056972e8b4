package rate

import (
	"strconv"
	"testing"
	"time"
)

const start = int64(time.Hour)

func TestBucket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ rate, burst int }{{1, 1}, {3, 3}, {100, 100}, {8 << 20, 8 << 20}, {1<<31 - 1, 1<<31 - 1}} {
		var b Bucket
		if n := b.Left(start, tt.rate); n != tt.burst {
			t.Errorf("%d/s: %d left of a full bucket", tt.rate, n)
		}
		if !b.Take(start, tt.burst, tt.rate) {
			t.Errorf("%d/s: no burst of %d", tt.rate, tt.burst)
		}
		if b.Take(start, max(tt.rate/1000, 1), tt.rate) {
			t.Errorf("%d/s: more than the burst", tt.rate)
		}
		if n := b.Left(start+Window/2, tt.rate); n < tt.rate/2-1 || n > tt.rate/2 {
			t.Errorf("%d/s: %d left after half a second", tt.rate, n)
		}
		if !b.Take(start+Window, tt.burst, tt.rate) {
			t.Errorf("%d/s: not full a second later", tt.rate)
		}
	}
}

// What is spent and not there is waited for, no longer and no shorter.
func TestSpend(t *testing.T) {
	t.Parallel()
	var b Bucket
	if wait := b.Spend(start, 10, 10); wait != 0 {
		t.Errorf("the burst waits for %v", time.Duration(wait))
	}
	if wait := b.Spend(start, 25, 10); wait != 2.5*Window {
		t.Errorf("25 more wait for %v, want 2.5s", time.Duration(wait))
	}
	if n := b.Left(start+2*Window, 10); n != 0 {
		t.Errorf("%d left 2 s later, want 0", n)
	}
	if n := b.Left(start+3*Window, 10); n != 5 {
		t.Errorf("%d left 3 s later, want 5", n)
	}
}

// In any second and at any moment of it a key has its rate and its burst, whenever the maps take
// turns.
func TestTableRate(t *testing.T) {
	t.Parallel()
	const rate = 50
	var table Table[int]
	taken := 0
	for ms := int64(0); ms < 10_000; ms++ {
		for range 3 {
			if table.Take(1, start+ms*1e6, 1, rate) {
				taken++
			}
		}
	}
	if want := rate + 10*rate; taken < want-2 || taken > want {
		t.Errorf("%d taken in 10 s, want %d", taken, want)
	}
}

// Who has used nothing for two seconds is forgotten, and the maps hold no more than they may.
func TestTableForgets(t *testing.T) {
	t.Parallel()
	table := Table[int]{Max: 1000}
	for i := range 100_000 {
		table.Take(i, start+int64(i), 1, 1)
		if n := table.Len(); n > 2*table.Max {
			t.Fatalf("%d buckets, at most %d", n, 2*table.Max)
		}
	}
	if table.Take(99_999, start+100_000, 1, 1) {
		t.Error("the last one is forgotten at once")
	}
	table.Forget(start + Window + 100_000)
	table.Forget(start + 2*Window + 100_000)
	if n := table.Len(); n != 0 {
		t.Errorf("%d buckets two seconds later", n)
	}
}

func TestTableAllocatesNothing(t *testing.T) {
	var table Table[uint64]
	now := start
	for k := range uint64(100) {
		table.Take(k, now, 1, 1000)
	}
	if n := testing.AllocsPerRun(100, func() {
		for k := range uint64(100) {
			table.Take(k, now, 1, 1000)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTake(b *testing.B) {
	for _, keys := range []uint64{1, 1000, 100_000} {
		b.Run(strconv.FormatUint(keys, 10), func(b *testing.B) {
			var table Table[uint64]
			b.ReportAllocs()
			for i := range b.N {
				table.Take(uint64(i)%keys, start+int64(i), 1, 1<<30)
			}
		})
	}
}
