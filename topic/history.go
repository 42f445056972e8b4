package topic

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// HistoryConfig sets up a History. Times are ms on the caller's clock, which must not run backwards.
type HistoryConfig struct {
	Loops int
	// Epoch is where epochs begin: what no earlier process has had, such as the time of its start in
	// microseconds.
	Epoch uint64
	// Keep is how many ms a topic that keeps nothing is remembered, so that a position in it is still
	// known to have missed nothing.
	Keep int64
	// Given says that epochs and numbers are given, by Begin and AppendAt: see given.go.
	Given bool
}

// A History keeps the last messages of topics. All methods may be called from any goroutine.
type History struct {
	config HistoryConfig
	rules  atomic.Pointer[[]matcher] // nil: no topic has history

	mu      sync.Mutex
	total   int64 // bytes that may be kept
	most    int   // topics that may be known
	streams map[string]*Stream
	lists   []*ageList // by rule
	idle    idleList
	epoch   uint64 // the last that was given out
	stats   HistoryStats

	bytes atomic.Int64 // written under mu
}

// HistoryStats are the numbers for a metrics page. Counters only rise; those marked "now" are gauges.
type HistoryStats struct {
	Topics   int    // now
	Messages int    // now
	Bytes    int64  // now: of messages, and what it takes to keep them
	Appended uint64 // messages
	Fetched  uint64 // messages of Prepend

	Over    uint64 // messages that went because of Rule.Count
	Aged    uint64 // of Rule.Age
	Evicted uint64 // of the total
	Trimmed uint64 // by Trim, or a change of the rules
	Large   uint64 // messages that were never kept, being larger than the total
	Ended   uint64 // of End, or Begin

	Forgotten uint64 // topics that kept nothing and went for others
	Refused   uint64 // times that a new topic got no history, since all that there may be keep something
}

// NewHistory makes a History that keeps nothing yet.
func NewHistory(c HistoryConfig) *History {
	return &History{config: c, epoch: c.Epoch, streams: make(map[string]*Stream)}
}

// Set replaces the rules, which CheckRules finds nothing wrong with, the total in bytes, and the most
// topics that are known at a time. Topics that have no history any more lose it; the others keep what
// the new rules allow, and as many as there are. It takes time in proportion to the topics, and to the
// messages of those whose rule has changed.
func (h *History) Set(rules []Rule, total int64, topics int, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.total, h.most = total, topics
	old := h.lists
	h.lists = make([]*ageList, len(rules))
	matchers := make([]matcher, len(rules))
	for i, r := range rules {
		if j := slices.IndexFunc(old, func(l *ageList) bool { return l != nil && l.rule == r }); j >= 0 {
			h.lists[i], old[j] = old[j], nil
		} else {
			h.lists[i] = &ageList{rule: r, age: r.Age.Milliseconds()}
		}
		stem, open := strings.CutSuffix(r.Pattern, "*")
		matchers[i] = matcher{stem, open, h.lists[i]}
	}
	if len(rules) == 0 {
		h.rules.Store(nil)
	} else {
		h.rules.Store(&matchers)
	}
	moved := make(map[*ageList][]*segment)
	for _, s := range h.streams {
		list := h.match([]byte(s.name))
		switch {
		case list == nil:
			h.stats.Trimmed += uint64(s.kept)
			h.forget(s)
			continue
		case list == s.list:
			continue
		}
		for _, g := range s.segments[s.head:] {
			s.list.remove(g)
			moved[list] = append(moved[list], g)
		}
		s.list = list
	}
	for list, segments := range moved {
		slices.SortFunc(segments, func(a, b *segment) int { return cmp.Compare(a.begun, b.begun) })
		list.merge(segments)
	}
	for _, s := range h.streams {
		h.cut(s, now)
	}
	h.enforce(now)
}

// On reports whether some topic may have history.
func (h *History) On() bool { return h.rules.Load() != nil }

// match returns the list of the first rule that matches, nil when the topic has no history.
func (h *History) match(name []byte) *ageList {
	rules := h.rules.Load()
	if rules == nil {
		return nil
	}
	for i := range *rules {
		if m := &(*rules)[i]; m.matches(name) {
			if m.list.rule.Count == 0 {
				return nil
			}
			return m.list
		}
	}
	return nil
}

// Keeps reports whether a topic has history.
func (h *History) Keeps(name []byte) bool { return h.match(name) != nil }

