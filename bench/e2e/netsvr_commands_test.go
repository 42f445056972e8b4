package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
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

// soon is the longest that anything may take that happens at once.
const netsvrSoon = time.Second

// nobody is in messages that are to be skipped.
var netsvrNobody = []string{"", "nobody", "000000000000000000", strings.Repeat("x", 200), "0\n"}

func TestNetsvrConnInfoUpdate(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	c, id := s.open()
	d, idD := s.open()
	for _, unknown := range netsvrNobody {
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, unknown).text(2, "x").text(4, "s").text(5, "t").text(6, "data"))
	}
	l.wantTopics()
	l.wantUnknown("x")
	// Only what is not empty acts.
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id))
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "").text(3, "unused").text(4, "").text(6, ""))
	l.wantInfo(id, "")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "session").text(5, "a", "b", "", "a").text(6, "hello"))
	c.wantText("hello")
	l.wantInfo(id, "session", "a", "b")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(5, "b", "c"))
	l.wantInfo(id, "session", "b", "c")
	l.wantTopics("b", "c")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "other"))
	l.wantInfo(id, "other", "b", "c")
	c.say("001x")
	l.wantTransferOf(id, "other", "x")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(5, ""))
	l.wantInfo(id, "other")
	l.wantTopics()
	// A new id takes everything along; its own id is no new one.
	s.subscribe(id, "t")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, id).text(6, "same"))
	c.wantText("same")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "ann é").text(6, "renamed"))
	c.wantText("renamed")
	l.wantInfo("ann é", "other", "t")
	l.wantUnknown(id)
	if got := l.uniqIDs(); !slices.Equal(got, slices.Sorted(slices.Values([]string{idD, "ann é"}))) {
		t.Errorf("online: %q", got)
	}
	c.say("001y")
	l.wantTransferOf("ann é", "other", "y")
	l.send(workerTopicPublish, workerCast("t", "to t"))
	c.wantText("to t")
	// Back to an id of the gateway's making, a lower-case one, and one of 128 bytes.
	for _, name := range []string{id, strings.ToLower("00ABCDEF0123456789"), strings.Repeat("n", 128), "ann"} {
		old := l.uniqIDs()
		slices.Sort(old)
		from := old[slices.IndexFunc(old, func(s string) bool { return s != idD })]
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, from).text(2, name))
		l.wantInfo(name, "other", "t")
		if from != name {
			l.wantUnknown(from)
		}
	}
	// Session and topics at once with the name; then the close names the last id.
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, "ann").text(2, "bob").text(4, "s2").text(5, "t2").text(6, "1"))
	l.wantInfo("bob", "s2", "t2")
	c.wantText("1")
	d.wantQuiet(20 * time.Millisecond)
	c.hangUp()
	l.wantClosed("bob", "s2")
	l.wantUnknown("bob", "ann", id)
	l.wantTopics()
}

