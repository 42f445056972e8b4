package admin

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
)

// newRunning is newServer with an engine that runs, and so many connections on its loops.
func newRunning(t testing.TB, connections int) *Server {
	t.Helper()
	g, err := gateway.New(gateway.Config{Login: login.Open{}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(e, g, nil, nil, Config{Address: "127.0.0.1:0", Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	g.Bind(e)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	for range connections {
		var c net.Conn
		if c, err = e.Attach([]byte("t"), netip.AddrPort{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() }) // before the engine stops
	}
	return s
}

// TestOneAtATime: however many ask a loop, a turn of it runs what one of them has told it.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	s := newRunning(t, 0)
	began, goOn := make(chan struct{}), make(chan struct{})
	s.engine.Visit(0, func(*engine.Loop) { close(began); <-goOn }) // so that all of them come meanwhile
	<-began
	const askers, times = 8, 20
	seen := make(map[uint64]int) // by turn: the loop's
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			for range times {
				if err := s.onLoop(t.Context(), 0, func(l *engine.Loop) { seen[l.Report().Turns]++ }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for len(s.turns[0]) > 0 {
		time.Sleep(time.Millisecond)
	}
	close(goOn)
	all.Wait()
	for turn, n := range seen {
		if n > 1 {
			t.Errorf("turn %d runs %d of them", turn, n)
		}
	}
	if len(seen) != askers*times && !t.Failed() {
		t.Errorf("%d turns", len(seen))
	}
}

// TestOnLoopFails: who asks is told at once when it has failed on the loop, and the next one is served. Who
// has given up does not keep the loop from others.
func TestOnLoopFails(t *testing.T) {
	t.Parallel()
	s := newRunning(t, 0)
	if err := s.onLoop(t.Context(), 0, func(*engine.Loop) { panic("at it") }); !errors.Is(err, errLoopFailed) {
		t.Errorf("a panic: %v", err)
	}
	began, goOn := make(chan struct{}), make(chan struct{})
	s.engine.Visit(0, func(*engine.Loop) { close(began); <-goOn })
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.onLoop(ctx, 0, func(*engine.Loop) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	close(goOn)
	if err := s.onLoop(t.Context(), 0, func(*engine.Loop) {}); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// TestSliceIsShort: a slice of a list looks at a bounded number of connections, and allocates nothing on
// the loop, so that neither sorting nor the garbage collector holds the loop up for it.
func TestSliceIsShort(t *testing.T) {
	sl := slice{begun: time.Now().Add(time.Hour), every: 16}
	n := 1
	for !sl.over() {
		n++
	}
	if n != sliceSteps {
		t.Errorf("%d steps while the time is not up", n)
	}

	s := newRunning(t, 60)
	f, all := connFilter{listener: -1, search: []byte("unix")}, readFilter(new(query))
	if !all.none || f.none {
		t.Errorf("%v, %v", all, f)
	}
	for name, key := range map[string]func(*engine.Conn) int64{"since": sortKeys["since"], "-memoryBytes": sortKeys["memoryBytes"], "user": nil} {
		r := newRanking(true, 10)
		r.makeRoom(sliceSteps)
		allocs := -1.0
		if err := s.onLoop(t.Context(), 0, func(l *engine.Loop) {
			allocs = testing.AllocsPerRun(10, func() {
				r.list = r.list[:0]
				s.rankSlice(l, 0, &f, key, &r)
				r.list = r.list[:0]
				s.rankSlice(l, 0, &all, key, &r)
			})
		}); err != nil {
			t.Fatal(err)
		}
		if allocs != 0 || len(r.list) != 30 {
			t.Errorf("a slice by %s: %v allocations for %d", name, allocs, len(r.list))
		}
		r.free()
	}
	seen := make([]sight, 0, 100)
	allocs := -1.0
	if err := s.onLoop(t.Context(), 1, func(l *engine.Loop) {
		allocs = testing.AllocsPerRun(10, func() {
			seen = seen[:0]
			l.Walk(0, func(c *engine.Conn) bool {
				seen = append(seen, sightOf(c))
				return true
			})
		})
	}); err != nil {
		t.Fatal(err)
	}
	if allocs != 0 || len(seen) != 30 {
		t.Errorf("%d rows: %v allocations", len(seen), allocs)
	}
}
