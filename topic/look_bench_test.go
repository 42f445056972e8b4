package topic

import "testing"

// BenchmarkHistoryLook reads the last 20 of 1,000 messages.
func BenchmarkHistoryLook(b *testing.B) {
	h := newTestHistory(b, 64<<20, "*=1000,1h")
	s := h.Stream([]byte("a"), 0)
	record := AppendRecord(nil, "push", 100, make([]byte, 100))
	for i := range int64(2000) {
		h.Append(s, i, record)
	}
	var v View
	b.ReportAllocs()
	for b.Loop() {
		h.Look(&v, s, 1981, 2000, 2000, 4096)
		for v.Read() != nil {
		}
	}
}
