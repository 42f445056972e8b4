package session

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// Racing resumes of one ticket: all within grace pass, with one holder in the end, and each other one told off once.
func TestStoreRacingResumes(t *testing.T) {
	s := newStore(t, StoreConfig{})
	for round := range 100 {
		is := mustBegin(t, s, t0, 1000, "ann")
		const racers = 8
		var closed [racers + 1]atomic.Int32
		inParallel(racers, func(i int) {
			r, err := s.resume(t0, is.Ticket, Ref(i+1))
			if err != nil || !r.Known {
				t.Errorf("%+v, %v", r, err)
			}
			if r.Holder != 0 && r.Holder != 1000 {
				closed[r.Holder].Add(1)
			}
			if r.Holder == 1000 {
				s.Detach(t0, is.ID, 1000, Snapshot{SessionText: "state"})
			}
		})
		survivors := 0
		var survivor Ref
		for ref := 1; ref <= racers; ref++ {
			switch closed[ref].Load() {
			case 0:
				survivors++
				survivor = Ref(ref)
			case 1:
			default:
				t.Errorf("round %d: %d closed %d times", round, ref, closed[ref].Load())
			}
		}
		if holder, known := s.End(t0, is.ID); survivors != 1 || holder != survivor || !known {
			t.Errorf("round %d: %d survivors", round, survivors)
		}
	}
}

// All operations at once, for the race detector; in the end everything expires.
func TestStoreConcurrent(t *testing.T) {
	s := newStore(t, StoreConfig{MaxRecords: 64, MaxSpent: 32, TTL: time.Minute})
	inParallel(8, func(g int) {
		for i := range 300 {
			now := after(time.Duration(i) * 100 * time.Millisecond)
			ref := Ref(g*10_000 + i*2 + 1)
			is, err := s.Begin(now, ref, Login{User: "ann"})
			if err != nil {
				t.Error(err)
			}
			if i%3 != 0 {
				s.Detach(now, is.ID, ref, Snapshot{Topics: []string{"t"}})
			}
			r, err := s.resume(now, is.Ticket, ref+1)
			if err != nil && !errors.Is(err, ErrForgotten) {
				t.Error(err)
			}
			s.Handover(is.ID, ref+1)
			if i%5 == 0 {
				s.End(now, is.ID)
				if _, err := s.resume(now, r.Ticket, ref); err == nil {
					t.Error("ended session resumed")
				}
			}
			s.Expire(now, 3)
		}
	})
	if st := s.Stats(); st.Attached+st.Detached > 64 || st.Spent > 32 {
		t.Errorf("over the bounds: %+v", st)
	}
	s.Expire(after(time.Hour), 1<<20)
	if st := s.Stats(); st.Attached+st.Detached+st.Spent != 0 {
		t.Errorf("left over: %+v", st)
	}
	for i := range s.shards {
		if sh := &s.shards[i]; len(sh.byID)+len(sh.spent.byID) != 0 {
			t.Error("maps and heaps disagree")
		}
	}
}

func BenchmarkStoreMemory(b *testing.B) {
	const n = 250_000
	for b.Loop() {
		s := newStore(b, StoreConfig{})
		before := liveBytes()
		for i := range n {
			mustBegin(b, s, t0, Ref(i+1), "ann")
		}
		b.ReportMetric(float64(liveBytes()-before)/n, "B/record")
		runtime.KeepAlive(s)
		s = newStore(b, StoreConfig{})
		before = liveBytes()
		for range n {
			var id SessionID
			s.rand.Read(id[:])
			s.End(t0, id)
		}
		b.ReportMetric(float64(liveBytes()-before)/n, "B/spent")
		runtime.KeepAlive(s)
	}
}

func BenchmarkStoreResume(b *testing.B) {
	s := newStore(b, StoreConfig{})
	text := []byte(mustBegin(b, s, t0, 1, "alice").Ticket)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for i := 0; b.Loop(); i++ {
		t, err := s.Open(t0, text)
		if err != nil {
			b.Fatal(err)
		}
		r, err := s.Resume(t0, t, Ref(i%2+1))
		if err != nil {
			b.Fatal(err)
		}
		text = append(text[:0], r.Ticket...)
	}
}