// A rename onto an id that another connection holds.
func TestNetsvrRenameOntoTaken(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	for _, data := range []string{"", "your id is another's now"} {
		t.Run(fmt.Sprintf("data %q", data), func(t *testing.T) {
			for round := range 8 { // so that all pairs of loops are met
				holder, taken := s.open()
				other, id := s.open()
				s.subscribe(taken, "holder's")
				s.subscribe(id, "other's")
				if data != "" && round%2 == 1 { // not a gateway's id
					l.send(workerConnInfoUpdate, workerMsg(nil).text(1, taken).text(2, "taken"))
					taken = "taken"
				}
				l.send(workerConnInfoUpdate, workerMsg(nil).text(1, taken).text(4, "old"))
				start := time.Now()
				l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, taken).text(3, data).text(4, "new").text(6, "hello"))
				l.send(workerSingleCast, workerCast(taken, "for the owner"))
				// From the command on the id means the new owner.
				l.wantInfo(taken, "new", "other's")
				l.wantUnknown(id)
				if got := l.ask(workerTopicUniqIDList, workerList("other's")).textMap(2)["other's"].texts(1); !slices.Equal(got, []string{taken}) {
					t.Fatalf("subscribers %q, want %q", got, taken)
				}
				other.wantText("hello")
				other.wantText("for the owner")
				var evicted string
				if data == "" {
					holder.wantCut()
				} else {
					// The holder goes on for 3 s, under an id of its own.
					holder.wantText(data)
					holder.say("001still here")
					evicted = l.wantTransfer("still here")
					if evicted == taken || evicted == id {
						t.Fatalf("the evicted holder still has %q", evicted)
					}
					l.wantInfo(evicted, "old", "holder's")
					l.send(workerTopicPublish, workerCast("holder's", "its own topic"))
					holder.wantText("its own topic")
					if round < 4 {
						holder.hangUp() // before its time
					} else {
						holder.wantCut()
						if took := time.Since(start); took < 2900*time.Millisecond || took > 4*time.Second {
							t.Errorf("the holder was cut after %v, want 3 s", took)
						}
					}
				}
				closed := l.event(workerConnClose)
				if got := closed.text(1); got == taken || got == id || evicted != "" && got != evicted {
					t.Fatalf("ConnClose of %q: the new holder of %q lives", got, taken)
				}
				if got := closed.text(2); got != "old" {
					t.Fatalf("ConnClose with session %q", got)
				}
				// The end of the old holder is nothing to the new one.
				l.wantInfo(taken, "new", "other's")
				other.wantAlive()
				l.send(workerSingleCast, workerCast(taken, "again"))
				other.wantText("again")
				l.wantTopics("other's")
				other.hangUp()
				l.wantClosed(taken, "new")
				l.wantUnknown(taken)
				l.wantTopics()
				if data != "" && round >= 5 {
					break // one more of 3 s will do
				}
			}
		})
	}
}

func TestNetsvrConnInfoDelete(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	c, id := s.open()
	remove := func(id string, uniqID, session, topic bool, data string) {
		t.Helper()
		n := map[bool]int64{true: 1}
		l.send(workerConnInfoDelete, workerMsg(nil).text(1, id).num(2, n[uniqID]).num(3, n[session]).num(4, n[topic]).text(5, data))
	}
	fill := func(id string) {
		t.Helper()
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "s").text(5, "t", "u"))
		l.wantInfo(id, "s", "t", "u")
	}
	fill(id)
	for _, unknown := range netsvrNobody {
		remove(unknown, true, true, true, "data")
	}
	remove(id, false, false, false, "no flag at all")
	c.wantText("no flag at all")
	l.wantInfo(id, "s", "t", "u")
	remove(id, false, true, false, "1")
	c.wantText("1")
	l.wantInfo(id, "", "t", "u")
	fill(id)
	remove(id, false, false, true, "")
	l.wantInfo(id, "s")
	l.wantTopics()
	fill(id)
	// A new id of the gateway's making, which keeps the rest.
	remove(id, true, false, false, "2")
	c.wantText("2")
	l.wantUnknown(id)
	c.say("001new")
	fresh := l.wantTransfer("new")
	if fresh == id || !netsvrUniqID(fresh, 0) {
		t.Errorf("the new id is %q", fresh)
	}
	l.wantInfo(fresh, "s", "t", "u")
	if got := l.uniqIDs(); !slices.Equal(got, []string{fresh}) {
		t.Errorf("online: %q", got)
	}
	remove(fresh, true, true, true, "")
	l.sync()
	c.say("001newer")
	newest := l.wantTransfer("newer")
	l.wantInfo(newest, "")
	l.wantTopics()
	// From a name a worker has given, too.
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, newest).text(2, "name"))
	remove("name", true, false, false, "")
	l.wantUnknown("name", newest)
	c.hangUp()
	if got := l.event(workerConnClose).text(1); !netsvrUniqID(got, 0) {
		t.Errorf("closed as %q", got)
	}
	if got := l.uniqIDs(); len(got) > 0 {
		t.Errorf("online: %q", got)
	}
}

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

