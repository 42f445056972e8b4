package topic

// A Subscriber is one connection's place in a topic.
type Subscriber struct {
	Slot  uint32 // the connection's slot in its loop
	index uint32 // where the member's own list names this subscription, and freshBit
}

// freshBit marks a subscription that is younger than some message on its way to the loop.
const freshBit = 1 << 31

// Fresh reports whether the subscription was made as fresh and not settled since.
func (s Subscriber) Fresh() bool { return s.index&freshBit != 0 }

// A Pressure says how a member takes what is published, for those who count receivers.
type Pressure uint8

// The pressures.
const (
	Flowing   Pressure = iota // takes what comes
	Congested                 // publishers may have to wait for it
	Excluded                  // does not count: it has stalled
)

// A Member is a connection's list of subscriptions. The zero Member has none.
// It must stay at its address while it has subscriptions.
type Member struct {
	one  subscription // the only subscription while more is nil; 16 bytes serve the usual client
	more *memberList
}

type subscription struct {
	topic    ID
	position uint32 // in the shard's slice of topic
}

type memberList struct {
	list []subscription
	// index maps a topic to its place in list once the list is too long to search.
	index map[ID]uint32
}

// searchable is how many subscriptions are searched one by one: 16 of them are two cache lines.
const searchable = 16

// A Shard is one loop's part of the index: for each topic, the slots that subscribed.
type Shard struct {
	dir    *Directory
	loop   int
	topics []local
	member func(slot uint32) *Member
}

type local struct {
	gen  uint32
	subs []Subscriber
}

// NewShard makes the shard of a loop. member finds the Member of a slot that subscribed.
func NewShard(dir *Directory, loop int, member func(slot uint32) *Member) *Shard {
	return &Shard{dir: dir, loop: loop, member: member}
}

// Subscribers returns the subscribers of k on this loop, none when k is a topic of the past.
// The slice is valid until the next Subscribe, Unsubscribe or Leave.
func (s *Shard) Subscribers(k Key) []Subscriber {
	if int(k.ID) >= len(s.topics) {
		return nil
	}
	if t := &s.topics[k.ID]; t.gen == k.Gen {
		return t.subs
	}
	return nil
}

// Subscribe adds slot's member m to the topic called name, which is copied when it is new.
// It reports false when m had subscribed already. p is m's present pressure. fresh marks the
// subscription until Settle.
func (s *Shard) Subscribe(m *Member, slot uint32, name []byte, dialect uint8, p Pressure, fresh bool) (k Key, ok bool) {
	if k, ok := s.dir.Lookup(name); ok && m.find(k.ID) >= 0 {
		return k, false
	}
	k = s.dir.join(name, s.loop, dialect)
	s.dir.press(k.ID, s.loop, p, 1)
	for int(k.ID) >= len(s.topics) {
		s.topics = append(s.topics, local{})
	}
	t := &s.topics[k.ID]
	t.gen = k.Gen
	index := m.add(subscription{k.ID, uint32(len(t.subs))})
	if fresh {
		index |= freshBit
	}
	t.subs = append(t.subs, Subscriber{slot, index})
	return k, true
}

// Settle ends the freshness of m's subscription to a topic, if it is still there.
func (s *Shard) Settle(m *Member, id ID) {
	if i := m.find(id); i >= 0 {
		s.topics[id].subs[m.at(uint32(i)).position].index &^= freshBit
	}
}

// Unsettle marks m's subscription to a topic as fresh until Settle, if it is there.
func (s *Shard) Unsettle(m *Member, id ID) {
	if i := m.find(id); i >= 0 {
		s.topics[id].subs[m.at(uint32(i)).position].index |= freshBit
	}
}

// Unsubscribe removes m from the topic called name. It reports false when m was not in it. p is m's
// present pressure.
func (s *Shard) Unsubscribe(m *Member, name []byte, p Pressure) bool {
	k, ok := s.dir.Lookup(name)
	if !ok {
		return false
	}
	i := m.find(k.ID)
	if i < 0 {
		return false
	}
	s.remove(m, uint32(i), p)
	return true
}

// Leave removes m from all its topics. p is m's present pressure.
func (s *Shard) Leave(m *Member, p Pressure) {
	for n := m.Len(); n > 0; n-- {
		s.remove(m, uint32(n-1), p)
	}
}

// Press tells the directory, for each of m's topics, that m's pressure changes.
func (s *Shard) Press(m *Member, from, to Pressure) {
	for i := range m.Len() {
		id := m.at(uint32(i)).topic
		s.dir.press(id, s.loop, from, -1)
		s.dir.press(id, s.loop, to, 1)
	}
}

// Progress returns when a congested subscriber of one of m's topics, on any loop, has last taken bytes.
func (s *Shard) Progress(m *Member) (last int64) {
	for i := range m.Len() {
		for loop := range s.dir.loops {
			last = max(last, s.dir.Pressure(Key{ID: m.at(uint32(i)).topic}, loop).Progress)
		}
	}
	return last
}

