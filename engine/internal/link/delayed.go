package link

import (
	"sync"
	"time"
)

// delayed runs things later: closes that give a client time to read why.
type delayed struct {
	mu     sync.Mutex
	timers map[*time.Timer]struct{}
	closed bool
}

// maxDelayed bounds the timers that workers can start.
const maxDelayed = 1 << 17

// after runs f on a goroutine of its own, d from now; at once when there are too many timers, and
// not at all after close.
func (d *delayed) after(wait time.Duration, f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	if len(d.timers) >= maxDelayed {
		go f()
		return
	}
	if d.timers == nil {
		d.timers = make(map[*time.Timer]struct{})
	}
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		d.mu.Lock()
		closed := d.closed
		delete(d.timers, t)
		d.mu.Unlock()
		if !closed {
			f()
		}
	})
	d.timers[t] = struct{}{}
}

func (d *delayed) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for t := range d.timers {
		t.Stop()
	}
	d.timers = nil
}
