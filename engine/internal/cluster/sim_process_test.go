package cluster

// A simProcess is one process of a simulated cluster: what is the same whatever is published.
type simProcess struct {
	number uint64 // counts processes
	member Member
	bus    *simBus // of its data
	nodes  *nodes
	t      *topics
	alive  bool
}

// meets has another process come into p's table, in place of an earlier one of the same server id.
func (p *simProcess) meets(m Member) {
	if old, ok := p.nodes.find(m.ID); ok {
		p.parts(old)
	}
	p.nodes.put(m)
}

// parts has another process leave p's table.
func (p *simProcess) parts(m Member) {
	p.nodes.remove(m.ID)
	p.t.nodeGone(m)
}

// die ends p without a word to the others. It is not alive any more: its world has seen to that.
func (p *simProcess) die() {
	p.bus.lose(false)
	p.bus.net.mu.Lock()
	p.bus.dead = true
	p.bus.net.mu.Unlock()
	p.t.changed(false)
	p.t.close()
}