// Rule returns the rule of a topic, false when it has no history.
func (h *History) Rule(name []byte) (Rule, bool) {
	if list := h.match(name); list != nil {
		return list.rule, true
	}
	return Rule{}, false
}

// Stream returns the stream of a topic, which it makes when it is new; nil when the topic has no
// history, or is new and there are as many topics as may be, all of which keep something. Of those that
// keep nothing the one goes for it that has for longest. It does not keep name.
func (h *History) Stream(name []byte, now int64) *Stream {
	if h.match(name) == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.streams[string(name)]; s != nil {
		return s
	}
	s := h.newStream(name, now)
	if s == nil {
		return nil
	}
	if !h.config.Given {
		h.epoch++
		s.epoch = h.epoch
	}
	h.idle.push(s, now)
	h.enforce(now)
	return s
}

// newStream makes a stream without an epoch, nil when there may be none.
func (h *History) newStream(name []byte, now int64) *Stream {
	list := h.match(name) // under the lock: the rules may have changed
	if list == nil {
		return nil
	}
	for len(h.streams) >= h.most {
		if h.idle.oldest == nil {
			h.stats.Refused++
			return nil
		}
		h.stats.Forgotten++
		h.forget(h.idle.oldest)
	}
	s := &Stream{name: string(name), list: list, first: 1, next: 1, heard: make([]uint64, h.config.Loops)}
	h.streams[s.name] = s
	h.add(s.cost())
	return s
}

// Find returns the stream of a topic, nil when there is none.
func (h *History) Find(name []byte) *Stream {
	if !h.On() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[string(name)]
}

// Append gives numbers to messages, records of AppendRecord back to back, and keeps them. The caller
// holds s.Lock. ok is false when the stream was forgotten: then Stream makes another.
func (h *History) Append(s *Stream, now int64, records []byte) (first uint64, n int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.list == nil || s.epoch == 0 {
		return 0, 0, false
	}
	first = s.next
	return first, h.append(s, now, now, records), true
}

// append keeps records that came at a time, with the next numbers, and returns how many.
func (h *History) append(s *Stream, now, at int64, records []byte) (n int) {
	for len(records) > 0 {
		size := recordLen(records)
		h.keep(s, records[:size], len(records), at)
		records = records[size:]
		n++
	}
	h.stats.Appended += uint64(n)
	h.cut(s, now)
	h.enforce(now)
	return n
}

// keep appends a record to a stream, the first of so many bytes of them.
func (h *History) keep(s *Stream, record []byte, all int, now int64) {
	if int64(len(record)+cap(s.heard)*8)+segmentOverhead+streamOverhead > h.total {
		for !s.empty() { // what is kept has no gaps
			h.stats.Evicted += h.drop(s, now)
		}
		s.next++
		s.first = s.next
		s.reopen(h.config.Given, now)
		h.stats.Large++
		return
	}
	var g *segment
	if !s.empty() {
		g = s.segments[len(s.segments)-1]
	}
	if g == nil || !g.takes(len(record), now) {
		g = newSegment(s, len(record), all, s.list.rule.Count, s.next, now)
		h.idle.remove(s)
		s.segments = append(s.segments, g)
		s.list.push(g)
		h.add(g.cost())
	}
	if fault == 1 && s.kept >= s.list.rule.Count {
		s.next++
		return
	}
	if g.end() != s.next {
		h.add(g.jumpTo(s.next))
	}
	g.append(record, now)
	s.next++
	s.kept++
	h.stats.Messages++
}

// cut takes away what a stream has too many of.
func (h *History) cut(s *Stream, now int64) {
	most := s.list.rule.Count
	if fault == 2 {
		most = max(most-1, 1)
	}
	for s.kept > most {
		g, n := s.segments[s.head], s.kept-most
		if n >= int(g.count-s.cut) {
			h.stats.Over += h.drop(s, now)
			continue
		}
		s.cut += uint32(n)
		s.first, s.open = g.number(s.cut-1)+1, false
		s.kept -= n
		h.stats.Messages -= n
		h.stats.Over += uint64(n)
	}
}

// drop takes away a stream's first segment, and returns how many messages went.
func (h *History) drop(s *Stream, now int64) (messages uint64) {
	g := s.segments[s.head]
	s.segments[s.head] = nil
	s.head++
	s.compact()
	s.list.remove(g)
	h.add(-g.cost())
	n := int(g.count - s.cut)
	s.first, s.cut, s.open = g.end(), 0, false
	s.kept -= n
	h.stats.Messages -= n
	if s.empty() && !s.held {
		h.idle.push(s, now)
	}
	return uint64(n)
}

