package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// netsvrUniqID reports whether id is one that a gateway of this server id has made just now: server
// id, unix seconds and a counter in upper-case hex digits.
func netsvrUniqID(id string, server int) bool {
	if !regexp.MustCompile(`^[0-9A-F]{18}$`).MatchString(id) {
		return false
	}
	got, _ := strconv.ParseInt(id[:2], 16, 64)
	seconds, _ := strconv.ParseInt(id[2:10], 16, 64)
	return int(got) == server && time.Since(time.Unix(seconds, 0)).Abs() < time.Hour
}

func TestNetsvrIDs(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--server-id", "255", "--open-worker", "1")
	s := &netsvrScene{t, p, p.workerLink(t)}
	s.l.wantRegistered(workerRegistration(1, 0, 255))
	seen := make(map[string]bool)
	var last uint64
	for i := range 20 {
		_, id := s.open()
		if !netsvrUniqID(id, 255) || seen[id] {
			t.Fatalf("uniqId %q", id)
		}
		seen[id] = true
		counter, _ := strconv.ParseUint(id[10:], 16, 64)
		if i > 0 && uint32(counter) != uint32(last+1) {
			t.Errorf("counter %x behind %x", counter, last)
		}
		last = counter
	}
	got := s.l.ask(workerCustomToken, nil)
	if !netsvrUniqID(got.text(1), 255) || seen[got.text(1)] || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(got.text(2)) {
		t.Errorf("proposed %q with token %q", got.text(1), got.text(2))
	}
	if again := s.l.ask(workerCustomToken, nil); again.text(1) == got.text(1) || again.text(2) == got.text(2) {
		t.Errorf("the same twice: %q %q", again.text(1), again.text(2))
	}
}

func TestNetsvrQueries(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--netsvr-metrics", "none")
	l := s.l
	if got := l.ask(workerUniqIDCount, nil).num(2); got != 0 {
		t.Errorf("%d clients", got)
	}
	var ids []string
	var all []*netsvrCustomer
	for range 10 {
		c, id := s.open()
		ids, all = append(ids, id), append(all, c)
	}
	_, id := s.gosoc()
	ids = append(ids, id)
	slices.Sort(ids)
	if got := l.uniqIDs(); !slices.Equal(got, ids) {
		t.Errorf("online %q, want %q", got, ids)
	}
	if got := l.ask(workerUniqIDCount, nil).num(2); got != 11 {
		t.Errorf("%d clients, want 11", got)
	}
	if got := l.online(append(netsvrNobody, ids[3], ids[0])...); !slices.Equal(got, []string{ids[0], ids[3]}) {
		t.Errorf("online %q", got)
	}
	if got := l.online(); len(got) != 0 {
		t.Errorf("online %q of nobody", got)
	}
	if got := l.ask(workerConnInfo, workerList(append(netsvrNobody, ids[1], ids[1], ids[2])...)).textMap(1); len(got) != 2 {
		t.Errorf("info of %d clients: %v", len(got), got)
	}
	if got := l.ask(workerMetrics, nil).subs(2); len(got) != 0 {
		t.Errorf("metrics that are off: %v", got)
	}
	if got := l.ask(workerLimit, nil).subs(2); len(got) != 0 {
		t.Errorf("limits where there are none: %v", got)
	}
	// Commands on one link are visible to a query on another right after.
	other := s.p.workerLink(t)
	for i := range 50 {
		topic := fmt.Sprint("t", i)
		s.subscribe(ids[i%11], topic)
		if got := other.ask(workerTopicUniqIDCount, workerList(topic)).countMap(2)[topic]; got != 1 {
			t.Fatalf("%s has %d subscribers", topic, got)
		}
	}
	// A client that has left is gone within 50 ms, or so; the machine is busy.
	all[0].hangUp()
	gone := l.event(workerConnClose).text(1)
	other.wantUnknown(gone)
}

