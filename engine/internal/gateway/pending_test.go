package gateway

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/sluicenet/sluice/engine"
)

const someone = engine.Ref(1)

// ticket returns the ticket of the request at a place of loop 0.
func (t *pendingTable) ticket(place uint32) Ticket { return newTicket(0, place, t.list[place].check) }

// put adds a request, but for what add gives it.
func (t *pendingTable) put(q *pendingQueue, p pending) (place uint32) {
	place, to := t.add(q, p.ref, p.id, p.cmd)
	if place != 0 {
		p.check, p.prev = to.check, to.prev
		*to = p
	}
	return place
}

func TestTicket(t *testing.T) {
	for _, v := range []struct {
		loop         int
		place, check uint32
	}{{0, 1, 0}, {255, maxPlace, 1<<32 - 1}, {7, 8, 9}} {
		ticket := TicketOf(newTicket(v.loop, v.place, v.check).ID())
		if ticket.Loop() != v.loop || ticket.place() != v.place || ticket.check() != v.check {
			t.Errorf("%+v came back as %d, %d, %d", v, ticket.Loop(), ticket.place(), ticket.check())
		}
	}
}

func TestPendingFind(t *testing.T) {
	var table pendingTable
	var q pendingQueue
	if table.find(TicketOf(1<<32), 0) != 0 || table.find(Ticket{}, 0) != 0 {
		t.Fatal("found in an empty table")
	}
	ours := table.put(&q, pending{ref: someone, worker: 3})
	here := table.put(&q, pending{ref: someone})
	waits := table.put(&q, pending{ref: someone, answered: true})
	over := table.put(&q, pending{ref: someone})
	old := table.ticket(over)
	table.remove(&q, over)
	again := table.put(&q, pending{ref: someone})
	for _, v := range []struct {
		name   string
		ticket Ticket
		worker int
		want   uint32
	}{
		{"another worker", table.ticket(ours), 4, 0},
		{"its worker", table.ticket(ours), 3, ours},
		{"a link that has not registered", table.ticket(ours), 0, ours},
		{"of a handler", table.ticket(here), 3, here},
		{"a guess", TicketOf(table.ticket(ours).ID() ^ 1), 3, 0},
		{"answered already", table.ticket(waits), 0, 0},
		{"over, and its place is another's", old, 0, 0},
		{"in that place", table.ticket(again), 0, again},
		{"no place", newTicket(0, 99, 0), 0, 0},
		{"place 0", newTicket(0, 0, 0), 0, 0},
	} {
		if got := table.find(v.ticket, v.worker); got != v.want {
			t.Errorf("%s: place %d, want %d", v.name, got, v.want)
		}
	}
	if over != again {
		t.Errorf("a free place was not used again: %d, %d", over, again)
	}
	free := table.ticket(again)
	table.remove(&q, again)
	if table.find(newTicket(0, again, 0), 0) != 0 || table.find(free, 0) != 0 {
		t.Error("found in a free place")
	}
}

// Requests of many clients come and go in any order: each queue keeps its order, what is in the table
// is found, and what is not is not.
func TestPendingTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table pendingTable
	queues := make([]pendingQueue, 7)
	type entry struct {
		ticket   Ticket
		id       uint32
		deadline int64
	}
	want := make([][]entry, len(queues))
	var gone []Ticket
	total := 0
	for id := range uint32(50_000) {
		i := random.IntN(len(queues))
		q := &queues[i]
		if grow := id/5000%2 == 0; len(want[i]) > 0 && (random.IntN(5) < 2 || !grow && random.IntN(3) > 0) {
			j := random.IntN(len(want[i]))
			e := want[i][j]
			place := table.find(e.ticket, 0)
			if place == 0 || table.list[place].id != e.id {
				t.Fatalf("request %d is at %d", e.id, place)
			}
			table.remove(q, place)
			q.open--
			gone = append(gone[max(0, len(gone)-100):], e.ticket)
			want[i] = append(want[i][:j], want[i][j+1:]...)
			total--
		} else {
			p := pending{ref: someone, id: id, deadline: 1 + random.Int64N(1000)}
			place := table.put(q, p)
			want[i] = append(want[i], entry{table.ticket(place), id, p.deadline})
			total++
		}
		if table.used != total || int(q.open) != len(want[i]) {
			t.Fatalf("%d used and %d open, want %d and %d", table.used, q.open, total, len(want[i]))
		}
		if id%97 != 0 {
			continue
		}
		at, first := q.first, int64(0)
		for _, e := range want[i] {
			if table.list[at].id != e.id {
				t.Fatalf("request %d stands where %d should", table.list[at].id, e.id)
			}
			if first == 0 || e.deadline < first {
				first = e.deadline
			}
			at = table.list[at].next
		}
		if at != 0 || q.empty() != (len(want[i]) == 0) || table.earliest(q) != first {
			t.Fatalf("the queue goes on to %d; earliest %d, want %d", at, table.earliest(q), first)
		}
		for _, ticket := range gone {
			if table.find(ticket, 0) != 0 {
				t.Fatal("found when it was over")
			}
		}
	}
	if len(table.list) > 6000 {
		t.Errorf("%d places for %d requests", len(table.list), total)
	}
	for i := range queues {
		for !queues[i].empty() {
			table.remove(&queues[i], queues[i].first)
		}
	}
	if table.used != 0 || len(table.list) > keptPlaces {
		t.Errorf("an empty table keeps %d places, %d used", len(table.list), table.used)
	}
}

