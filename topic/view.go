package topic

import "math"

// A View is a stretch of a topic's history. It may be read without a lock, for as long as one likes,
// and be used again. The zero View is empty.
type View struct {
	// Known is false when the stream was forgotten: then the view is empty, and nobody knows what
	// has been published since.
	Known bool
	// First is a bound: all messages are kept, and not too old, that have this number or a greater one.
	// Next is that of what is to come, which is First when nothing is kept.
	First, Next uint64
	// Open says that elsewhere it may be known what there was below First: messages that are too old by
	// now, perhaps, or none. See History.Prepend.
	Open bool
	// End is the bound of the view: Read returns all that is kept from where it begins up to there.
	End uint64

	from    uint64 // the number of the next message that Read returns
	to      uint64
	now     int64 // messages that came before since are too old
	since   int64
	parts   []part
	at      int // of parts, the one that is read
	message Message
}

// A part is a segment as it was when it was looked at.
type part struct {
	data  []byte
	first uint64 // of the record at the front of data
	at    uint32 // its place in the segment
	begun int64
	jumps []jump // those behind it
}

// Look makes v what s keeps from number from up to and with to, and is not too old at now: so much that
// it is at least bytes bytes, or all.
func (h *History) Look(v *View, s *Stream, from, to uint64, now int64, bytes int) {
	clear(v.parts)
	*v = View{parts: v.parts[:0], message: Message{Route: v.message.Route}, now: now}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.list == nil {
		return
	}
	v.Known, v.Next = true, s.next
	v.since = now - s.list.age + 1
	if fault == 4 {
		v.since = math.MinInt64 / 2
	}
	v.First = s.fresh(v.since)
	v.Open = s.open && v.First == s.first
	v.from, v.to = max(from, v.First), min(to, s.next-1)
	if fault == 5 {
		v.from = from
	}
	v.End = v.to + 1
	for i := s.find(v.from); i < len(s.segments) && s.segments[i].first <= v.to; i++ {
		if bytes <= 0 {
			v.End = s.segments[i-1].end()
			break
		}
		g := s.segments[i]
		v.parts = append(v.parts, part{data: g.data, first: g.first, begun: g.begun, jumps: g.jumpList()})
		bytes -= len(g.data)
		if v.from > g.first { // some of it is in front
			bytes += int(uint64(len(g.data)) * uint64(g.index(v.from)) / uint64(g.count))
		}
	}
}

// fresh returns the bound from which on all messages came at since or later.
func (s *Stream) fresh(since int64) uint64 {
	if s.empty() {
		return s.first
	}
	bound := s.first
	for _, g := range s.segments[s.head:] {
		if g.last < since {
			bound = g.end()
			continue
		}
		old, at := uint32(0), 0
		var m Message
		for g.begun < since && at < len(g.data) {
			n := m.decode(g.data[at:], g.begun)
			if m.At >= since {
				break
			}
			at += n
			old++
		}
		if old > 0 {
			bound = max(bound, g.number(old-1)+1)
		}
		return bound
	}
	return s.next
}

// Read returns the next message, valid until the next call, or nil. Its payload is valid for as long
// as anybody has it.
func (v *View) Read() *Message {
	for v.at < len(v.parts) {
		p := &v.parts[v.at]
		if len(p.data) == 0 {
			v.at++
			continue
		}
		n := v.message.decode(p.data, p.begun)
		p.data = p.data[n:]
		v.message.Seq = p.first
		p.first++
		p.at++
		if len(p.jumps) > 0 && p.jumps[0].at == p.at {
			p.first, p.jumps = p.jumps[0].number, p.jumps[1:]
		}
		switch {
		case v.message.Seq < v.from:
		case v.message.Seq > v.to:
			v.at = len(v.parts)
		default:
			return &v.message
		}
	}
	return nil
}
