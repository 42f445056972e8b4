package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// A fakeLog is a Log in memory: one stream for all topics, as others publish to it, too. What is in it
// reaches the engine when the test says so.
type fakeLog struct {
	mu      sync.Mutex
	epoch   uint64
	seq     uint64 // of the stream
	topics  map[string][]Frame
	first   map[string]uint64 // bounds of what is kept
	fetches []string
	held    []func() // answers to Fetch
	hold    bool
	away    error
	full    atomic.Bool
	replica *Replica
}

func newFakeLog() *fakeLog {
	return &fakeLog{epoch: 7, seq: 100, topics: make(map[string][]Frame), first: make(map[string]uint64)}
}

var errAway = errors.New("no connection")

func (t *fakeLog) Append(name, records []byte, n int, done func(topic.Position, error)) {
	t.mu.Lock()
	t.seq++
	f := Frame{Seq: t.seq<<12 | 4095, At: time.Now().UnixMilli(), Records: append([]byte(nil), records...)}
	t.topics[string(name)] = append(t.topics[string(name)], f)
	t.mu.Unlock()
	if done != nil {
		done(topic.Position{Epoch: t.epoch, Seq: f.Seq}, nil)
	}
}

func (t *fakeLog) Full([]byte) bool { return t.full.Load() }

func (t *fakeLog) Away() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.away
}

func (t *fakeLog) Now() time.Time { return time.Now() }

func (t *fakeLog) Fetch(name string, after topic.Position, since int64, before uint64, done func(Fill, error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fetches = append(t.fetches, fmt.Sprint(name, " ", after.Seq>>12))
	answer := func() {
		t.mu.Lock()
		f := Fill{Epoch: t.epoch, First: t.first[name], Last: t.seq << 12}
		if after.Epoch == t.epoch {
			f.First = max(f.First, after.Seq+1)
		}
		for _, m := range t.topics[name] {
			if m.Seq >= f.First && (before == 0 || m.Seq < before) {
				f.Frames = append(f.Frames, m)
			}
		}
		t.mu.Unlock()
		done(f, nil)
	}
	if t.hold {
		t.held = append(t.held, answer)
		return
	}
	go answer()
}

// keepBack has answers wait for release.
func (t *fakeLog) keepBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hold = true
}

func (t *fakeLog) release() {
	t.mu.Lock()
	held := t.held
	t.held, t.hold = nil, false
	t.mu.Unlock()
	for _, f := range held {
		f()
	}
}

// last returns the stream's position.
func (t *fakeLog) last() topic.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return topic.Position{Epoch: t.epoch, Seq: t.seq<<12 | 4095}
}

// deliver gives the engine what it lacks of a topic.
func (t *fakeLog) deliver(tb testing.TB, name string) {
	tb.Helper()
	at, ok := t.replica.Last([]byte(name))
	if !ok {
		tb.Fatalf("the history of %s has not begun", name)
	}
	t.mu.Lock()
	frames := t.topics[name]
	t.mu.Unlock()
	prev := uint64(0)
	for _, f := range frames {
		if f.Seq > at.Seq {
			if ok, err := t.replica.Publish([]byte(name), t.epoch, prev, f); !ok || err != nil {
				tb.Fatalf("frame %d of %s: %v, %v", f.Seq>>12, name, ok, err)
			}
		}
		prev = f.Seq
	}
}

// publish has the log get numbers, in frames of so many.
func (t *fakeLog) publish(name string, from, to, each int) {
	for ; from <= to; from += each {
		var records []byte
		for i := from; i < from+each && i <= to; i++ {
			records = topic.AppendRecord(records, "", 0, fmt.Append(nil, i))
		}
		t.Append([]byte(name), records, each, nil)
		t.Append([]byte("another"), topic.AppendRecord(nil, "", 0, []byte("x")), 1, nil)
	}
}

func (t *fakeLog) begin(tb testing.TB, name string, at topic.Position, lost bool) {
	tb.Helper()
	if err := t.replica.Begin([]byte(name), at, lost); err != nil {
		tb.Fatal(err)
	}
}

func startLogged(t testing.TB, rules ...string) (*Engine, string, *keptSessions, *fakeLog) {
	t.Helper()
	log := newFakeLog()
	e, addr, s := startKeeper(t, Config{Log: log, Loops: 2}, ListenConfig{}, rules...)
	log.replica = e.NewReplica()
	return e, addr, s, log
}

