package engine

func (l *Loop) at(slot uint32) *Conn { return &l.chunks[slot/chunkSize][slot%chunkSize] }

// conn returns the connection called ref, nil when it is gone or is closing.
func (l *Loop) conn(ref Ref) *Conn {
	slot := ref.slot()
	if int(slot/chunkSize) >= len(l.chunks) {
		return nil
	}
	c := l.at(slot)
	if c.gen != ref.gen() || c.state == stateFree {
		return nil
	}
	return c
}

// Conn returns the connection called ref, nil when it is gone or no longer its handler's.
func (l *Loop) Conn(ref Ref) *Conn {
	if c := l.conn(ref); c != nil && ref.loop() == l.index && c.Open() {
		return c
	}
	return nil
}

// Subscribers appends the connections of this loop that have subscribed to a topic.
func (l *Loop) Subscribers(dst []Ref, name []byte) []Ref {
	k, ok := l.engine.topics.Lookup(name)
	if !ok {
		return dst
	}
	for _, s := range l.shard.Subscribers(k) {
		dst = append(dst, l.at(s.Slot).Ref())
	}
	return dst
}

// Each calls f for each client of the loop: open connections that have a dialect.
func (l *Loop) Each(f func(*Conn)) {
	l.each(func(c *Conn) {
		if c.Open() && c.flags&flagClient != 0 {
			f(c)
		}
	})
}

// each calls f for each slot in use.
func (l *Loop) each(f func(*Conn)) {
	for _, chunk := range l.chunks {
		for i := range chunk {
			if chunk[i].state != stateFree {
				f(&chunk[i])
			}
		}
	}
}

// allocate takes a free slot; ok is false when the table is full.
func (l *Loop) allocate() (c *Conn, ok bool) {
	if len(l.freeSlots) == 0 {
		base := uint32(len(l.chunks) * chunkSize)
		if base >= maxSlots {
			return nil, false
		}
		l.chunks = append(l.chunks, make([]Conn, chunkSize))
		l.meters = append(l.meters, make([]Traffic, chunkSize))
		for i := uint32(chunkSize); i > 0; i-- {
			l.freeSlots = append(l.freeSlots, base+i-1)
		}
	}
	slot := l.freeSlots[len(l.freeSlots)-1]
	l.freeSlots = l.freeSlots[:len(l.freeSlots)-1]
	c = l.at(slot)
	*c = Conn{loop: l, slot: slot, gen: c.gen + 1, fd: -1}
	if c.gen == 0 {
		c.gen = 1 // Ref 0 means none
	}
	*c.meter() = Traffic{Since: l.now}
	return c, true
}
