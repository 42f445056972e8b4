package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
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
	log     *simLog       // nil: the engine gives out numbers
}

// A modelTopic is all histories that a topic has had: it begins another when it was forgotten.
type modelTopic struct {
	model   *historyModel
	name    string
	rule    topic.Rule // Count 0: none
	streams []*modelStream
}

type modelStream struct {
	topic *modelTopic
	epoch uint64
	at    []int64 // ms, of its messages; number n is at[n-1]
	large bool    // one was not kept, being larger than the total
	// With a log, messages are counted as without, and have other numbers.
	given []uint64
	bound uint64 // of what the log has not dropped
}

// index returns how the first message is counted whose number is not below a bound.
func (s *modelStream) index(bound uint64) uint64 {
	if s.topic.model.log == nil {
		return bound
	}
	return uint64(sort.Search(len(s.given), func(i int) bool { return s.given[i] >= bound })) + 1
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
	// least is first, or with a log less: what need not be gone.
	least uint64
}

// A modelJoin is a subscription that was made or ended: clients see it at its place among what they
// receive, as a push that only the simulation sends.
type modelJoin struct {
	topic string
	ended bool
	begin trail
	// of is another subscription whose beginning was not known, and is now, as far as begin tells.
	of int
}

const joinMark = "~"

// A trail is where a client is in a topic's history.
type trail struct {
	epoch uint64
	next  uint64 // the message that comes next
	gap   int    // it was told of, and no message has come since; 0: none
	join  int    // by which it has the subscription
	// most, with a log, says that the message that comes next may be any from next up to this one.
	most uint64
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
	if w.logged && sim.OneIn(3) {
		rule("topic-2") // others have none
	} else {
		rule("*")
	}
	m.total = 1 << 30
	if sim.OneIn(3) {
		m.total = 4096 << sim.Pick(6)
	}
	c.History = engine.HistoryLimits{Rules: m.rules, Total: m.total}
	if sim.OneIn(6) {
		c.History.Topics = sim.Between(1, 4)
		m.crowded = true
	}
	if w.logged {
		m.crowded, c.History.Topics = false, 0
		m.log = newSimLog(w)
		c.Log, c.Remote = m.log, m.log
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
		t = &modelTopic{model: m, name: name}
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
	if m.log != nil {
		m.arrived(s, first, records)
		return
	}
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

// logged is told of messages that the log has given numbers.
func (m *historyModel) logged(name string, epoch uint64, f engine.Frame) {
	s := m.stream(name, epoch)
	n, _ := f.Count()
	var msg topic.Message
	for i, rest := 0, f.Records; len(rest) > 0; i++ {
		size, err := msg.Read(rest)
		named, id, ok := parseMessage(msg.Payload)
		if err != nil || !ok || named != name {
			m.w.sim.Fail("%.80q is added to %s: %v", rest, name, err)
			return
		}
		m.places[id] = place{s, s.next()}
		s.at = append(s.at, m.w.sim.Engine().Now())
		s.given = append(s.given, f.Seq-uint64(n-1-i))
		s.large = s.large || int64(size)+4096 > m.total
		rest = rest[size:]
	}
}

// dropped is told of what the log has dropped.
func (m *historyModel) dropped(name string, epoch, bound uint64) { m.stream(name, epoch).bound = bound }

// arrived is told of messages that have come from the log.
func (m *historyModel) arrived(s *modelStream, first uint64, records []byte) {
	var msg topic.Message
	for ; len(records) > 0; first++ {
		n, err := msg.Read(records)
		_, id, _ := parseMessage(msg.Payload)
		if p := m.places[id]; err != nil || p.stream != s || s.given[p.number-1] != first {
			m.w.sim.Fail("message %d of %s comes as %d", p.number, s.topic.name, first)
			return
		}
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
		return max(first, s.index(real))
	}
	return first
}

// logKept is what need not be gone of s, with a log: what its topic keeps here and what the log has.
func (m *historyModel) logKept(s *modelStream, here uint64) uint64 {
	e := m.w.sim.Engine()
	if e.History().Stats().Evicted > 0 || s.large {
		return here
	}
	return min(here, max(s.first(e.Now()), s.index(s.bound)))
}

// say makes the push that says that messages of a topic are gone.
func (m *historyModel) say(name string) engine.Push {
	p := m.w.gateway.Gap(name)
	g := modelGap{topic: name}
	if st := m.w.sim.Engine().History().Find([]byte(name)); st != nil && st.Begun() {
		s := m.stream(name, st.Epoch())
		g.epoch, g.first = s.epoch, m.kept(s)
		if m.log != nil {
			here, _ := m.w.sim.Engine().History().Range(st, m.w.sim.Engine().Now())
			g.first = s.index(here)
			g.least = m.logKept(s, g.first)
		} else {
			g.least = g.first
		}
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
	if !st.Begun() {
		return trail{} // see settled
	}
	s := m.stream(name, st.Epoch())
	next := s.next()
	if m.log != nil {
		h, now := m.w.sim.Engine().History(), m.w.sim.Engine().Now()
		last := h.Last(st)
		next = s.index(last + 1)
		from, open := h.Tail(st, n, last, now)
		if open { // the log is asked
			return trail{epoch: s.epoch, next: next - min(uint64(n), next-1), most: next}
		}
		return trail{epoch: s.epoch, next: s.index(from)}
	}
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
	if m.log == nil {
		r.Reply(r.Payload)
		return
	}
	c, t, payload := r.Conn(), r.Defer(), bytes.Clone(r.Payload)
	m.log.settle(name, func() {
		if join > 0 && m.joins[join].begin.epoch == 0 {
			m.settled(k, c, name, join)
		}
		m.log.answers++
		w.gateway.Answer(t, gateway.StatusOK, payload)
	})
}

// settled tells the client that it misses nothing of a topic from now on, to which it has subscribed when
// nobody knew where it begins here.
func (m *historyModel) settled(k *clientConn, c *engine.Conn, name string, of int) {
	begin := trail{epoch: m.log.epoch, next: 1, join: of}
	begin.most = m.stream(name, begin.epoch).next()
	m.w.sim.Engine().Tell(c.Ref(), func(c *engine.Conn) {
		if c == nil || !c.Open() {
			return
		}
		s, ok := c.Handler().(gateway.Session)
		if !ok {
			return
		}
		m.joins = append(m.joins, modelJoin{topic: name, begin: begin, of: of})
		enc := m.w.sim.Engine().Config().Dialects[s.Dialect()].Append
		b, err := enc(c.Buffer(256), engine.Push{Cmd: 100, Payload: fmt.Append(nil, joinMark, len(m.joins)-1)})
		if err != nil {
			m.w.sim.Fail("%v", err)
		}
		c.Commit(b, 1)
	})
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
		if m.log != nil {
			m.checkGiven(name, stream)
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
	if m.log == nil && st.Messages < messages {
		m.w.sim.Fail("H: %d messages are kept, %d counted", messages, st.Messages)
	}
}

// checkGiven compares what a topic keeps whose numbers are given: it may begin anywhere, and be behind.
func (m *historyModel) checkGiven(name string, stream *topic.Stream) {
	if !stream.Begun() {
		return
	}
	h, now := m.w.sim.Engine().History(), m.w.sim.Engine().Now()
	s := m.stream(name, stream.Epoch())
	var v topic.View
	h.Look(&v, stream, 0, math.MaxUint64-1, now, 1<<30)
	first, next := s.index(v.First), s.index(v.Next)
	if first < next && (next-first > uint64(s.topic.rule.Count) || now-s.at[first-1] > s.topic.rule.Age.Milliseconds()+2) { // clocks are rounded
		m.w.sim.Fail("H: %s keeps messages %d to %d, the first of %d, at %d", name, first, next-1, s.at[first-1], now)
		return
	}
	for msg := v.Read(); msg != nil; msg = v.Read() {
		if first >= next || msg.Seq != s.given[first-1] {
			m.w.sim.Fail("H: %s keeps %d where message %d of %d is due", name, msg.Seq, first, next)
			return
		}
		first++
	}
	if first < next && !s.large {
		m.w.sim.Fail("H: %s keeps messages up to %d, want up to %d", name, first-1, next-1)
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
		at := m.log == nil && w.sim.OneIn(4)
		if at {
			l.pb.Flush()
		}
		if !w.sim.MayPublish([]byte(name)) {
			return
		}
		push := w.gateway.Push(m.message(name))
		if !at {
			var refused *engine.LogError
			if err := l.pb.Publish([]byte(name), push); err != nil && !(errors.As(err, &refused) && !m.log.up) {
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
