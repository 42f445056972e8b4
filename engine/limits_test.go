package engine

import (
	"testing"
	"time"
)

// TestSetLimits: loops take new limits, and zero fields are the defaults again.
func TestSetLimits(t *testing.T) {
	e, err := New(Config{Loops: 2, Backlog: 1 << 16, MaxConnections: 9})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	defer e.Stop(t.Context())
	look := func() (limit, lag, high, floor uint32, age int64) {
		t.Helper()
		done := make(chan struct{})
		e.TellLoop(1, func() {
			l := e.loops[1]
			limit, lag, high, floor, age = l.limit, l.lagLimit, l.highWater, l.heavy.floor, l.lagAge
			close(done)
		})
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("the loop does not run")
		}
		return
	}
	if limit, lag, high, floor, age := look(); limit != 1<<16 || lag != 16<<20 || high != 1<<14 || floor != high || age != 0 {
		t.Errorf("at the start: %d, %d, %d, %d, %d", limit, lag, high, floor, age)
	}
	e.SetLimits(Limits{Lag: 1 << 12, LagAge: time.Second, BacklogTotal: 7})
	if limit, lag, high, floor, age := look(); limit != 1<<20 || lag != 1<<12 || high != 1<<10 || floor != high || age != 1000 {
		t.Errorf("afterwards: %d, %d, %d, %d, %d", limit, lag, high, floor, age)
	}
	if n := e.Limits(); n.BacklogTotal != 7 || n.MaxConnections != e.Config().MaxConnections && n.MaxConnections < 16 {
		t.Errorf("limits %+v", n)
	}
}
