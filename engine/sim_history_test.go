package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/topic"
)

// A historyModel is what the simulation of sessions knows of topics with history: every message that
// has got a number. Messages say which they are. Each connection has a follower that is shown what
// its client receives, in order, and says what must not be: a message twice, one left out without a
// gap, a gap where nothing is gone. Where a session was when its connection ended is computed from
// what the simulated TCP had acknowledged, byte by byte, without looking at the engine's own marks.
type historyModel struct {
	w     *sessionWorld
	rules []topic.Rule
	total int64
	// crowded says that there may be fewer topics with history than the rules give it to. Of one that
	// has none for now the model knows nothing.
	crowded bool
	topics  map[string]*modelTopic
	places  map[int]place // of messages, by their number in the run
	last    int           // that was given to a message
	gaps    []modelGap    // that were said, by number
	joins   []modelJoin   // subscriptions while a client was online, and their ends, by number
}

// A modelTopic is all histories that a topic has had: it begins another when it was forgotten.
type modelTopic struct {
	name    string
	rule    topic.Rule // Count 0: none
	streams []*modelStream
}

type modelStream struct {
	topic *modelTopic
	epoch uint64
	at    []int64 // ms, of its messages; number n is at[n-1]
	large bool    // one was not kept, being larger than the total
}

func (s *modelStream) next() uint64 { return uint64(len(s.at)) + 1 }

type place struct {
	stream *modelStream
	number uint64
}

// A modelGap is a push that says that messages are gone, with what was kept when it was made.
type modelGap struct {
	topic string
	epoch uint64
	first uint64 // the oldest message that was kept; the next one's number if none was
}

// A modelJoin is a subscription that was made or ended: clients see it at its place among what they
// receive, as a push that only the simulation sends.
type modelJoin struct {
	topic string
	ended bool
	begin trail
}

const joinMark = "~"

// A trail is where a client is in a topic's history.
type trail struct {
	epoch uint64
	next  uint64 // the message that comes next
	gap   int    // it was told of, and no message has come since; 0: none
	join  int    // by which it has the subscription
}

// A follower is what a client knows of its topics' histories.
type follower map[string]trail

// setUpHistory makes rules for the run: for all topics, for some, or for none.
func (w *sessionWorld) setUpHistory(c *engine.Config) {
	m := &historyModel{w: w, topics: make(map[string]*modelTopic), places: make(map[int]place), gaps: make([]modelGap, 1), joins: make([]modelJoin, 1)}
	w.history = m
	sim := w.sim
	if sim.OneIn(4) || w.scene {
		return
	}
	rule := func(pattern string) {
		m.rules = append(m.rules, topic.Rule{Pattern: pattern, Count: 1 << sim.Pick(9), Age: time.Duration(20<<sim.Pick(13)) * time.Millisecond})
	}
	if sim.OneIn(3) {
		m.rules = append(m.rules, topic.Rule{Pattern: "topic-0", Count: 0})
	}
	if sim.OneIn(2) {
		rule("topic-1")
	}
	rule("*")
	m.total = 1 << 30
	if sim.OneIn(3) {
		m.total = 4096 << sim.Pick(6)
	}
	c.History = engine.HistoryLimits{Rules: m.rules, Total: m.total}
	if sim.OneIn(6) {
		c.History.Topics = sim.Between(1, 4)
		m.crowded = true
	}
	c.HistoryKeep = w.opt.config.SessionTTL
	c.Gap = m.say
	if sim.OneIn(4) {
		c.Lag = 4 << 10 << sim.Pick(3)
		w.opt.slow = engine.SlowConsumer(1 + sim.Pick(2))
	}
}

func (m *historyModel) on() bool { return len(m.rules) > 0 }

// keeps reports whether a topic has history.
func (m *historyModel) keeps(name string) bool { return m.of(name).rule.Count > 0 }

func (m *historyModel) of(name string) *modelTopic {
	t := m.topics[name]
	if t == nil {
		t = &modelTopic{name: name}
		for _, r := range m.rules {
			if stem, open := strings.CutSuffix(r.Pattern, "*"); stem == name || open && strings.HasPrefix(name, stem) {
				t.rule = r
				break
			}
		}
		m.topics[name] = t
	}
	return t
}

