package topic

// Numbers that are given. Where several processes keep the history of one topic, something else has its
// order, and gives each message its number. A stream begins behind a number that is known to be in that
// order, and from then on keeps what it is given. It is open below: older messages may be known
// elsewhere, and be put in front. Once something of it is dropped because of its rule, nothing older is
// of interest; what goes for want of room is.
//
// Numbers rise, and leave some out. A bound is a number, of a message or not: "all from the bound on".

// A Frame is messages that have followed one another, with numbers that do.
type Frame struct {
	Seq     uint64 // the number of the last message
	At      int64  // when it came, in unix ms
	Records []byte // of AppendRecord, one behind the other
}

// reopen notes that messages up to a time went for want of room: where numbers are given, they are
// known elsewhere.
func (s *Stream) reopen(given bool, last int64) { s.open, s.opened = given && s.Begun(), last }

// Count returns how many records a frame has, and whether they are well formed.
func (f *Frame) Count() (n int, ok bool) {
	var m Message
	for rest := f.Records; len(rest) > 0; n++ {
		size, err := m.Read(rest)
		if err != nil {
			return n, false
		}
		rest = rest[size:]
	}
	return n, true
}

// since returns how many numbers of f are not below a bound.
func (f *Frame) since(bound uint64) int {
	if f.Seq < bound {
		return 0
	}
	return int(min(f.Seq-bound+1, 1<<40))
}

// Begin has the stream of a topic begin behind a position. One that reaches at least up to there goes
// on, and is what it was; anything else that it had is forgotten, and old is what is known no more.
// s is nil when the topic has no history, or there are too many; else it is locked as by Lock, and
// stays until End.
func (h *History) Begin(name []byte, at Position, now int64) (s, old *Stream) {
	h.mu.Lock()
	old = h.streams[string(name)]
	if old != nil && old.epoch == at.Epoch && old.next > at.Seq {
		h.mu.Unlock()
		old.Lock() // whoever has it wants h.mu
		return old, nil
	}
	defer h.mu.Unlock()
	if old != nil {
		h.stats.Ended += uint64(old.kept)
		h.forget(old)
	}
	if s = h.newStream(name, now); s == nil {
		return nil, old
	}
	s.order.Lock() // before anybody else finds it
	s.epoch, s.began, s.first, s.next = at.Epoch, at.Seq, at.Seq+1, at.Seq+1
	s.held, s.open, s.opened = true, true, now
	h.enforce(now)
	return s, old
}

// End forgets a stream. The caller holds s.Lock.
func (h *History) End(s *Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.list != nil {
		h.stats.Ended += uint64(s.kept)
		h.forget(s)
	}
}

// AppendAt is Append with numbers that are given: the first message has number first, the others
// follow. They came at a time. before is the bound that the stream had before. ok is false when the
// stream was forgotten, or has had that number.
func (h *History) AppendAt(s *Stream, now, at int64, first uint64, records []byte) (before uint64, n int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.list == nil || s.epoch == 0 || first < s.next {
		return 0, 0, false
	}
	before = s.next
	s.next = first
	if at = min(at, now); !s.empty() {
		at = max(at, s.segments[len(s.segments)-1].last)
	}
	return before, h.append(s, now, at, records), true
}

// Close notes that of a stream nothing is known elsewhere.
func (h *History) Close(s *Stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.open = false
}

// Skip has the stream be as far as a number, without messages. The caller holds s.Lock.
func (h *History) Skip(s *Stream, to uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.next = max(s.next, to+1)
	if s.empty() {
		s.first = s.next
	}
}

// Prepend puts messages in front of an open stream: all that there are from first on and below end,
// oldest first, which must reach up to the stream's own bound. What the rule does not want is left
// out. clock is what is to be added to a Frame's At for the caller's clock. closed says that there
// are none below first. It reports false when the stream is not open there any more, and nothing
// was done.
func (h *History) Prepend(s *Stream, now, clock int64, first, end uint64, frames []Frame, closed bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.list == nil || !s.open || first > s.first || end < s.first {
		return false
	}
	if closed {
		s.open = false
	}
	number := 0
	for i := range frames {
		n, _ := frames[i].Count()
		number += min(n, frames[i].since(first)) - min(n, frames[i].since(s.first)) // some may be here
	}
	spare := max(0, s.kept+number-s.list.rule.Count)
	limit := now
	if !s.empty() {
		limit = s.segments[s.head].begun
	}
	var list []*segment
	bound := first
	last := now - s.list.age // what came then or before is too old
	for i := range frames {
		f := &frames[i]
		n, ok := f.Count()
		if !ok || f.since(s.first) >= n {
			continue
		}
		at, rest := min(max(f.At+clock, last), limit), f.Records
		for k := range n {
			size := recordLen(rest)
			seq, record := f.Seq-uint64(n-1-k), rest[:size]
			rest = rest[size:]
			if seq < first { // what is between is not said to be there
				continue
			}
			if seq >= s.first {
				break
			}
			if spare > 0 || now-at >= s.list.age {
				bound, s.open = seq+1, false
				spare--
				continue
			}
			list = h.prepend(s, list, seq, record, len(rest)+size, at)
		}
		last = max(last, at)
	}
	if len(list) > 0 {
		h.idle.remove(s)
		before := (*segment)(nil)
		if !s.empty() {
			before = s.segments[s.head]
		}
		for _, g := range list {
			s.list.insert(g, before)
		}
		s.segments, s.head = append(list, s.segments[s.head:]...), 0
	}
	if fault == 6 {
		bound = s.began / 2
	}
	s.first = min(bound, s.first)
	h.enforce(now)
	return true
}

// prepend adds a record to the segments that are to come in front of a stream.
func (h *History) prepend(s *Stream, list []*segment, seq uint64, record []byte, all int, at int64) []*segment {
	var g *segment
	if n := len(list); n > 0 {
		g = list[n-1]
	}
	if g == nil || !g.takes(len(record), at) {
		room := max(len(record), min(all, maxSegment))
		if g != nil && len(g.data)+len(record) > cap(g.data) {
			room = max(room, min(2*cap(g.data), maxSegment))
		}
		g = &segment{stream: s, data: make([]byte, 0, room), first: seq, begun: at, last: at}
		list = append(list, g)
		h.add(g.cost())
	}
	if g.end() != seq {
		h.add(g.jumpTo(seq))
	}
	g.append(record, at)
	s.kept++
	h.stats.Messages++
	h.stats.Fetched++
	return list
}
