package session

import (
	"sync/atomic"
	"testing"
)

func TestCounts(t *testing.T) {
	c := NewCounts()
	for _, step := range []struct {
		limit, online int
		ok            bool
	}{{2, 1, true}, {2, 2, true}, {2, 2, false}, {3, 3, true}, {2, 3, false}, {0, 4, true}, {-1, 5, true}} {
		if online, ok := c.Acquire("ann", step.limit); online != step.online || ok != step.ok {
			t.Errorf("Acquire(limit %d) = %d, %v, want %d, %v", step.limit, online, ok, step.online, step.ok)
		}
	}
	if c.Online("ann") != 5 || c.Online("bob") != 0 || c.Len() != 1 {
		t.Errorf("online %d, %d, users %d", c.Online("ann"), c.Online("bob"), c.Len())
	}
	for range 7 { // two too many
		c.Drop("ann")
	}
	if c.Online("ann") != 0 || c.Len() != 0 {
		t.Errorf("after the last: online %d, users %d", c.Online("ann"), c.Len())
	}
	if online, ok := c.Acquire("ann", 1); online != 1 || !ok {
		t.Error("superfluous Drops count against the next")
	}
}

func TestCountsConcurrent(t *testing.T) {
	c := NewCounts()
	const limit = 5
	var online atomic.Int64
	inParallel(16, func(int) {
		for range 500 {
			if n, ok := c.Acquire("ann", limit); ok {
				if now := online.Add(1); now > limit || n > limit {
					t.Errorf("%d online of %d", now, limit)
				}
				online.Add(-1)
				c.Drop("ann")
			}
		}
	})
	if c.Len() != 0 {
		t.Error("count left behind")
	}
}
