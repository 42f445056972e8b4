package admin

import (
	"net/http/httptest"
	"testing"
	"time"
)

// held runs what loops are told when the test says so.
type held struct {
	fns    []func()
	closed bool
}

func (h *held) tell(_ int, fn func()) bool {
	if !h.closed {
		h.fns = append(h.fns, fn)
	}
	return !h.closed
}

func (h *held) release() {
	for _, fn := range h.fns {
		fn()
	}
	h.fns = nil
}

func TestLagOfLoops(t *testing.T) {
	var h held
	l := newLag(2, h.tell)
	l.sample()
	if len(h.fns) != 2 {
		t.Fatalf("%d probes, want one for each loop", len(h.fns))
	}
	time.Sleep(20 * time.Millisecond)
	l.sample()
	if len(h.fns) != 2 {
		t.Errorf("%d probes: a loop that has not answered must not be sent more", len(h.fns))
	}
	if late := l.of(1); late < 20*time.Millisecond {
		t.Errorf("a loop that hangs is %v late", late)
	}
	h.release()
	late := l.of(0)
	if late < 20*time.Millisecond || l.of(0) != late {
		t.Errorf("lag %v, then %v: want what the last probe took", late, l.of(0))
	}
	counts, sum := l.histogram()
	total := uint64(0)
	for i, n := range counts {
		total += n
		if i < len(lagBounds) && lagBounds[i] < .02 && n > 0 {
			t.Errorf("%d of 20 ms in the bucket up to %v s", n, lagBounds[i])
		}
	}
	if total != 2 || sum < 40*time.Millisecond {
		t.Errorf("histogram of %d, sum %v", total, sum)
	}
	for tries := 0; l.of(0) >= late; tries++ { // one of them is quick
		if tries == 100 {
			t.Fatalf("lag %v after quick probes", l.of(0))
		}
		l.sample()
		h.release()
	}
}

func TestLagAfterTheLoopsHaveStopped(t *testing.T) {
	h := held{closed: true}
	l := newLag(1, h.tell)
	l.sample()
	time.Sleep(2 * time.Millisecond)
	if late := l.of(0); late != 0 {
		t.Errorf("a loop that has stopped is %v late", late)
	}
}

func TestLagBounds(t *testing.T) {
	for i := 1; i < len(lagBounds); i++ {
		if lagBounds[i] <= lagBounds[i-1] {
			t.Errorf("bound %v after %v", lagBounds[i], lagBounds[i-1])
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	s := newServer(b, newOTP(b), nil)
	b.ReportAllocs()
	h := s.newMetrics()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		b.SetBytes(int64(w.Body.Len()))
	}
}