// forget takes a stream away. Its messages are counted by the caller.
func (h *History) forget(s *Stream) {
	for !s.empty() {
		h.drop(s, 0)
	}
	h.idle.remove(s)
	delete(h.streams, s.name)
	h.add(-s.cost())
	s.list = nil
}

func (h *History) add(n int64) { h.bytes.Add(n) }

// enforce takes away the oldest until the total holds.
func (h *History) enforce(now int64) {
	for h.bytes.Load() > h.total && h.evict(now, &h.stats.Evicted) {
	}
}

// evict takes away the oldest of all, a segment or a topic that keeps nothing. It reports false when
// there is nothing.
func (h *History) evict(now int64, count *uint64) bool {
	var oldest *segment
	for _, l := range h.lists {
		if l.oldest != nil && (oldest == nil || l.oldest.begun < oldest.begun) {
			oldest = l.oldest
		}
		if fault == 3 && l.newest != nil {
			oldest = l.newest
		}
	}
	idle := h.idle.oldest
	switch {
	case oldest == nil && idle == nil:
		return false
	case oldest == nil || idle != nil && idle.idle.since < oldest.begun:
		h.forget(idle)
	default:
		s := oldest.stream
		last := s.segments[s.head].last
		*count += h.drop(s, now)
		s.reopen(h.config.Given, last)
	}
	return true
}

// Expire takes away what is too old at now, up to max segments and topics, and returns how many: if it
// is max, there may be more. Nobody is given what is too old, whether it was taken away or not.
func (h *History) Expire(now int64, max int) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lists {
		for ; n < max && l.oldest != nil && now-l.oldest.last >= l.age; n++ {
			h.stats.Aged += h.drop(l.oldest.stream, now)
		}
	}
	for ; n < max && h.idle.oldest != nil && now-h.idle.oldest.idle.since >= h.config.Keep; n++ {
		h.forget(h.idle.oldest)
	}
	return n
}

// Trim takes away one of each so many bytes, the oldest first, and returns how many messages went.
func (h *History) Trim(part int, now int64) (messages int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, bytes := h.stats.Trimmed, h.bytes.Load()
	for h.bytes.Load() > bytes-bytes/int64(max(part, 1)) && h.evict(now, &h.stats.Trimmed) {
	}
	return int(h.stats.Trimmed - before)
}

// Known reports whether s was not forgotten. Of a topic whose stream was, Stream makes another.
func (h *History) Known(s *Stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.list != nil
}

// Touch notes that somebody keeps a position in s: it is remembered for a while from now.
func (h *History) Touch(s *Stream, now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.idle.in {
		h.idle.remove(s)
		h.idle.push(s, now)
	}
}

// Last returns the number of the last message of s; 0: there was none.
func (h *History) Last(s *Stream) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.next - 1
}

// Tail returns where the last n messages begin that s keeps up to number to, as a bound: those of them
// that are not too old at now. open says that there are fewer, and that older ones may be known
// elsewhere.
func (h *History) Tail(s *Stream, n int, to uint64, now int64) (from uint64, open bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n <= 0 || s.list == nil {
		return to + 1, false
	}
	first := s.fresh(now - s.list.age + 1)
	for i := len(s.segments) - 1; i >= s.head && n > 0; i-- {
		g := s.segments[i]
		if have := int(g.index(to + 1)); have < n {
			n -= have
		} else {
			return max(g.number(uint32(have-n)), first), false
		}
	}
	return min(first, to+1), s.open && first == s.first && now-s.opened < s.list.age
}

// Range returns the bounds of what s keeps and what is not too old at now: from the first on all
// messages are kept, and the other is that of the next to come, the same when none is.
func (h *History) Range(s *Stream, now int64) (first, next uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.list == nil {
		return s.next, s.next
	}
	return s.fresh(now - s.list.age + 1), s.next
}

// Bytes returns what is kept now. It takes no lock.
func (h *History) Bytes() int64 { return h.bytes.Load() }

// Stats returns the numbers.
func (h *History) Stats() HistoryStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := h.stats
	st.Topics, st.Bytes = len(h.streams), h.bytes.Load()
	return st
}