// stream returns a topic's history of an epoch. What has none yet begins with it.
func (m *historyModel) stream(name string, epoch uint64) *modelStream {
	t := m.of(name)
	for _, s := range slices.Backward(t.streams) {
		if s.epoch == epoch {
			return s
		}
	}
	if n := len(t.streams); n > 0 && t.streams[n-1].epoch > epoch {
		m.w.sim.Fail("epoch %d of %s comes behind %d", epoch, name, t.streams[n-1].epoch)
	}
	s := &modelStream{topic: t, epoch: epoch}
	t.streams = append(t.streams, s)
	return s
}

// numbered is told of messages that have got numbers, before anybody is given them.
func (m *historyModel) numbered(st *topic.Stream, first uint64, records []byte) {
	s := m.stream(st.Name(), st.Epoch())
	if first != s.next() {
		m.w.sim.Fail("message %d of %s has number %d", s.next(), st.Name(), first)
		return
	}
	var msg topic.Message
	for len(records) > 0 {
		n, err := msg.Read(records)
		name, id, ok := parseMessage(msg.Payload)
		if err != nil || !ok || name != st.Name() {
			m.w.sim.Fail("%.80q is appended to %s: %v", records, st.Name(), err)
			return
		}
		m.places[id] = place{s, s.next()}
		s.at = append(s.at, m.w.sim.Engine().Now())
		s.large = s.large || int64(n)+4096 > m.total
		records = records[n:]
	}
}

// message makes the next message for a topic. Some are longer.
func (m *historyModel) message(name string) []byte {
	m.last++
	b := fmt.Appendf(nil, "%s %d ", name, m.last)
	if m.w.sim.OneIn(8) {
		b = append(b, bytes.Repeat([]byte("z"), m.w.sim.Pick(m.w.opt.size))...)
	}
	return b
}

func parseMessage(b []byte) (name string, id int, ok bool) {
	words := strings.SplitN(string(b), " ", 3)
	if len(words) != 3 {
		return "", 0, false
	}
	id, err := strconv.Atoi(words[1])
	return words[0], id, err == nil
}

// first returns the number of the oldest message of s that is kept, by its topic's rule alone.
func (s *modelStream) first(now int64) uint64 {
	first := uint64(max(len(s.at)-s.topic.rule.Count, 0)) + 1
	for first < s.next() && now-s.at[first-1] >= s.topic.rule.Age.Milliseconds() {
		first++
	}
	return first
}

// kept is first once the total has had its part, which may be more than the model can tell.
func (m *historyModel) kept(s *modelStream) uint64 {
	e := m.w.sim.Engine()
	first := s.first(e.Now())
	st := e.History().Find([]byte(s.topic.name))
	switch {
	case st == nil || st.Epoch() != s.epoch:
		return s.next()
	case e.History().Stats().Evicted > 0 || s.large:
		real, _ := e.History().Range(st, e.Now())
		return max(first, real)
	}
	return first
}

// say makes the push that says that messages of a topic are gone.
func (m *historyModel) say(name string) engine.Push {
	p := m.w.gateway.Gap(name)
	g := modelGap{topic: name}
	if st := m.w.sim.Engine().History().Find([]byte(name)); st != nil {
		s := m.stream(name, st.Epoch())
		g.epoch, g.first = s.epoch, m.kept(s)
	}
	m.gaps = append(m.gaps, g)
	m.w.saw.Gaps++
	p.Payload = append(bytes.TrimSuffix(p.Payload, []byte("}")), fmt.Sprintf(`,"gap":%d}`, len(m.gaps)-1)...)
	return p
}

// begin is where a subscription begins that was made just now, with the last n messages.
func (m *historyModel) begin(name string, n int) trail {
	st := m.w.sim.Engine().History().Find([]byte(name))
	if st == nil {
		return trail{}
	}
	s := m.stream(name, st.Epoch())
	next := s.next()
	return trail{epoch: s.epoch, next: max(m.kept(s), next-min(uint64(n), next-1))}
}

