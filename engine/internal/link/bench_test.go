package link

import (
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// drainedLink is a link whose worker reads all and sends nothing.
func drainedLink(t testing.TB) *link {
	t.Helper()
	h, _ := newHub(t, Config{})
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	h.stray = func(*gateway.Gateway, gateway.Ticket) bool { return false } // there are no requests
	l := newLink(h, ours, 1)
	written := make(chan error, 1)
	go func() { written <- l.outbox.write(ours, patience, func(int) {}) }()
	t.Cleanup(func() { // before newHub's
		l.outbox.close()
		if err := <-written; err != nil {
			t.Error(err)
		}
		l.outbox.release()
		ours.Close()
		theirs.Close()
	})
	return l
}

// least is how many allocations f takes, in the best of a few rounds: they are counted in the whole
// process, and a loop that does not get a core has the link take buffers that nobody has given back.
// Each round begins once the loops have caught up.
func least(f, catchUp func()) float64 {
	n := testing.AllocsPerRun(400, f)
	for try := 0; try < 20 && n > 0; try++ {
		catchUp()
		n = min(n, testing.AllocsPerRun(400, f))
	}
	return n
}

// No allocation for a batch of replies, and none for an answer.
func TestAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector lets go of pooled buffers")
	}
	l := drainedLink(t)
	payload := make([]byte, 100)
	n := least(func() {
		for range 16 {
			if err := l.gather(gateway.TicketOf(1<<32|1), 0, payload); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.flushReplies(); err != nil {
			t.Fatal(err)
		}
	}, func() { l.onLoops(func(*engine.Loop) {}) })
	if n > 1 {
		t.Errorf("%v allocations for a batch of 16 replies", n)
	}
	m := &netsvrpb.CheckOnlineResp{UniqIds: []string{"0065F1A2B300000001"}}
	n = least(func() {
		if err := l.respond(netsvr.CmdCheckOnline, m); err != nil {
			t.Fatal(err)
		}
	}, func() {})
	if n > 1 {
		t.Errorf("%v allocations for an answer", n)
	}
}

func BenchmarkReplies(b *testing.B) {
	for _, size := range []int{100, 1000} {
		for _, batch := range []int{2, 16} {
			b.Run(strconv.Itoa(size)+"x"+strconv.Itoa(batch), func(b *testing.B) {
				l := drainedLink(b)
				payload := make([]byte, size)
				b.ReportAllocs()
				for b.Loop() {
					for range batch {
						if err := l.gather(gateway.TicketOf(1<<32|1), 0, payload); err != nil {
							b.Fatal(err)
						}
					}
					if err := l.flushReplies(); err != nil {
						b.Fatal(err)
					}
				}
				l.onLoops(func(*engine.Loop) {}) // all are handled
			})
		}
	}
}

// Replies to nothing, of 1 KiB: the worker's own goroutine sees that nobody wants them.
func BenchmarkStrayReplies(b *testing.B) {
	l := drainedLink(b)
	l.hub.stray = gateway.Stray
	payload := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.gather(gateway.TicketOf(1<<32|1), 0, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l := drainedLink(b)
			ids := make([]string, n)
			for i := range ids {
				ids[i] = "0065F1A2B300000001"
			}
			m := &netsvrpb.CheckOnlineResp{UniqIds: ids}
			b.ReportAllocs()
			for b.Loop() {
				if err := l.respond(netsvr.CmdCheckOnline, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAnswerList(b *testing.B) {
	l := drainedLink(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.query(netsvr.CmdUniqIDList, nil); err != nil {
			b.Fatal(err)
		}
	}
}
