package gateway

import (
	"math/rand/v2"
	"testing"
)

func TestPendingQueue(t *testing.T) {
	var q pendingQueue
	if q.find(0) != nil || !q.empty() || q.earliest() != 0 {
		t.Fatal("the zero queue is not empty")
	}
	a, b, c := q.add(10, 1, 300), q.add(11, 1, 100), q.add(12, 1, 200)
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
	if q.trim(); len(q.list) != 3 {
		t.Errorf("trim passed an unanswered request: %d left", len(q.list))
	}
	if q.earliest() != 200 {
		t.Errorf("earliest = %d, want 200", q.earliest())
	}
	first := q.find(a)
	first.answered, first.sent = true, true
	if q.trim(); len(q.list) != 1 || q.find(c) == nil {
		t.Errorf("%d left after the first two were answered", len(q.list))
	}
	if q.find(a) != nil || q.find(c+1) != nil {
		t.Error("a request that is over, or never was, is found")
	}
	last := q.find(c)
	last.answered, last.sent = true, true
	if q.trim(); !q.empty() || q.list != nil {
		t.Error("an empty queue keeps its memory")
	}
	if d := q.add(13, 1, 1); d != c+1 {
		t.Errorf("sequence number %d after %d", d, c)
	}
}

func TestPendingQueueWraps(t *testing.T) {
	q := pendingQueue{next: 1<<32 - 2}
	for range 5 {
		seq := q.add(1, 1, 1)
		p := q.find(seq)
		if p == nil {
			t.Fatalf("request %d not found", seq)
		}
		p.answered, p.sent = true, true
		q.trim()
	}
}

// A request is found until it is answered, whatever happens to those around it, and the list stays
// within twice the number of those that wait.
func TestPendingQueueSparse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, first := range []uint32{0, 1<<32 - 500} { // the numbers start over
		q := pendingQueue{next: first}
		open := make(map[uint32]uint32) // id by sequence number
		var order []uint32
		slow := q.add(9999, 0, 0)
		for id := range uint32(20_000) {
			if len(order) < 100 && (len(order) == 0 || random.IntN(2) == 0) {
				seq := q.add(id, 0, 0)
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
			q.trim()
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
