package worker

import (
	"context"
	"hash/maphash"
	"sync"
)

// lanes handle events: those of one client on one goroutine, in order.
type lanes struct {
	list []lane
	seed maphash.Seed
}

type lane struct {
	mu     sync.Mutex
	ready  sync.Cond // something is queued, or closed is set
	queue  []task
	closed bool
}

// A task holds cost bytes of its link's inbox until it is done.
type task struct {
	event event
	inbox *inbox
	cost  int
}

// keepTasks is how many tasks an idle lane keeps room for.
const keepTasks = 1024

func newLanes(n int) *lanes {
	ls := &lanes{list: make([]lane, n), seed: maphash.MakeSeed()}
	for i := range ls.list {
		ls.list[i].ready.L = &ls.list[i].mu
	}
	return ls
}

// push queues t behind what the same client sent before. It never blocks: the inbox is the bound.
// False means that the lanes are closed.
func (ls *lanes) push(uniqID string, t task) bool {
	l := &ls.list[0]
	if len(ls.list) > 1 {
		l = &ls.list[maphash.String(ls.seed, uniqID)%uint64(len(ls.list))]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.queue = append(l.queue, t)
	if len(l.queue) == 1 {
		l.ready.Signal()
	}
	return true
}

// close lets every lane end when it has handled what is queued.
func (ls *lanes) close() {
	for i := range ls.list {
		l := &ls.list[i]
		l.mu.Lock()
		l.closed = true
		l.ready.Signal()
		l.mu.Unlock()
	}
}

func (l *lane) run(ctx context.Context, w *Worker) {
	var batch []task
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && !l.closed {
			l.ready.Wait()
		}
		if len(l.queue) == 0 {
			l.mu.Unlock()
			return
		}
		batch, l.queue = l.queue, batch[:0]
		l.mu.Unlock()
		for i := range batch {
			t := batch[i]
			batch[i] = task{}
			t.event.serve(ctx, w)
			t.inbox.release(t.cost)
		}
		if cap(batch) > keepTasks {
			batch = nil
		}
	}
}
