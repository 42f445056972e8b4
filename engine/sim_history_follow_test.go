package engine_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// follow shows f what its client receives. It returns what must not be, empty if all is well.
func (m *historyModel) follow(f follower, text string) string {
	switch {
	case strings.HasPrefix(text, joinMark):
		n, err := strconv.Atoi(text[len(joinMark):])
		if err != nil || n >= len(m.joins) {
			return fmt.Sprintf("%q is no subscription", text)
		}
		switch j := m.joins[n]; {
		case j.ended:
			delete(f, j.topic)
		case j.of == 0:
			f[j.topic] = j.begin
		case f[j.topic].join == j.of && f[j.topic].epoch == 0 && f[j.topic].gap == 0:
			f[j.topic] = j.begin
		}
		return ""
	case strings.HasPrefix(text, "{"):
		return m.followGap(f, text)
	}
	_, id, ok := parseMessage([]byte(text))
	p := m.places[id]
	if name, _, _ := parseMessage([]byte(text)); ok && p.stream == nil && m.log != nil && m.keeps(name) {
		return fmt.Sprintf("%.30q, which the log does not know", text)
	}
	if !ok || p.stream == nil {
		return "" // of a topic without history
	}
	name := p.stream.topic.name
	at, ok := f[name]
	if !ok {
		return fmt.Sprintf("message %d of %s, to which it is not subscribed", p.number, name)
	}
	why := ""
	if at.gap == 0 && at.most > 0 && p.stream.epoch == at.epoch {
		if p.number < at.next || p.number > at.most {
			why = fmt.Sprintf("message %d of %s, want one of %d to %d (epoch %d)", p.number, name, at.next, at.most, at.epoch)
		}
	} else if at.gap == 0 {
		why = m.adjoins(name, at.epoch, at.next, p)
	} else if g := m.gaps[at.gap]; p.stream.epoch != g.epoch {
		why = m.adjoins(name, g.epoch, g.first, p)
	} else if p.number > g.first {
		why = fmt.Sprintf("message %d of %s behind a gap, and %d was kept", p.number, name, g.first)
	} else if p.stream.epoch == at.epoch && p.number <= at.next && at.most == 0 {
		why = fmt.Sprintf("message %d of %s behind a gap, and it lacked nothing before %d", p.number, name, at.next)
	}
	f[name] = trail{epoch: p.stream.epoch, next: p.number + 1, join: at.join}
	return why
}

// adjoins says what is wrong with a message that comes without a gap where another is due.
func (m *historyModel) adjoins(name string, epoch, next uint64, p place) string {
	if p.stream.epoch == epoch && p.number == next {
		return ""
	}
	if epoch == 0 {
		return "" // it was forgotten at once
	}
	t := m.of(name)
	i := slices.IndexFunc(t.streams, func(s *modelStream) bool { return s.epoch == epoch })
	if i >= 0 && p.stream.epoch > epoch && p.number == 1 && next == t.streams[i].next() {
		between := t.streams[i+1 : slices.Index(t.streams, p.stream)]
		if !slices.ContainsFunc(between, func(s *modelStream) bool { return len(s.at) > 0 }) {
			return "" // forgotten when nothing was missing
		}
	}
	return fmt.Sprintf("message %d of %s (epoch %d), want %d (epoch %d)", p.number, name, p.stream.epoch, next, epoch)
}

func (m *historyModel) followGap(f follower, text string) string {
	var told struct {
		Topic string
		Lost  bool
		Gap   int
	}
	if err := json.Unmarshal([]byte(text), &told); err != nil || !told.Lost || told.Gap <= 0 || told.Gap >= len(m.gaps) {
		return fmt.Sprintf("%q is no gap: %v", text, err)
	}
	name, g := told.Topic, m.gaps[told.Gap]
	if name == "" {
		return "" // see clientConn.follow
	}
	at, ok := f[name]
	if !ok {
		return fmt.Sprintf("a gap of %s, to which it is not subscribed", name)
	}
	if at.gap != 0 {
		if before := m.gaps[at.gap]; g.epoch > 0 && g.epoch == before.epoch && g.first <= before.first {
			return fmt.Sprintf("a gap of %s up to %d a second time", name, g.first)
		}
	} else if g.epoch > 0 && g.epoch == at.epoch && g.least <= at.next && at.most == 0 {
		return fmt.Sprintf("a gap of %s, and %d was kept, which comes next", name, at.next)
	}
	at.gap = told.Gap
	f[name] = at
	return ""
}

// lacks says what a follower has not been given although everything has come to rest.
func (m *historyModel) lacks(f follower) string {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		at := f[name]
		epoch, next := at.epoch, max(at.next, at.most)
		if at.gap != 0 {
			epoch, next = m.gaps[at.gap].epoch, m.gaps[at.gap].first
		}
		for _, s := range m.of(name).streams {
			if epoch > 0 && s.epoch == epoch && next < s.next() || epoch > 0 && s.epoch > epoch && len(s.at) > 0 {
				return fmt.Sprintf("%s up to %d (epoch %d), has been given up to %d (epoch %d, gap %d)", name, s.next()-1, s.epoch, next-1, epoch, at.gap)
			}
		}
	}
	return ""
}

// received is what a connection's client was sent of its topics, and where it ended in bytes.
type received struct {
	end  int64
	text string
}

// where returns where the connection is in the histories of its topics, as far as its peer has
// acknowledged.
func (k *clientConn) where() follower {
	m := k.w.history
	arrived, unused := k.socket.Acknowledged()
	f := maps.Clone(k.base)
	for _, r := range k.heard {
		if r.end <= arrived {
			_ = m.follow(f, r.text) // it was looked at when it came
		}
	}
	for len(unused) > 0 {
		n, text := k.wire.peek(unused)
		if n == 0 {
			break
		}
		if text != "" {
			_ = m.follow(f, text)
		}
		unused = unused[n:]
	}
	at := make(follower)
	for _, name := range k.topics {
		if !m.keeps(name) {
			continue
		}
		at[name] = f[name]
		if join := k.joined[name]; join > 0 && f[name].join != join { // it has yet to hear of it
			at[name] = m.joins[join].begin
		}
	}
	for name, t := range at {
		t.join = 0
		at[name] = t
	}
	return at
}

// follow is called with what the client receives of topics.
func (k *clientConn) follow(text string, end int64) {
	m := k.w.history
	if !m.on() || k.lax {
		return
	}
	if strings.HasPrefix(text, `{"topic":"",`) {
		if k.told0 = true; !k.resumed || len(k.base) > 0 && !k.w.sessions[k.opened.ID].bereft {
			k.w.sim.Fail("H: connection %d is told that its topics are gone, and has %v", k.index, k.base)
		}
		return
	}
	k.heard = append(k.heard, received{end, text})
	if _, id, ok := parseMessage([]byte(text)); ok && m.places[id].stream != nil {
		k.w.trace(k, "receives %.30q, which is %d of %s", text, m.places[id].number, m.places[id].stream.topic.name)
	} else {
		k.w.trace(k, "receives %.60q", text)
	}
	if why := m.follow(k.follows, text); why != "" {
		k.w.sim.Fail("H: connection %d (ended %v) receives %s", k.index, k.closed, why)
	}
}
