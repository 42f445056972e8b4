package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A netsvrScene is a gateway with one worker that is told of everything, and customers.
type netsvrScene struct {
	*testing.T
	p *process
	l *workerLink
}

func startScene(t *testing.T, args ...string) *netsvrScene {
	t.Helper()
	p := startNetsvr(t, append([]string{"--open-worker", "1", "--close-worker", "1"}, args...)...)
	return &netsvrScene{t, p, p.workerFor(t, 1)}
}

func (s *netsvrScene) open() (*netsvrCustomer, string) {
	s.Helper()
	return s.p.netsvrOpened(s, s.l, "/netsvr")
}

// gosoc is a GOSOC client and its uniqId.
func (s *netsvrScene) gosoc() (*client, string) {
	s.Helper()
	c := s.p.login(s, modes[0], "")
	return c, s.l.event(workerConnOpen).text(1)
}

func (s *netsvrScene) subscribe(id string, topics ...string) {
	s.Helper()
	s.l.send(workerTopicSubscribe, workerMsg(nil).text(1, id).text(2, topics...))
	s.l.sync()
}

// netsvrNobody are ids that nobody has: commands for them are skipped.
var netsvrNobody = []string{"", "nobody", "000000000000000000", strings.Repeat("x", 200), "0\n"}

func TestNetsvrCasts(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	a, idA := s.open()
	b, idB := s.open()
	g, idG := s.gosoc()
	gone, idGone := s.open()
	gone.hangUp()
	l.wantClosed(idGone, "")
	quiet := func() {
		t.Helper()
		l.sync()
		a.wantAlive()
		b.wantAlive()
		g.write(g.mode.ping())
		g.wantPong()
	}
	want := func(c *netsvrCustomer, texts ...string) {
		t.Helper()
		for _, text := range texts {
			c.wantText(text)
		}
	}
	unknown := append([]string{idGone}, netsvrNobody...)

	l.send(workerBroadcast, nil)
	l.send(workerBroadcast, workerMsg(nil).text(1, ""))
	quiet()
	l.send(workerBroadcast, workerMsg(nil).text(1, "all"))
	want(a, "all")
	want(b, "all")
	g.wantPush("push", "all")
	quiet()

	for _, id := range unknown {
		l.send(workerSingleCast, workerCast(id, "nobody"))
	}
	l.send(workerSingleCast, workerCast(idA, ""))
	l.send(workerSingleCast, workerCast(idA, "1"))
	l.send(workerSingleCast, workerCast(idG, `{"any":"bytes"}`))
	want(a, "1")
	g.wantPush("push", `{"any":"bytes"}`)
	quiet()

	l.send(workerMulticast, workerWith([]string{idA, idB}, ""))
	l.send(workerMulticast, workerWith(nil, "x"))
	l.send(workerMulticast, workerWith(append(unknown, idA, idB, idA, idG, idA), "many"))
	want(a, "many", "many", "many")
	want(b, "many")
	g.wantPush("push", "many")
	quiet()

	for _, shape := range []struct {
		ids, data []string
		a, b      []string
	}{
		{ids: []string{idA, idB}, data: []string{"1", "2"}, a: []string{"1"}, b: []string{"2"}},
		{ids: []string{idA, idB, idA}, data: []string{"1", "2", "3"}, a: []string{"1", "3"}, b: []string{"2"}},
		{ids: []string{idA, "nobody", "", idB}, data: []string{"1", "2", "3", "4"}, a: []string{"1"}, b: []string{"4"}},
		{ids: []string{idA, idA, idB}, data: []string{"", "2", "3"}, a: []string{"2"}, b: []string{"3"}},
		{ids: []string{idA}, data: []string{"1"}, a: []string{"1"}},
		{ids: []string{idA}, data: []string{"1", "", "3"}, a: []string{"1", "3"}},
		{ids: []string{"nobody"}, data: []string{"1", "2"}},
		{ids: []string{idA, idB}, data: []string{"1"}},
		{ids: []string{idA, idB}, data: []string{"1", "2", "3"}},
		{ids: []string{idA, idB}},
		{data: []string{"1"}},
		{},
	} {
		l.send(workerSingleCastBulk, workerWith(shape.ids, shape.data...))
		want(a, shape.a...)
		want(b, shape.b...)
		quiet()
	}
	l.send(workerSingleCastBulk, workerWith([]string{idG, idG}, "x", "y"))
	g.wantPush("push", "x")
	g.wantPush("push", "y")
	// Text that is no text goes as binary, since as text it would end the connection.
	l.send(workerSingleCast, workerCast(idA, "\xFF\xFE"))
	a.want(netsvrBinary, "\xFF\xFE")
	quiet()
}