// Progressed tells the directory, for each of m's topics, that m has taken bytes at a time on the
// caller's clock. It is for members that are congested.
func (s *Shard) Progressed(m *Member, at int64) {
	for i := range m.Len() {
		s.dir.progressed(m.at(uint32(i)).topic, s.loop, at)
	}
}

// Restand finds out anew, for each topic of some members, when one of those that are congested still
// has last taken bytes, and how far they are behind. congested yields them, each with when it has, and
// how much of its limits it has used up, in millionths; it is called three times and must yield the
// same.
func (s *Shard) Restand(congested func(yield func(m *Member, at, behind int64))) {
	each := func(f func(p *pressed, at, behind int64)) {
		congested(func(m *Member, at, behind int64) {
			for i := range m.Len() {
				f(s.dir.pressed(m.at(uint32(i)).topic, s.loop), at, behind)
			}
		})
	}
	each(func(p *pressed, _, _ int64) { p.next = stand{} })
	each(func(p *pressed, at, behind int64) {
		p.next.at = max(p.next.at, at)
		p.next.n++
		p.next.behind += behind
	})
	each(func(p *pressed, _, _ int64) {
		p.standing.Store(p.next.at)
		p.behind.Store(p.next.behind / p.next.n)
	})
}

// Fell notes that the congested of k on this loop are behind by so many millionths more.
func (s *Shard) Fell(k Key, by int64) {
	s.dir.fell(k.ID, s.loop, by)
}

func (s *Shard) remove(m *Member, index uint32, p Pressure) {
	sub := *m.at(index)
	s.dir.press(sub.topic, s.loop, p, -1)

	t := &s.topics[sub.topic]
	last := uint32(len(t.subs) - 1)
	if sub.position != last {
		moved := t.subs[last]
		t.subs[sub.position] = moved
		s.member(moved.Slot).at(moved.index &^ freshBit).position = sub.position
	}
	t.subs = t.subs[:last]
	switch {
	case last == 0:
		t.subs = nil
	case cap(t.subs) > 64 && int(last) < cap(t.subs)/4:
		t.subs = append(make([]Subscriber, 0, cap(t.subs)/2), t.subs...)
	}

	if moved, ok := m.cut(index); ok {
		other := &s.topics[moved.topic].subs[moved.position]
		other.index = index | other.index&freshBit
	}
	s.dir.leave(sub.topic, s.loop)
}

// Names appends the names of m's topics.
func (s *Shard) Names(dst []string, m *Member) []string {
	for i := range m.Len() {
		dst = append(dst, s.dir.Name(m.at(uint32(i)).topic))
	}
	return dst
}

// Len returns how many topics m has subscribed to.
func (m *Member) Len() int {
	switch {
	case m.more != nil:
		return len(m.more.list)
	case m.one.topic != 0:
		return 1
	}
	return 0
}

func (m *Member) at(i uint32) *subscription {
	if m.more != nil {
		return &m.more.list[i]
	}
	return &m.one
}

// find returns the place of topic id in m's list, or -1.
func (m *Member) find(id ID) int {
	if m.more == nil {
		if m.one.topic == id {
			return 0
		}
		return -1
	}
	if m.more.index != nil {
		if i, ok := m.more.index[id]; ok {
			return int(i)
		}
		return -1
	}
	for i := range m.more.list {
		if m.more.list[i].topic == id {
			return i
		}
	}
	return -1
}

func (m *Member) add(sub subscription) (index uint32) {
	if m.more == nil {
		if m.one.topic == 0 {
			m.one = sub
			return 0
		}
		m.more = &memberList{list: append(make([]subscription, 0, 4), m.one)}
		m.one = subscription{}
	}
	l := m.more
	l.list = append(l.list, sub)
	index = uint32(len(l.list) - 1)
	switch {
	case l.index != nil:
		l.index[sub.topic] = index
	case len(l.list) > searchable:
		l.index = make(map[ID]uint32, 2*searchable)
		for i, s := range l.list {
			l.index[s.topic] = uint32(i)
		}
	}
	return index
}

// cut removes the subscription at index. When another one took its place, cut returns that one.
func (m *Member) cut(index uint32) (moved subscription, ok bool) {
	l := m.more
	if l == nil {
		m.one = subscription{}
		return moved, false
	}
	last := uint32(len(l.list) - 1)
	if l.index != nil {
		delete(l.index, l.list[index].topic)
	}
	if index != last {
		moved, ok = l.list[last], true
		l.list[index] = moved
		if l.index != nil {
			l.index[moved.topic] = index
		}
	}
	l.list = l.list[:last]
	if last == 0 {
		m.more = nil
	}
	return moved, ok
}

// Has reports whether m has subscribed to a topic.
func (m *Member) Has(id ID) bool { return m.find(id) >= 0 }
