package bench

import (
	"testing"

	"github.com/sluicenet/sluice/bench/reactor"
	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/codec/gosoc"
)

// reader is a worker with one subscriber, outside of any run, and n pushes as they come off the wire.
func reader(tb testing.TB, n, size int) (*worker, *reactor.Socket, []byte) {
	p, err := Config{Scenario: "fanout", Target: "tcp://127.0.0.1:1", Connections: 1, Size: size}.plan()
	if err != nil {
		tb.Fatal(err)
	}
	w, err := newWorker(p, 0, 1)
	if err != nil {
		tb.Fatal(err)
	}
	go w.loop.Run()
	tb.Cleanup(func() { w.loop.Post(w.loop.Stop) })
	w.to = never
	body, at, _, _ := w.driver.Body(size)
	var wire []byte
	for i := range n {
		stamp.Write(body[at:size-1], stamp.Stamp{ID: stamp.ID(0, uint32(i)), Due: stamp.Ticks(1000)})
		wire, _ = gosoc.Compact.AppendSendReq(wire, gosoc.SendReq{Route: []byte("push"), Payload: body})
	}
	return w, &reactor.Socket{}, wire
}

func TestReceiveAllocates0(t *testing.T) {
	w, s, b := reader(t, 100, 100)
	n := testing.AllocsPerRun(100, func() {
		w.expectFirst(&w.conns[0])
		if used, err := w.Readable(s, b, 5_000_000); used != len(b) || err != nil {
			t.Fatal(used, err)
		}
	})
	if n != 0 && !raceEnabled {
		t.Errorf("%v allocations for 100 deliveries", n)
	}
	if w.count.Delivered != 101*100 || w.count.Lost+w.count.Late != 0 {
		t.Errorf("%+v", w.count)
	}
}

// Every cut of the stream must count the same.
func TestReceiveInPieces(t *testing.T) {
	const n = 5
	for cut := range 5 * 115 {
		w, s, b := reader(t, n, 100)
		cut := min(cut, len(b))
		used, err := w.Readable(s, b[:cut], 1e6)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Readable(s, b[used:], 1e6); err != nil {
			t.Fatal(err)
		}
		if w.count.Delivered != n || w.count.BytesIn != uint64(len(b)) {
			t.Fatalf("cut at %d: %d delivered, %d bytes of %d", cut, w.count.Delivered, w.count.BytesIn, len(b))
		}
	}
}

func BenchmarkReceive(b *testing.B) {
	for _, size := range []int{100, 1000} {
		b.Run(map[int]string{100: "100B", 1000: "1000B"}[size], func(b *testing.B) {
			n := (256 << 10) / (size + 15)
			w, s, buf := reader(b, n, size)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				w.expectFirst(&w.conns[0])
				if _, err := w.Readable(s, buf, 5_000_000); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		})
	}
}