func TestNetsvrTopics(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	a, idA := s.open()
	b, idB := s.open()
	g, idG := s.gosoc()
	sub := func(id string, data string, topics ...string) {
		l.send(workerTopicSubscribe, workerMsg(nil).text(1, id).text(2, topics...).text(3, data))
	}
	unsub := func(id string, data string, topics ...string) {
		l.send(workerTopicUnsubscribe, workerMsg(nil).text(1, id).text(2, topics...).text(3, data))
	}
	// Without an id or without topics nothing happens, data included.
	for _, id := range netsvrNobody {
		sub(id, "data", "t")
		unsub(id, "data", "t")
	}
	sub(idA, "data")
	unsub(idA, "data")
	l.wantTopics()
	a.wantAlive()
	sub(idA, "in", "t", "u", "", "t")
	a.wantText("in")
	sub(idA, "in again", "t")
	a.wantText("in again")
	sub(idB, "", "t")
	sub(idG, "hello", "t", "ü ∀")
	g.wantPush("push", "hello")
	l.wantInfo(idA, "", "t", "u")
	l.wantTopics("t", "u", "ü ∀")

	// Lists and counts, of every client protocol.
	if got := l.ask(workerTopicCount, nil).num(2); got != 3 {
		t.Errorf("%d topics", got)
	}
	lists := l.ask(workerTopicUniqIDList, workerList("t", "u", "unknown", "", "t")).textMap(2)
	if len(lists) != 2 {
		t.Errorf("lists of %d topics: %v", len(lists), lists)
	}
	for topic, want := range map[string][]string{"t": {idA, idB, idG}, "u": {idA}} {
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(lists[topic].texts(1))); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", topic, got, want)
		}
	}
	if got := l.ask(workerTopicUniqIDList, nil).textMap(2); len(got) != 0 {
		t.Errorf("lists of no topics: %v", got)
	}
	for _, ask := range []struct {
		topics []string
		all    int64
		want   string
	}{
		{topics: []string{"t", "u", "unknown", "", "t"}, want: "map[t:3 u:1]"},
		{want: "map[]"},
		{topics: []string{"unknown"}, all: 1, want: "map[t:3 u:1 ü ∀:1]"},
		{all: 1, want: "map[t:3 u:1 ü ∀:1]"},
	} {
		if got := fmt.Sprint(l.ask(workerTopicUniqIDCount, workerList(ask.topics...).num(2, ask.all)).countMap(2)); got != ask.want {
			t.Errorf("%q, %d: %s, want %s", ask.topics, ask.all, got, ask.want)
		}
	}

	// One copy per topic and subscriber.
	l.send(workerTopicPublish, workerWith([]string{"t", "", "unknown", "u"}, "news"))
	l.send(workerTopicPublish, workerWith([]string{"t"}, ""))
	a.wantText("news")
	a.wantText("news")
	b.wantText("news")
	g.wantPush("push", "news")
	for _, shape := range []struct {
		topics, data, a, b []string
	}{
		{topics: []string{"t", "u"}, data: []string{"1", "2"}, a: []string{"1", "2"}, b: []string{"1"}},
		{topics: []string{"u"}, data: []string{"1", "", "3"}, a: []string{"1", "3"}},
		{topics: []string{"u", "unknown", "u"}, data: []string{"", "2", "3"}, a: []string{"3"}},
		{topics: []string{"t", "u"}, data: []string{"1"}},
		{topics: []string{"t"}},
		{data: []string{"1", "2"}},
	} {
		l.send(workerTopicPublishBulk, workerWith(shape.topics, shape.data...))
		l.sync()
		for _, text := range shape.a {
			a.wantText(text)
		}
		a.wantAlive()
		for _, text := range shape.b {
			b.wantText(text)
		}
		b.wantAlive()
	}
	g.wantPush("push", "1")

	unsub(idB, "not in it", "u", "unknown")
	b.wantText("not in it")
	unsub(idB, "out", "t")
	b.wantText("out")
	l.wantInfo(idB, "")

	// Delete tells each of those concerned once.
	sub(idB, "", "v")
	l.send(workerTopicDelete, workerWith([]string{"unknown", ""}, "nobody is told"))
	l.send(workerTopicDelete, workerWith(nil, "nor now"))
	l.send(workerTopicDelete, workerWith([]string{"t", "u", "ü ∀", "unknown", "t"}, "gone"))
	a.wantText("gone")
	g.wantPush("push", "gone")
	l.wantInfo(idA, "")
	l.wantInfo(idG, "")
	l.wantTopics("v")
	l.send(workerTopicPublish, workerWith([]string{"t", "u"}, "too late"))
	l.send(workerTopicDelete, workerWith([]string{"v"}))
	l.wantTopics()
	l.sync()
	a.wantAlive()
	b.wantAlive()
	g.write(g.mode.ping())
	g.wantPong()
	// The last subscriber that leaves takes the topic along.
	sub(idA, "", "w")
	l.wantTopics("w")
	a.hangUp()
	l.wantClosed(idA, "")
	l.wantTopics()
	if got := l.ask(workerTopicUniqIDCount, workerMsg(nil).num(2, 1)).countMap(2); len(got) != 0 {
		t.Errorf("counts of nothing: %v", got)
	}
}