// What is published comes back through the log, to everybody in its order, and a session that comes back
// has what it missed, from the ring as far as that reaches.
func TestLogged(t *testing.T) {
	t.Parallel()
	e, addr, s, log := startLogged(t, "h.*=1000,1m")
	log.publish("h.a", 1, 30, 4)
	k := dialKeeper(t, addr, "NAME ann", "SUB h.a", "SUB h.b")
	k.want("RESUMED 0", "SUBSCRIBED true", "SUBSCRIBED true")
	log.begin(t, "h.a", log.last(), false)
	log.begin(t, "h.b", log.last(), false)
	at, ok, err := e.NewPublisher().PublishAt([]byte("h.a"), Push{Payload: []byte("31")})
	if !ok || err != nil || at != log.last() {
		t.Fatalf("published at %v, %v, %v, want %v", at, ok, err, log.last())
	}
	log.deliver(t, "h.a")
	k.want("31")
	k.send("PUB h.a 32")
	for log.last() == at {
		time.Sleep(time.Millisecond)
	}
	log.deliver(t, "h.a")
	k.want("32")
	k.cut(s, "ann")
	log.publish("h.a", 33, 60, 5)
	log.deliver(t, "h.a")
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 2")
	k.want(numbers(33, 60)...)
	k.cut(s, "ann")
	log.publish("h.a", 61, 70, 3)
	log.deliver(t, "h.a")
	log.replica.End([]byte("h.a"))
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 2")
	log.begin(t, "h.a", log.last(), false)
	k.want(numbers(61, 70)...)
	log.publish("h.a", 71, 72, 1)
	log.deliver(t, "h.a")
	k.want("71", "72")
	last := dialKeeper(t, addr, "LAST 65 h.a")
	last.want("SUBSCRIBED true")
	last.want(numbers(8, 72)...)
	if st := e.Stats(); st.Gaps != 0 {
		t.Errorf("%d gaps", st.Gaps)
	}
	if got := strings.Join(log.fetches, ", "); strings.Count(got, "h.a") != 2 {
		t.Errorf("asked the log for %s", got)
	}
}