// join tells the client of a subscription, or of its end, in its place among what it receives. For a
// subscription it is called before that is made; begin is set afterwards.
func (m *historyModel) join(k *clientConn, c *engine.Conn, name string, ended bool) int {
	m.joins = append(m.joins, modelJoin{topic: name, ended: ended})
	n := len(m.joins) - 1
	enc := m.w.sim.Engine().Config().Dialects[c.Handler().(gateway.Session).Dialect()].Append
	b, err := enc(c.Buffer(256), engine.Push{Cmd: 100, Payload: fmt.Append(nil, joinMark, n)})
	if err != nil {
		m.w.sim.Fail("%v", err)
	}
	c.Commit(b, 1)
	k.joined[name] = n
	return n
}

// subscribe is the handler's: it subscribes with the last n messages.
func (w *sessionWorld) subscribe(k *clientConn, r *gateway.Request, name string, n int) {
	had := slices.Contains(k.topics, name)
	m := w.history
	join := 0
	if !had && m.keeps(name) {
		join = m.join(k, r.Conn(), name, false)
	}
	if err := r.TrySubscribeLast([]byte(name), n); err != nil {
		w.sim.Fail("connection %d may not subscribe: %v", k.index, err)
	}
	if join > 0 {
		at := m.begin(name, n)
		at.join = join
		m.joins[join].begin = at
	}
	k.subscribed(name)
}

// restored notes where a connection begins that has logged in with topics.
func (m *historyModel) restored(k *clientConn, topics []string) {
	ms := k.w.sessions[k.opened.ID]
	k.base = make(follower)
	switch {
	case k.resumed && (ms == nil || ms.holder != k || ms.lax):
		k.lax = true
		return
	case k.resumed && len(topics) < len(ms.topics):
		k.bereft = true
	}
	for _, name := range topics {
		switch {
		case !m.keeps(name):
		case k.resumed:
			k.base[name] = ms.trails[name]
		default:
			k.base[name] = m.begin(name, 0)
		}
	}
	k.follows = maps.Clone(k.base)
	m.w.trace(k, "begins at %v", k.base)
}

// checkRest requires that everybody has been given everything, or told what is gone.
func (m *historyModel) checkRest() {
	st := m.w.sim.Engine().Stats()
	m.w.saw.Replayed, m.w.saw.Dropped = int(st.Replayed), int(st.Dropped[engine.DropSlowConsumer])
	if !m.on() {
		return
	}
	for _, k := range m.w.live {
		if !k.socket.Live() || k.lax {
			continue
		}
		if why := m.lacks(k.follows); why != "" {
			m.w.sim.Fail("H: connection %d lacks %s", k.index, why)
		}
		if k.bereft && !k.told0 {
			m.w.sim.Fail("H: connection %d was not told that its session's topics are gone", k.index)
		}
	}
}

// end takes all histories away.
func (m *historyModel) end() {
	m.check()
	m.rules = nil
	e := m.w.sim.Engine()
	if err := e.SetHistory(engine.HistoryLimits{}); err != nil {
		m.w.sim.Fail("%v", err)
	}
	if st := e.History().Stats(); st.Topics != 0 || st.Messages != 0 || st.Bytes != 0 {
		m.w.sim.Fail("H: without rules histories keep %+v", st)
	}
}

