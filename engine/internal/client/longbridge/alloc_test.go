package longbridge_test

import (
	"fmt"
	"io"
	"testing"
)

// The plain path of a request and its response costs the gateway no allocation. The count is of the
// whole process, so that the loops' goroutines are in it.
func TestEchoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			round := p.roundTrip(100)
			for range 100 {
				round()
			}
			if n := testing.AllocsPerRun(1000, round); n > 0 {
				t.Errorf("%v allocations per request", n)
			}
		})
	}
}

// roundTrip returns a function that sends an echo request of a body of n bytes and reads the
// response, without an allocation of its own.
func (p *peer) roundTrip(n int) func() {
	wire := p.wire(p.req(200, 1, 0, nil, make([]byte, n)))
	p.write(wire)
	g := p.want()
	size := 10 + len(g.body)
	if p.v2 {
		size += 2
	}
	if p.framed {
		size += 2
		if size-2 > 125 {
			size += 2
		}
		if size-4 > 65535 {
			size += 6
		}
	}
	buf := make([]byte, size)
	return func() {
		if _, err := p.conn.Write(wire); err != nil {
			p.tb.Fatal(err)
		}
		if _, err := io.ReadFull(p.r, buf); err != nil {
			p.tb.Fatal(err)
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	s := start(b, nil)
	for _, f := range []form{{name: "tcp"}, {name: "ws", framed: true}} {
		for _, size := range []int{16, 1024, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d", f.name, size), func(b *testing.B) {
				p := online(b, s, f, "")
				round := p.roundTrip(size)
				b.SetBytes(int64(2 * size))
				b.ReportAllocs()
				for b.Loop() {
					round()
				}
			})
		}
	}
}