func TestPendingTableIsBounded(t *testing.T) {
	table := pendingTable{limit: 3}
	var q pendingQueue
	table.put(&q, pending{ref: someone})
	table.put(&q, pending{ref: someone})
	if place := table.put(&q, pending{ref: someone}); place != 0 || table.used != 2 || q.open != 2 {
		t.Errorf("place %d in a full table, %d used", place, table.used)
	}
	table.remove(&q, q.first)
	if place := table.put(&q, pending{ref: someone}); place == 0 {
		t.Error("no place where one is free")
	}
}

// A steady number of requests under way takes no memory beyond the first few, and memory that is used
// again says nothing of its former owner.
func TestPendingUsesMemoryAgain(t *testing.T) {
	var table pendingTable
	for _, depth := range []int{1, 3, 16} {
		var q pendingQueue
		allocs := testing.AllocsPerRun(100, func() {
			for range depth {
				table.put(&q, pending{ref: someone})
			}
			for range 100 {
				table.remove(&q, q.first)
				table.put(&q, pending{ref: someone})
			}
			for !q.empty() {
				table.remove(&q, q.last)
			}
		})
		if allocs != 0 {
			t.Errorf("%d at a time: %v allocations", depth, allocs)
		}
	}
	x := table.clients.get()
	x.customID, x.resumable = "id", true
	table.clients.put(x)
	if again := table.clients.get(); again != x || again.customID != "" || again.resumable {
		t.Errorf("the pool holds %+v", again)
	}
	for range 2 * maxPooled {
		table.clients.put(new(extra))
	}
	if len(table.clients.free) != maxPooled {
		t.Errorf("%d are kept", len(table.clients.free))
	}
}

// A client pays for the room that its reply takes, so it is not given a thousand times of that.
func TestCopyReply(t *testing.T) {
	for _, size := range []int{0, 1, 300, 64 << 10} {
		big := replyBuffers.Get()
		big.B = append(big.B[:0], make([]byte, 1<<20)...)
		replyBuffers.Put(big)
		want := bytes.Repeat([]byte{7}, size)
		b := copyReply(want)
		if !bytes.Equal(b.B, want) || cap(b.B) > 2*max(size, 256) {
			t.Errorf("%d bytes lie in %d", size, cap(b.B))
		}
		replyBuffers.Put(b)
	}
}

func TestStanding(t *testing.T) {
	for _, v := range []struct {
		ours, other uint64
		after       bool
	}{{1, 2, false}, {2, 1, true}, {5, 5, false}, {1 << 30, 1<<30 - 1, true}, {1<<30 - 1, 1 << 30, false}, {1<<40 + 3, 1<<40 + 2, true}} {
		st := arrivedAt(v.ours).with(phaseOnline)
		if st.after(v.other) != v.after || st.phase() != phaseOnline || st.with(phaseGone).phase() != phaseGone {
			t.Errorf("%d after %d: %v; phase %d", v.ours, v.other, st.after(v.other), st.phase())
		}
	}
}

func TestReplyBatch(t *testing.T) {
	batch := AppendReply(nil, TicketOf(1<<63|5), -1, nil)
	batch = AppendReply(batch, TicketOf(7), 1<<31-1, []byte("\x00\xff"))
	if len(batch) != ReplySize(nil)+ReplySize([]byte("xx")) {
		t.Errorf("%d bytes", len(batch))
	}
	g := &Gateway{scratch: make([]Scratch, 256)}
	g.OnMail(nil, 0, 0, batch) // nobody waits
	if n := g.stats.late.Load(); n != 2 {
		t.Errorf("%d late replies, want 2", n)
	}
}
