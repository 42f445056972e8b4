package latency

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The array must be HdrHistogram's to the last bucket.
func TestRecorderAgreesWithHdrHistogram(t *testing.T) {
	r, want := NewRecorder(), New()
	values := []int64{0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 1e6, Max - 1, Max}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		values = append(values, rng.Int64N(Max)>>rng.IntN(42))
	}
	for _, v := range values {
		r.Record(v)
		if err := want.RecordValue(v); err != nil {
			t.Fatal(err)
		}
	}
	got := r.Drain()
	if !got.Equals(want) {
		t.Fatal("other counts than HdrHistogram's")
	}
	if r.Drain() != nil {
		t.Error("Drain did not empty the recorder")
	}
	packed, err := Unpack(Pack(got))
	if err != nil || packed.TotalCount() != want.TotalCount() || packed.ValueAtPercentile(99) != want.ValueAtPercentile(99) {
		t.Errorf("text: %v, %d values", err, packed.TotalCount())
	}
}

func TestOutOfRange(t *testing.T) {
	r := NewRecorder()
	r.Record(-5)
	r.Record(2 * Max)
	if h := r.Drain(); h.TotalCount() != 2 || h.Min() != 0 || h.Max() < Max {
		t.Errorf("count %d, min %d, max %d", h.TotalCount(), h.Min(), h.Max())
	}
}

func TestMergeAndSummary(t *testing.T) {
	r := NewRecorder()
	for i := range int64(1000) {
		r.Record((i + 1) * int64(time.Microsecond))
	}
	total := New()
	Merge(&total, nil)
	Merge(&total, r.Drain())
	r.RecordN(int64(time.Second), 9)
	Merge(&total, r.Drain())
	d := Summarize(total)
	if d.Count != 1009 || d.P50/1000 != 505 || d.P9999 < int64(time.Second) {
		t.Errorf("%+v", d)
	}
	if Summarize(nil).Count != 0 || Pack(nil) != "" {
		t.Error("nil is not empty")
	}
}

func TestRecordAllocates0(t *testing.T) {
	r := NewRecorder()
	if n := testing.AllocsPerRun(1000, func() { r.Record(12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	r := NewRecorder()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Record(int64(20_000 + i&0xffff))
	}
}
