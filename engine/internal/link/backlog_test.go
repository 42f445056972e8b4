package link

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
)

// pops takes frames until the backlog is empty and returns whose they were, in order.
func pops(b *backlog) (clients []uint64) {
	for !b.empty() {
		_, client, _ := b.pop(nil)
		clients = append(clients, client)
	}
	return clients
}

// Who is served when: each line is frames as they come, client and size, and clients as they are
// served.
func TestBacklogTurns(t *testing.T) {
	type frame struct {
		client uint64
		size   int
	}
	times := func(n int, f ...frame) (list []frame) {
		for range n {
			list = append(list, f...)
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		frames []frame
		want   string
	}{
		{"one", times(3, frame{1, 5000}), "[1 1 1]"},
		{"one with 5, one with 1", append(times(5, frame{1, turnBytes}), frame{2, turnBytes}), "[1 2 1 1 1 1]"},
		{"three", times(2, frame{1, turnBytes}, frame{2, turnBytes}, frame{3, turnBytes}), "[1 2 3 1 2 3]"},
		{"short frames share a turn", append(times(4, frame{1, turnBytes / 2}), times(2, frame{2, turnBytes})...), "[1 1 2 1 1 2]"},
		{"long frames are paid for", append(times(2, frame{1, 4 * turnBytes}), times(6, frame{2, turnBytes})...), "[1 2 2 2 2 1 2 2]"},
		{"who comes later pays for nobody", append(times(2, frame{1, 1 << 20}), frame{2, 10}, frame{3, 1 << 20}), "[1 2 3 1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b backlog
			for _, f := range tt.frames {
				b.push(f.client, make([]byte, f.size))
			}
			if got := fmt.Sprint(pops(&b)); got != tt.want {
				t.Errorf("served %s, want %s", got, tt.want)
			}
		})
	}
}

// The gateway's own frames go before clients', but for one that is to be last.
func TestBacklogOwn(t *testing.T) {
	var b backlog
	put := func(i uint32, text string) { b.pushTo(i, []byte(text)) }
	put(lastQueue, "6")
	b.push(1, []byte("3"))
	put(ownQueue, "1")
	b.push(2, []byte("4"))
	put(ownQueue, "2")
	b.push(1, []byte("5"))
	var got []byte
	for !b.empty() {
		got, _, _ = b.pop(got)
	}
	if string(got) != "123546" { // 3 and 5 are one turn
		t.Errorf("out went %s", got)
	}
}

// Whatever comes and goes, each client's frames stay whole and in order, the counts are right, and
// nothing is left in the end.
func TestBacklogOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var b backlog
	waiting := make(map[uint64][][]byte)
	pop := func() {
		frame, client, size := b.pop(nil)
		if list := waiting[client]; len(list) == 0 || string(list[0]) != string(frame) || size != len(frame) {
			t.Fatalf("client %d: a frame of %d bytes out of order", client, size)
		}
		if waiting[client] = waiting[client][1:]; len(waiting[client]) == 0 {
			delete(waiting, client)
		}
	}
	for round := range 20_000 {
		if r.IntN(3) > 0 == (round/1000%2 == 0) {
			client := 1 + r.Uint64N(300)
			frame := make([]byte, 8+r.IntN([]int{20, 300, 3000}[r.IntN(3)]))
			binary.LittleEndian.PutUint64(frame, r.Uint64())
			b.push(client, frame)
			waiting[client] = append(waiting[client], frame)
		} else if !b.empty() {
			pop()
		}
		if round%100 > 0 {
			continue
		}
		bytes := 0
		for client, list := range waiting {
			has := 0
			for _, f := range list {
				has += len(f)
			}
			bytes += has
			if got := b.of(client); got != has {
				t.Fatalf("client %d has %d bytes, want %d", client, got, has)
			}
		}
		if b.bytes != bytes || len(b.clients) != len(waiting) {
			t.Fatalf("%d bytes of %d clients, want %d of %d", b.bytes, len(b.clients), bytes, len(waiting))
		}
	}
	for !b.empty() {
		pop()
	}
	if len(waiting) > 0 || b.memory() > keptQueues*queueCost+8*keptQueues {
		t.Errorf("%d clients wait, %d bytes are kept", len(waiting), b.memory())
	}
}

// What is allocated for a backlog is in proportion to what counts, also for many clients with
// little.
func TestBacklogMemory(t *testing.T) {
	for _, size := range []int{20, 100, 5000} {
		for _, frames := range []int{1, 100} {
			var b backlog
			for client := range uint64(1 << 20 / (size * frames)) {
				for range frames {
					b.push(client+1, make([]byte, size))
				}
			}
			if b.memory() > 3*b.cost() {
				t.Errorf("%d frames of %d bytes per client: %d bytes for %d", frames, size, b.memory(), b.cost())
			}
			b.reset()
			if b.memory() > 1<<13 {
				t.Errorf("%d bytes are kept", b.memory())
			}
		}
	}
}

// A frame behind a backlog allocates nothing.
func TestBacklogAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector lets go of pooled pages")
	}
	o, frame := newOutbox(1<<20), make([]byte, 500)
	n := testing.AllocsPerRun(100, func() {
		for range 4 {
			for client := range uint64(40) {
				o.putFor(client+1, len(frame), func(dst []byte) []byte { return append(dst, frame...) })
			}
		}
		for o.waits() {
			_, _ = o.take()
			o.done()
		}
	})
	if n > 0 {
		t.Errorf("%v allocations for 160 frames", n)
	}
}

// A client has 1,000 requests in the queue of a worker that reads slowly; another asks once.
func TestQueueTurns(t *testing.T) {
	h, _ := newHub(t, Config{})
	w := attach(t, h, true)
	_ = w.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
	w.register(1)
	l := h.groups[1].pickOpen()
	for range 1000 {
		m := netsvr.Request{UniqID: []byte("flood"), Payload: make([]byte, 4<<10), ID: 1}
		if h.queueFor(l, engine.Ref(1), len(m.Payload), netsvr.CmdRequest, m.Append) != Delivered {
			t.Fatal("refused")
		}
	}
	await(t, "full socket", func() bool {
		at := l.progress.writing.Load()
		return at != 0 && h.now()-at > int64(50*time.Millisecond)
	})
	m := netsvr.Request{UniqID: []byte("other"), Payload: []byte("hello"), ID: 2}
	h.queueFor(l, engine.Ref(2), len(m.Payload), netsvr.CmdRequest, m.Append)
	for before := range 1000 {
		_, payload, err := w.read()
		if err != nil {
			t.Fatal(err)
		}
		var r netsvr.Request
		if err := r.Decode(payload); err != nil {
			t.Fatal(err)
		}
		if string(r.UniqID) == "other" {
			// What is in the socket cannot be overtaken. Without turns it is 1,000.
			if before > 100 {
				t.Errorf("behind %d frames", before)
			}
			t.Logf("behind %d", before)
			return
		}
	}
	t.Error("behind all others")
}