func TestNetsvrForceOffline(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	force := func(data string, ids ...string) { l.send(workerForceOffline, workerWith(ids, data)) }
	guest := func(delay int64, data string, ids ...string) {
		l.send(workerForceOfflineGuest, workerMsg(nil).text(1, ids...).num(2, delay).text(3, data))
	}
	gone := func(c *netsvrCustomer, id, session string) {
		t.Helper()
		l.wantUnknown(id)
		c.wantCut()
		l.wantClosed(id, session)
	}
	ends := func(ids ...string) { // in any order: they may be on different loops
		t.Helper()
		var closed []string
		for range ids {
			closed = append(closed, l.event(workerConnClose).text(1))
		}
		slices.Sort(ids)
		if slices.Sort(closed); !slices.Equal(closed, ids) {
			t.Fatalf("closed: %q, want %q", closed, ids)
		}
	}
	force("", append(netsvrNobody, "x")...)
	guest(0, "data", netsvrNobody...)
	guest(-5, "", netsvrNobody...)

	c, id := s.open()
	g, idG := s.gosoc()
	force("", "nobody", id, id, idG)
	l.wantUnknown(id, idG)
	c.wantCut()
	g.wantEOF()
	ends(id, idG)

	// With data: it stays fully alive for 3 s.
	c, id = s.open()
	g, idG = s.gosoc()
	start := time.Now()
	force("bye", id, idG)
	c.wantText("bye")
	g.wantPush("push", "bye")
	s.subscribe(id, "t")
	l.wantInfo(id, "", "t")
	c.say("001on")
	l.wantTransferOf(id, "", "on")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "renamed").text(4, "s"))
	c.wantCut() // a new name is no escape
	if took := time.Since(start); took < 2900*time.Millisecond || took > 4*time.Second {
		t.Errorf("cut after %v, want 3 s", took)
	}
	g.wantEOF()
	ends("renamed", idG)
	l.wantTopics()

	// Guests are those without a session.
	c, id = s.open()
	member, idM := s.open()
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idM).text(4, "member"))
	s.subscribe(id, "topics do not matter")
	guest(0, "", idM, id)
	gone(c, id, "")
	c, id = s.open()
	guest(-1, "", id)
	gone(c, id, "")

	// Later: looked up and judged when the time has come.
	start = time.Now()
	c, id = s.open()         // stays a guest
	joins, idJ := s.open()   // logs in meanwhile
	renamed, idR := s.open() // has another id by then
	leaves, idL := s.open()  // is gone by then
	told, idT := s.open()    // with data
	comes, idC := s.open()   // gets an id that was asked about
	guest(1, "", id, idJ, idR, idL, idM, "comes later")
	guest(1, "bye", idT)
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idJ).text(4, "in"))
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idR).text(2, "renamed"))
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idC).text(2, "comes later"))
	leaves.hangUp()
	l.wantClosed(idL, "")
	l.wantInfo(id, "")
	c.wantCut()
	if took := time.Since(start); took < 900*time.Millisecond || took > 2*time.Second {
		t.Errorf("cut after %v, want 1 s", took)
	}
	comes.wantCut()
	told.wantText("bye")
	ends(id, "comes later")
	told.wantAlive()
	told.wantCut()
	if took := time.Since(start); took < 3900*time.Millisecond || took > 5*time.Second {
		t.Errorf("cut after %v, want 1 s and 3 s", took)
	}
	l.wantClosed(idT, "")
	for _, c := range []*netsvrCustomer{joins, renamed, member} {
		c.wantAlive()
	}
	if got := l.online(idJ, "renamed", idM); len(got) != 3 {
		t.Errorf("spared: %q", got)
	}
}