// Where the log has not everything any more, one push says so before what is left.
func TestLoggedGaps(t *testing.T) {
	t.Parallel()
	e, addr, s, log := startLogged(t, "h=1000,1m")
	k := dialKeeper(t, addr, "NAME ann", "SUB h")
	k.want("RESUMED 0", "SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	log.publish("h", 1, 3, 1)
	log.deliver(t, "h")
	k.want("1", "2", "3")
	k.cut(s, "ann")
	log.replica.End([]byte("h"))
	log.publish("h", 4, 9, 1)
	log.mu.Lock()
	log.first["h"] = log.topics["h"][5].Seq + 1 // 1 to 6 are gone
	log.mu.Unlock()
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 1")
	log.begin(t, "h", log.last(), false)
	k.want("GAP h", "7", "8", "9")

	// Another log in its place, while somebody listens.
	log.mu.Lock()
	log.epoch, log.seq = 8, 0
	clear(log.topics)
	clear(log.first)
	log.mu.Unlock()
	log.publish("h", 20, 21, 1)
	log.begin(t, "h", log.last(), true)
	k.want("GAP h", "20", "21")
	log.publish("h", 22, 22, 1)
	log.deliver(t, "h")
	k.want("22")
	if st := e.Stats(); st.Gaps != 2 {
		t.Errorf("%d gaps", st.Gaps)
	}
}

// A connection that ends while the log is asked keeps the position that it came with.
func TestLoggedEndsMeanwhile(t *testing.T) {
	t.Parallel()
	_, addr, s, log := startLogged(t, "h=1000,1m")
	k := dialKeeper(t, addr, "NAME ann", "SUB h")
	k.want("RESUMED 0", "SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	log.publish("h", 1, 3, 1)
	log.deliver(t, "h")
	k.want("1", "2", "3")
	k.cut(s, "ann")
	mark := s.marks["ann"][0]
	log.publish("h", 4, 9, 1)
	log.replica.End([]byte("h"))
	log.keepBack()
	for range 2 { // once before it has begun, once while the log is asked
		k = dialKeeper(t, addr, "NAME ann")
		k.want("RESUMED 1")
		k.cut(s, "ann")
		if again := s.marks["ann"][0]; again != mark {
			t.Errorf("the mark is %+v, it was %+v", again, mark)
		}
		log.begin(t, "h", log.last(), false)
	}
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 1")
	log.release()
	k.want(numbers(4, 9)...)
}

// While the log is away, publishes to topics with history are refused by name, and others go on.
func TestLoggedAway(t *testing.T) {
	t.Parallel()
	e, addr, _, log := startLogged(t, "h=1000,1m")
	k := dialKeeper(t, addr, "SUB h", "SUB plain")
	k.want("SUBSCRIBED true", "SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	log.mu.Lock()
	log.away = errAway
	log.mu.Unlock()
	pb := e.NewPublisher()
	var refused *LogError
	if err := pb.Publish([]byte("h"), Push{Payload: []byte("1")}); !errors.As(err, &refused) || !errors.Is(err, errAway) {
		t.Errorf("Publish says %v", err)
	}
	if _, _, err := pb.PublishAt([]byte("h"), Push{Payload: []byte("1")}); !errors.Is(err, errAway) {
		t.Errorf("PublishAt says %v", err)
	}
	if err := pb.PublishContext(t.Context(), []byte("h"), Push{Payload: []byte("1")}); !errors.Is(err, errAway) {
		t.Errorf("PublishContext says %v", err)
	}
	publishNumbers(t, e, "plain", 5, 6)
	k.want("5", "6")
	if n := e.Stats().Dropped[DropHistoryAway]; n != 3 {
		t.Errorf("%d were counted", n)
	}
}

// A publisher waits while the log is full, and for no longer.
func TestLoggedFull(t *testing.T) {
	t.Parallel()
	e, addr, _, log := startLogged(t, "h=1000,1m")
	k := dialKeeper(t, addr, "SUB h")
	k.want("SUBSCRIBED true")
	log.full.Store(true)
	k.send("PUB h 1", "ECHO behind")
	done := make(chan error)
	go func() { done <- e.NewPublisher().PublishContext(t.Context(), []byte("h"), Push{Payload: []byte("2")}) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	log.full.Store(false)
	if err := <-done; err != nil {
		t.Error(err)
	}
	k.want("behind")
}

// Who waits for the log is not forgotten when the topic loses its history: a push says what that means, and
// what is published goes on as plain messages.
func TestLoggedLosesItsRule(t *testing.T) {
	t.Parallel()
	e, addr, s, log := startLogged(t, "h=1000,1m")
	k := dialKeeper(t, addr, "NAME ann", "SUB h")
	k.want("RESUMED 0", "SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	log.publish("h", 1, 1, 1)
	log.deliver(t, "h")
	k.want("1")
	k.cut(s, "ann")
	log.publish("h", 2, 9, 1)
	log.replica.End([]byte("h"))
	log.keepBack()
	k = dialKeeper(t, addr, "NAME ann", "ECHO -")
	k.want("RESUMED 1", "-")
	if err := e.SetHistory(HistoryLimits{}); err != nil {
		t.Fatal(err)
	}
	k.want("GAP h")
	publishNumbers(t, e, "h", 20, 21)
	k.want("20", "21")
}

// What a gateway had no room for is asked of the log again.
func TestLoggedEvicted(t *testing.T) {
	t.Parallel()
	e, addr, s, log := startLogged(t, "h=1000,1m", "other=1000,1m")
	if err := e.SetHistory(HistoryLimits{Rules: e.config.History.Rules, Total: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	k := dialKeeper(t, addr, "NAME ann", "SUB h")
	k.want("RESUMED 0", "SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	log.publish("h", 1, 1, 1)
	log.deliver(t, "h")
	k.want("1")
	k.cut(s, "ann")
	log.publish("h", 2, 40, 1)
	log.deliver(t, "h")
	dialKeeper(t, addr, "SUB other", "ECHO -").want("SUBSCRIBED true", "-")
	log.begin(t, "other", log.last(), false)
	big := topic.AppendRecord(nil, "", 0, make([]byte, 20<<10))
	for range 6 {
		log.Append([]byte("other"), big, 1, nil)
	}
	log.deliver(t, "other")
	if e.History().Stats().Evicted == 0 {
		t.Fatal("nothing was evicted: the test shows nothing")
	}
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 1")
	k.want(numbers(2, 40)...)
	if n := e.Stats().Gaps; n != 0 {
		t.Errorf("%d gaps", n)
	}
}

// Of a topic that has been quiet for longer than it keeps messages nothing is missing, and nobody is told
// so, wherever its history begins here.
func TestLoggedQuiet(t *testing.T) {
	t.Parallel()
	e, addr, s, log := startLogged(t, "h=1000,1ms")
	k := dialKeeper(t, addr, "NAME ann", "SUB h")
	k.want("RESUMED 0", "SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	k.cut(s, "ann")
	log.replica.End([]byte("h"))
	log.publish("other", 1, 5, 1)
	other := dialKeeper(t, addr, "SUB h")
	other.want("SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	for begun := e.Now(); e.Now() < begun+5; {
		time.Sleep(time.Millisecond) // what was there before is too old by now
	}
	log.keepBack()
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 1")
	for asked := 0; asked == 0; time.Sleep(time.Millisecond) { // the log knows
		log.mu.Lock()
		asked = len(log.held)
		log.mu.Unlock()
	}
	log.release()
	for range 3 {
		k.send("ECHO -")
		k.want("-")
	}
	if st := e.Stats(); st.Gaps != 0 {
		t.Errorf("%d gaps", st.Gaps)
	}
}

// Who has asked for the last messages and goes before they have come gets them when it comes back, and what
// has come since, wherever the history begins then. Of another log it is told that something is gone.
func TestLoggedLastEndsMeanwhile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		meanwhile func(t *testing.T, log *fakeLog)
		want      []string
	}{
		"the same history": {func(*testing.T, *fakeLog) {}, numbers(8, 11)},
		"one that has not begun": {func(t *testing.T, log *fakeLog) {
			log.replica.End([]byte("h"))
		}, numbers(8, 11)},
		"another log": {func(t *testing.T, log *fakeLog) {
			log.replica.End([]byte("h"))
			log.mu.Lock()
			log.epoch, log.seq = 8, 0
			clear(log.topics)
			log.mu.Unlock()
			log.publish("h", 20, 21, 1)
		}, []string{"GAP h", "20", "21"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, addr, s, log := startLogged(t, "h=1000,1m")
			log.publish("h", 1, 10, 1)
			other := dialKeeper(t, addr, "SUB h")
			other.want("SUBSCRIBED true")
			log.begin(t, "h", log.last(), false)
			log.keepBack()
			k := dialKeeper(t, addr, "NAME ann", "LAST 3 h")
			k.want("RESUMED 0", "SUBSCRIBED true")
			k.cut(s, "ann")
			if marks := s.marks["ann"]; len(marks) != 1 || marks[0].Last != 3 || marks[0].Position != log.last() {
				t.Errorf("it is at %+v, want the last 3 up to %v", marks, log.last())
			}
			log.release()
			log.publish("h", 11, 11, 1)
			log.deliver(t, "h")
			other.want("11")
			other.c.Close()
			for left := 1; left > 0; time.Sleep(time.Millisecond) {
				left = e.Topics().Count([]byte("h"))
			}
			tc.meanwhile(t, log)
			k = dialKeeper(t, addr, "NAME ann")
			k.want("RESUMED 1")
			if _, ok := log.replica.Last([]byte("h")); !ok {
				log.begin(t, "h", log.last(), false)
			}
			k.want(tc.want...)
		})
	}
}

// Who waits for the last messages when the log is found to be another is told that the rest is gone.
func TestLoggedLastOfAnotherLog(t *testing.T) {
	t.Parallel()
	_, addr, _, log := startLogged(t, "h=1000,1m")
	log.publish("h", 1, 10, 1)
	other := dialKeeper(t, addr, "SUB h")
	other.want("SUBSCRIBED true")
	log.begin(t, "h", log.last(), false)
	log.keepBack()
	k := dialKeeper(t, addr, "LAST 3 h")
	k.want("SUBSCRIBED true")
	log.mu.Lock()
	log.epoch, log.seq = 8, 0
	clear(log.topics)
	log.mu.Unlock()
	log.publish("h", 20, 21, 1)
	log.begin(t, "h", log.last(), false)
	log.release()
	other.want("20", "21")
	k.want("GAP h", "20", "21")
}
