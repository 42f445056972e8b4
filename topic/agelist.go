package topic

// An ageList is the segments of one rule in the order in which they were begun, which is also the
// order in which they grow too old.
type ageList struct {
	rule           Rule
	age            int64 // ms
	oldest, newest *segment
}

func (l *ageList) push(g *segment) {
	g.prev, g.next = l.newest, nil
	if l.newest != nil {
		l.newest.next = g
	} else {
		l.oldest = g
	}
	l.newest = g
}

// insert puts g in front of another, nil: behind all.
func (l *ageList) insert(g, before *segment) {
	if before == nil {
		l.push(g)
		return
	}
	g.prev, g.next = before.prev, before
	if before.prev != nil {
		before.prev.next = g
	} else {
		l.oldest = g
	}
	before.prev = g
}

func (l *ageList) remove(g *segment) {
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		l.oldest = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		l.newest = g.prev
	}
	g.prev, g.next = nil, nil
}

// merge takes over segments that are in the order of their beginnings.
func (l *ageList) merge(list []*segment) {
	at := l.oldest
	for _, g := range list {
		for at != nil && at.begun <= g.begun {
			at = at.next
		}
		l.insert(g, at)
	}
}

// An idlePlace is a stream's place among those that keep nothing, the one that has for longest first.
type idlePlace struct {
	since      int64 // ms
	prev, next *Stream
	in         bool
}

type idleList struct{ oldest, newest *Stream }

func (l *idleList) push(s *Stream, now int64) {
	s.idle = idlePlace{since: now, prev: l.newest, in: true}
	if l.newest != nil {
		l.newest.idle.next = s
	} else {
		l.oldest = s
	}
	l.newest = s
}

func (l *idleList) remove(s *Stream) {
	p := &s.idle
	if !p.in {
		return
	}
	if p.prev != nil {
		p.prev.idle.next = p.next
	} else {
		l.oldest = p.next
	}
	if p.next != nil {
		p.next.idle.prev = p.prev
	} else {
		l.newest = p.prev
	}
	*p = idlePlace{}
}