// check compares what topics keep with the model.
func (m *historyModel) check() {
	if !m.on() {
		return
	}
	e := m.w.sim.Engine()
	h, now := e.History(), e.Now()
	st := h.Stats()
	if st.Bytes > m.total || st.Bytes < 0 {
		m.w.sim.Fail("H: histories take %d bytes, at most %d", st.Bytes, m.total)
	}
	newest, oldest := int64(math.MinInt64), int64(math.MaxInt64) // of what the total has cost, and of what is kept
	messages := 0
	for _, name := range slices.Sorted(maps.Keys(m.topics)) {
		stream := h.Find([]byte(name))
		if stream == nil {
			continue
		}
		s := m.stream(name, stream.Epoch())
		first, next := h.Range(stream, now)
		want := s.first(now)
		switch {
		case next != s.next():
			m.w.sim.Fail("H: %s has messages up to %d, want %d", name, next-1, s.next()-1)
			return
		case first < want || first > want && st.Evicted == 0 && !s.large:
			m.w.sim.Fail("H: %s keeps messages from %d to %d, want from %d", name, first, next-1, want)
			return
		}
		if first > want && !s.large {
			newest = max(newest, s.at[first-2])
		}
		if first < next {
			oldest = min(oldest, s.at[first-1])
		}
		messages += int(next - first)
		m.checkPage(name, stream, s, first)
	}
	if oldest < math.MaxInt64 && newest > oldest+1000 { // segments go whole, and are no longer
		m.w.sim.Fail("H: the total has cost a message of %d ms, and one of %d ms is kept", newest, oldest)
	}
	if st.Messages < messages {
		m.w.sim.Fail("H: %d messages are kept, %d counted", messages, st.Messages)
	}
}

// checkPage reads some of a topic's history as a worker may.
func (m *historyModel) checkPage(name string, stream *topic.Stream, s *modelStream, first uint64) {
	w := m.w
	q := gateway.HistoryQuery{Limit: 1 + w.sim.Pick(20), Bytes: 1 << 20}
	from, lost := first, false
	switch w.sim.Pick(3) {
	case 0:
		q.Last = 1 + w.sim.Pick(20)
		q.Limit = q.Last
		from = max(first, s.next()-min(uint64(q.Last), s.next()-1))
	case 1:
		after := uint64(w.sim.Pick(len(s.at) + 1))
		q.After = &topic.Position{Epoch: s.epoch, Seq: after}
		from, lost = max(first, after+1), after+1 < first
	}
	h, ok, err := w.gateway.History(context.Background(), []byte(name), q)
	if err != nil || !ok || h.Lost != lost || h.First != first || h.End != (topic.Position{Epoch: s.epoch, Seq: s.next() - 1}) {
		w.sim.Fail("H: history of %s by %+v: %v, lost %v, first %d, end %v, want %v, %d", name, q, ok, h.Lost, h.First, h.End, lost, first)
		return
	}
	if want := min(int(s.next()-from), q.Limit); len(h.Messages) != want {
		w.sim.Fail("H: history of %s by %+v has %d messages, want %d from %d on", name, q, len(h.Messages), want, from)
		return
	}
	for i, got := range h.Messages {
		_, id, _ := parseMessage(got.Payload)
		if p := m.places[id]; p.stream != s || p.number != from+uint64(i) || got.Seq != p.number || got.At != s.at[p.number-1] {
			w.sim.Fail("H: message %d of %s in its history is %d of %s, of %d ms", from+uint64(i), name, p.number, p.stream.topic.name, got.At)
			return
		}
	}
}

// publish is a worker's: some messages to one topic.
func (l *simLink) publish() {
	w := l.w
	m := w.history
	name := fmt.Sprintf("topic-%d", w.sim.Pick(w.opt.topics))
	defer l.pb.Flush()
	for range 1 + w.sim.Pick(1<<w.sim.Pick(6)) {
		at := w.sim.OneIn(4)
		if at {
			l.pb.Flush()
		}
		if !w.sim.MayPublish([]byte(name)) {
			return
		}
		push := w.gateway.Push(m.message(name))
		if !at {
			if err := l.pb.Publish([]byte(name), push); err != nil {
				w.sim.Fail("%v", err)
			}
			continue
		}
		id := m.last
		pos, ok, err := l.pb.PublishAt([]byte(name), push)
		if p := m.places[id]; err != nil || ok != m.keeps(name) && !m.crowded || ok && (p.stream == nil || pos != topic.Position{Epoch: p.stream.epoch, Seq: p.number}) {
			w.sim.Fail("H: %s is published at %v (%v, %v), want %d", name, pos, ok, err, p.number)
		}
	}
}
