package gateway

import (
	"context"
	"time"
)

// Drain says that the gateway is stopping: from now on logins are refused as unavailable, and
// requests as "shutting down", in the words of each protocol. Requests that wait for their answer
// still get it; see Settle.
func (g *Gateway) Drain() { g.draining.Store(true) }

// Draining reports whether Drain was called.
func (g *Gateway) Draining() bool { return g.draining.Load() }

// shuttingDown is what requests are told that come, or are not answered, during a shutdown.
const shuttingDown = "shutting down"

// settleLook is how often Settle looks whether requests wait.
const settleLook = 5 * time.Millisecond

// Settle waits until no client waits for an answer, or ctx is done; then those that still do are
// told that the gateway is shutting down, before what is posted to the loops later. Drain must have
// been called. It reports whether all were answered.
func (g *Gateway) Settle(ctx context.Context) bool {
	// Twice in a row nobody: between the looks loops have read what had arrived.
	for quiet := 0; ; {
		n, ok := g.owed(ctx)
		switch {
		case !ok:
		case n > 0:
			quiet = 0
		default:
			if quiet++; quiet == 2 {
				return true
			}
		}
		select {
		case <-ctx.Done():
			for i := range g.scratch {
				g.engine.TellLoop(i, func() { g.failAll(i) })
			}
			return false
		case <-time.After(settleLook):
		}
	}
}

// owed returns the number of requests that wait for an answer, or for their answer's turn. ok is
// false when ctx was done before each loop had said.
func (g *Gateway) owed(ctx context.Context) (n int, ok bool) {
	counts := make(chan int, len(g.scratch))
	for i := range g.scratch {
		if !g.engine.TellLoop(i, func() { counts <- g.scratch[i].pending.used }) {
			counts <- 0 // it has stopped
		}
	}
	for range g.scratch {
		select {
		case c := <-counts:
			n += c
		case <-ctx.Done():
			return 0, false
		}
	}
	return n, true
}

// failAll tells a loop's clients that their requests are not answered any more. It is called there.
func (g *Gateway) failAll(loop int) {
	t, n := &g.scratch[loop].pending, 0
	for place := uint32(1); int(place) < len(t.list); place++ {
		if p := &t.list[place]; p.ref == 0 || p.answered {
			continue
		}
		if c, s := t.client(place); s != nil {
			g.failed(c, s, place, StatusInternal, shuttingDown)
			n++
		}
	}
	if n > 0 {
		g.log.Warn("requests not answered within the shutdown's time", "requests", n)
	}
}
