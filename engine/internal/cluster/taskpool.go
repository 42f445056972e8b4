package cluster

import "sync"

// A taskPool runs functions on at most limit goroutines, which it makes when there is something to run.
type taskPool struct {
	limit, room int // goroutines, and functions that may wait

	mu      sync.Mutex
	queue   []func()
	running int
	closed  bool
	tasks   sync.WaitGroup
}

// submit has f run. It reports false when too many wait, or the pool is closed.
func (p *taskPool) submit(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return false
	case p.running < p.limit:
		p.running++
		p.tasks.Go(func() { p.run(f) })
	case len(p.queue) >= p.room:
		return false
	default:
		p.queue = append(p.queue, f)
	}
	return true
}

func (p *taskPool) run(f func()) {
	for {
		f()
		p.mu.Lock()
		if len(p.queue) == 0 {
			p.queue = nil
			p.running--
			p.mu.Unlock()
			return
		}
		f = p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.mu.Unlock()
	}
}

// close waits for what was submitted, and takes no more.
func (p *taskPool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.tasks.Wait()
}
