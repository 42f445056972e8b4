package link

import (
	"testing"
	"time"
)

// The engine is asked once for each query and each sample, whatever is asked for.
func TestMetricsAskOnce(t *testing.T) {
	asked := 0
	m := metrics{since: time.Now().Add(-time.Second), outside: func() (writes, bytes int64) { asked++; return 5, 50 }}
	m.add(metricWrites, 2)
	all := []int32{0, 1, 2, 3, 4, 5, 6}
	items := m.items(all, time.Now())
	if asked != 1 || len(items) != len(all) || items[metricWrites].Count != 7 || items[metricWriteBytes].Count != 50 {
		t.Errorf("asked %d times for %v", asked, items)
	}
	m.sample(time.Now())
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func BenchmarkMetricsQuery(b *testing.B) {
	h, _ := newHub(b, Config{Metrics: []int32{0, 1, 2, 3, 4, 5, 6}})
	b.ReportAllocs()
	for b.Loop() {
		h.metrics.items(h.config.Metrics, time.Now())
	}
}
