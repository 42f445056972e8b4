package session

import (
	"sync/atomic"
	"testing"
)

func TestCounts(t *testing.T) {
	c := NewCounts()
	for _, step := range []struct {
		slot          Slot
		limit, online int
		ok            bool
	}{
		{1, 2, 1, true}, {2, 2, 2, true}, {3, 2, 2, false},
		{2, 2, 2, true}, {2, 1, 2, true}, // whoever takes over does not count, whatever the limit
		{3, 3, 3, true}, {4, 2, 3, false}, {4, 0, 4, true}, {5, -1, 5, true},
	} {
		if online, ok := c.Acquire("ann", step.slot, step.limit); online != step.online || ok != step.ok {
			t.Errorf("Acquire(%d, limit %d) = %d, %v, want %d, %v", step.slot, step.limit, online, ok, step.online, step.ok)
		}
	}
	if c.Online("ann") != 5 || c.Online("bob") != 0 || c.Len() != 1 {
		t.Errorf("online %d, %d, users %d", c.Online("ann"), c.Online("bob"), c.Len())
	}
	c.Move("ann", 5, 50)
	for i, step := range []struct {
		slot Slot
		want int
	}{{99, 5}, {2, 5}, {2, 5}, {2, 4}, {1, 3}, {3, 2}, {4, 1}, {50, 0}, {5, 0}} { // 99 is nobody's, 5 has moved
		if c.Drop("ann", step.slot); c.Online("ann") != step.want {
			t.Errorf("step %d: after Drop(%d) %d online, want %d", i, step.slot, c.Online("ann"), step.want)
		}
	}
	if c.Len() != 0 {
		t.Errorf("%d users after the last", c.Len())
	}
	if online, ok := c.Acquire("ann", 1, 1); online != 1 || !ok {
		t.Error("superfluous Drops count against the next")
	}
}

func TestCountsConcurrent(t *testing.T) {
	c := NewCounts()
	const limit = 5
	var online atomic.Int64
	inParallel(16, func(i int) {
		for range 500 {
			if n, ok := c.Acquire("ann", Slot(i+1), limit); ok {
				if now := online.Add(1); now > limit || n > limit {
					t.Errorf("%d online of %d", now, limit)
				}
				online.Add(-1)
				c.Drop("ann", Slot(i+1))
			}
		}
	})
	if c.Len() != 0 {
		t.Error("count left behind")
	}
}

// A slot that is handed on without a break is never anybody else's.
func TestCountsHandedOn(t *testing.T) {
	c := NewCounts()
	c.Acquire("ann", 1, 1)
	done := make(chan struct{})
	inParallel(4, func(i int) {
		if i == 0 {
			defer close(done)
			for range 2000 {
				if _, ok := c.Acquire("ann", 1, 1); !ok {
					t.Error("the slot was gone")
				}
				c.Drop("ann", 1)
			}
			return
		}
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, ok := c.Acquire("ann", Slot(i+1), 1); ok {
				t.Error("a second slot of one")
			}
		}
	})
}
