package gateway

import (
	"math/rand/v2"
	"testing"
)

func TestPendingQueue(t *testing.T) {
	var q pendingQueue
	var s spares
	if q.find(0) != nil || !q.empty() || q.earliest() != 0 {
		t.Fatal("the zero queue is not empty")
	}
	a, b, c := q.add(&s, 10, 1, 300), q.add(&s, 11, 1, 100), q.add(&s, 12, 1, 200)
	if q.open != 3 || q.earliest() != 100 {
		t.Fatalf("open %d, earliest %d", q.open, q.earliest())
	}
	p := q.find(b)
	if p == nil || p.id != 11 {
		t.Fatalf("find(b) = %+v", p)
	}
	p.answered, p.sent = true, true
	q.open--
	if q.find(b) != nil {
		t.Error("an answered request is found again")
	}
	if q.trim(&s); len(q.list) != 3 {
		t.Errorf("trim passed an unanswered request: %d left", len(q.list))
	}
	if q.earliest() != 200 {
		t.Errorf("earliest = %d, want 200", q.earliest())
	}
	first := q.find(a)
	first.answered, first.sent = true, true
	if q.trim(&s); len(q.list) != 1 || q.find(c) == nil {
		t.Errorf("%d left after the first two were answered", len(q.list))
	}
	if q.find(a) != nil || q.find(c+1) != nil {
		t.Error("a request that is over, or never was, is found")
	}
	last := q.find(c)
	last.answered, last.sent = true, true
	if q.trim(&s); !q.empty() || q.list != nil {
		t.Error("an empty queue keeps its memory")
	}
	if d := q.add(&s, 13, 1, 1); d != c+1 {
		t.Errorf("sequence number %d after %d", d, c)
	}
}

func TestPendingQueueWraps(t *testing.T) {
	q := pendingQueue{next: 1<<32 - 2}
	var s spares
	for range 5 {
		seq := q.add(&s, 1, 1, 1)
		p := q.find(seq)
		if p == nil {
			t.Fatalf("request %d not found", seq)
		}
		p.answered, p.sent = true, true
		q.trim(&s)
	}
}

// A request is found until it is answered, whatever happens to those around it, and the list stays
// within twice the number of those that wait.
func TestPendingQueueSparse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s spares
	for _, first := range []uint32{0, 1<<32 - 500} { // the numbers start over
		q := pendingQueue{next: first}
		open := make(map[uint32]uint32) // id by sequence number
		var order []uint32
		slow := q.add(&s, 9999, 0, 0)
		for id := range uint32(20_000) {
			if len(order) < 100 && (len(order) == 0 || random.IntN(2) == 0) {
				seq := q.add(&s, id, 0, 0)
				open[seq] = id
				order = append(order, seq)
				continue
			}
			i := random.IntN(len(order))
			seq := order[i]
			order = append(order[:i], order[i+1:]...)
			p := q.find(seq)
			if p == nil || p.id != open[seq] {
				t.Fatalf("request %d is %+v", open[seq], p)
			}
			p.answered, p.sent = true, true
			q.open--
			delete(open, seq)
			q.trim(&s)
			if q.find(seq) != nil {
				t.Fatal("found again")
			}
			if limit := max(2*q.open+1, sparse); len(q.list) > limit {
				t.Fatalf("%d entries for %d requests", len(q.list), q.open)
			}
		}
		if p := q.find(slow); p == nil || p.id != 9999 || q.open != len(open)+1 {
			t.Errorf("the first request is %+v; %d open, want %d", p, q.open, len(open)+1)
		}
		if q.find(q.next) != nil || q.find(slow-1) != nil {
			t.Error("found what never was")
		}
	}
}

// A steady number of requests under way takes no memory beyond the first few, whether they are
// answered one by one or all before the next comes, and memory that is used again says nothing of
// its former owner.
func TestPendingQueueUsesMemoryAgain(t *testing.T) {
	var s spares
	for _, depth := range []int{1, 3, 16} {
		var q pendingQueue
		answer := func() {
			p := &q.list[0]
			p.answered, p.sent = true, true
			q.open--
			q.trim(&s)
		}
		allocs := testing.AllocsPerRun(100, func() {
			for range depth {
				q.add(&s, 1, 1, 1)
			}
			for range 100 {
				answer()
				q.add(&s, 1, 1, 1)
			}
			for range depth {
				answer()
			}
		})
		if allocs != 0 || !q.empty() || q.room != nil {
			t.Errorf("%d at a time: %v allocations, %d left in an array of %d", depth, allocs, len(q.list), len(q.room))
		}
	}
	q := pendingQueue{}
	q.add(&s, 7, 7, 7)
	q.list[0].payload, q.list[0].answered, q.list[0].sent = []byte("secret"), true, true
	q.open--
	q.trim(&s)
	for _, room := range s.rooms {
		for _, p := range room[:cap(room)] {
			if p.id != 0 || p.answered || p.payload != nil {
				t.Fatalf("a spare holds %+v", p)
			}
		}
	}
	m := s.takeMore()
	m.customID, m.resumable = "id", true
	s.keepMore(m)
	if again := s.takeMore(); again != m || again.customID != "" || again.resumable {
		t.Errorf("a spare holds %+v", again)
	}
}

func TestSparesAreBounded(t *testing.T) {
	var s spares
	for range 2 * maxSpares {
		s.keepMore(new(more))
		s.keepRoom(make([]pending, leastRoom))
	}
	if len(s.mores) != maxSpares || len(s.rooms) != maxSpares {
		t.Errorf("%d and %d are kept", len(s.mores), len(s.rooms))
	}
	s = spares{}
	if s.keepRoom(make([]pending, maxSpare+1)); len(s.rooms) != 0 {
		t.Error("a big array is kept")
	}
}