func TestNetsvrMetrics(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	c, id := s.open() // 1 open, 1 frame
	metrics := func() map[int64]workerFields {
		t.Helper()
		all := make(map[int64]workerFields)
		for _, e := range l.ask(workerMetrics, nil).subs(2) {
			all[e.num(1)] = e.subs(2)[0]
		}
		return all
	}
	counts := func() (n [7]int64) {
		t.Helper()
		all := metrics()
		if len(all) != 7 {
			t.Fatalf("%d metrics: %v", len(all), all)
		}
		for i := range n {
			n[i] = all[int64(i)].num(1)
		}
		return n
	}
	// What a loop has done may be seen before it is counted.
	var base [7]int64
	check := func(what string, want [7]int64) {
		t.Helper()
		var now, up [7]int64
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			now = counts()
			for i := range up {
				up[i] = now[i] - base[i]
			}
			if up == want {
				break
			}
			if time.Now().After(end) {
				t.Errorf("%s: the metrics went up by %v, want %v", what, up, want)
				break
			}
		}
		base = now
	}
	frame := int64(8 + 2 + len(id)) // length, command, uniqId
	opened := frame + 2 + int64(len("127.0.0.1"))
	check("open", [7]int64{1, 0, 0, 1, opened})
	c.wantAlive()
	check("heartbeat", [7]int64{0, 0, 1, 0, 0, 1, int64(len(workerPong))})
	c.write(netsvrFrame(0x80|netsvrPing, []byte("ping")))
	c.want(netsvrPong, "ping")
	check("ping frame", [7]int64{0, 0, 1, 0, 0, 1, 0})
	c.say("001hello")
	l.wantTransfer("hello")
	check("message", [7]int64{0, 0, 0, 1, frame + 2 + int64(len("hello"))})
	l.send(workerSingleCast, workerCast(id, "12345"))
	c.wantText("12345")
	check("push", [7]int64{0, 0, 0, 0, 0, 1, 5})
	c.say("xxx")
	c.wantText("WorkerId wrong")
	check("error", [7]int64{0, 0, 0, 0, 0, 1, int64(len("WorkerId wrong"))})
	s.subscribe(id, "t")
	_, idB := s.open()
	s.subscribe(idB, "t")
	check("another", [7]int64{1, 0, 0, 1, opened})
	l.send(workerTopicPublish, workerCast("t", "1234567"))
	c.wantText("1234567")
	check("publish", [7]int64{0, 0, 0, 0, 0, 2, 14})
	c.hangUp()
	l.wantClosed(id, "")
	check("close", [7]int64{0, 1, 0, 1, frame})
	for i, m := range metrics() {
		mean, highest := m.float(2), m.float(3)
		if mean < 0 || highest < mean || base[i] > 0 && mean == 0 {
			t.Errorf("metric %d: mean %v, highest %v", i, mean, highest)
		}
	}
}

// Answers and pushes far beyond any buffer.
func TestNetsvrBig(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	c, id := s.open()
	g, idG := s.gosoc()
	for _, n := range []int{125, 126, 65535, 65536, 229_389, 1 << 20} {
		data := strings.Repeat("0123456789", n/10+1)[:n]
		l.send(workerMulticast, workerWith([]string{id, idG}, data))
		c.wantText(data)
		g.wantPush("push", data)
	}
	var want []string
	for i := range 2000 {
		want = append(want, fmt.Sprintf("%06d %s", i, strings.Repeat("x", 120)))
	}
	s.subscribe(id, want...)
	l.wantTopics(want...) // 250 kB
	if got := l.ask(workerTopicUniqIDCount, workerMsg(nil).num(2, 1)).countMap(2); len(got) != len(want) {
		t.Errorf("counts of %d topics", len(got))
	}
	if _, got, _ := l.info(id); !slices.Equal(got, want) {
		t.Errorf("%d topics of the client", len(got))
	}
	if got := l.ask(workerTopicUniqIDList, workerList(want...)).textMap(2); len(got) != len(want) {
		t.Errorf("lists of %d topics", len(got))
	}
	// And messages as long as they may be.
	for _, n := range []int{125, 126, 65535, 65536, 2 << 20} {
		data := strings.Repeat("9876543210", n/10+1)[:n]
		c.say("001" + data)
		l.wantTransferOf(id, "", data)
	}
	c.say("001" + strings.Repeat("x", 2<<20+1))
	c.wantText("Message too large")
	c.wantAlive()
}
