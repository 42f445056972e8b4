package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// keeperProtocol is the line protocol with sessions: NAME n begins one, and whoever says so again has
// what was published since.
type keeperProtocol struct{ sessions *keptSessions }

type keptSessions struct {
	mu    sync.Mutex
	marks map[string][]Mark
}

func (keeperProtocol) Name() string             { return "keeper" }
func (keeperProtocol) Sniff(first []byte) Match { return Matched }
func (p keeperProtocol) Open(c *Conn) Handler {
	c.SetDialect(0)
	return &keeperHandler{sessions: p.sessions}
}

type keeperHandler struct {
	lineHandler
	sessions *keptSessions
	name     string
}

func (h *keeperHandler) Resumable() bool { return h.name != "" }

func (h *keeperHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	if !c.Open() || c.Paused() || c.OutputFull() {
		return 0, 0
	}
	word, rest, whole := bytes.Cut(b, []byte("\n"))
	word, arg, _ := bytes.Cut(word, []byte(" "))
	if !whole {
		return 0, len(b) + 1
	}
	switch string(word) {
	case "NAME":
		h.name = string(arg)
		h.sessions.mu.Lock()
		marks := h.sessions.marks[h.name]
		h.sessions.mu.Unlock()
		fmt.Fprintf(connWriter{c}, "RESUMED %d\n", len(marks))
		for _, m := range marks {
			c.SubscribeFrom(m)
		}
	case "LAST":
		n, t, _ := bytes.Cut(arg, []byte(" "))
		count, _ := strconv.Atoi(string(n))
		fmt.Fprintf(connWriter{c}, "SUBSCRIBED %v\n", c.SubscribeLast(t, count))
	default:
		h.lineHandler.OnBytes(c, b[:len(b)-len(rest)])
	}
	if len(rest) > 0 {
		n, need = h.OnBytes(c, rest)
	}
	return len(b) - len(rest) + n, need
}

func (h *keeperHandler) OnClose(c *Conn, why Reason) {
	if h.name == "" {
		return
	}
	marks := c.Marks()
	c.DropHistory()
	c.UnsubscribeAll()
	h.sessions.mu.Lock()
	h.sessions.marks[h.name] = marks
	h.sessions.mu.Unlock()
}

func gapLine(topic string) Push { return Push{Payload: []byte("GAP " + topic)} }

// startKeeper runs an engine whose topics have history, and returns its address.
func startKeeper(t testing.TB, config Config, lc ListenConfig, rules ...string) (*Engine, string, *keptSessions) {
	t.Helper()
	for _, text := range rules {
		r, err := topic.ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		config.History.Rules = append(config.History.Rules, r)
	}
	config.Gap = gapLine
	s := &keptSessions{marks: make(map[string][]Mark)}
	lc.Protocols = []Protocol{keeperProtocol{s}}
	e, addr := startLine(t, config, lc)
	return e, addr, s
}

// A keeper is a client of keeperProtocol.
type keeper struct {
	t testing.TB
	c *lineClient
	r *bufio.Reader
}

func dialKeeper(t testing.TB, addr string, lines ...string) *keeper {
	t.Helper()
	c := dialLine(t, addr)
	_ = c.SetDeadline(time.Now().Add(patience))
	k := &keeper{t, c, c.r}
	k.send(lines...)
	return k
}

func (k *keeper) send(lines ...string) {
	k.t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(k.c, line+"\n"); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *keeper) want(lines ...string) {
	k.t.Helper()
	for _, want := range lines {
		got, err := k.r.ReadString('\n')
		if err != nil || strings.TrimSuffix(got, "\n") != want {
			k.t.Fatalf("read %.60q, %v, want %q", got, err, want)
		}
	}
}

// cut ends the connection as a client does that goes away, once everything has been acknowledged, and
// waits until the session is kept.
func (k *keeper) cut(s *keptSessions, name string) {
	k.t.Helper()
	s.mu.Lock()
	s.marks[name] = nil
	s.mu.Unlock()
	k.c.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		kept := s.marks[name] != nil
		s.mu.Unlock()
		if kept {
			return
		}
		if time.Now().After(deadline) {
			k.t.Fatal("the session was not kept")
		}
	}
}

func publishNumbers(t testing.TB, e *Engine, name string, from, to int) {
	t.Helper()
	pb := e.NewPublisher()
	for i := from; i <= to; i++ {
		if err := pb.Publish([]byte(name), Push{Payload: []byte(strconv.Itoa(i))}); err != nil {
			t.Fatal(err)
		}
	}
	pb.Flush()
}

func numbers(from, to int) (lines []string) {
	for i := from; i <= to; i++ {
		lines = append(lines, strconv.Itoa(i))
	}
	return lines
}

func TestResumeGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	e, addr, s := startKeeper(t, Config{}, ListenConfig{}, "h.*=1000,1m", "short=3,1m")
	k := dialKeeper(t, addr, "NAME ann", "SUB h.a", "SUB h.b", "SUB plain")
	k.want("RESUMED 0", "SUBSCRIBED true", "SUBSCRIBED true", "SUBSCRIBED true")
	publishNumbers(t, e, "h.a", 1, 3)
	k.want(numbers(1, 3)...)
	for round := range 3 { // detached again and again
		k.cut(s, "ann")
		from := 4 + 200*round
		publishNumbers(t, e, "h.a", from, from+99)
		publishNumbers(t, e, "plain", 1, 3)
		k = dialKeeper(t, addr, "NAME ann")
		k.want("RESUMED 2")
		k.want(numbers(from, from+99)...)
		publishNumbers(t, e, "h.a", from+100, from+199)
		k.want(numbers(from+100, from+199)...)
	}
	publishNumbers(t, e, "h.b", 7, 9)
	k.want(numbers(7, 9)...)
	if st := e.Stats(); st.Replayed != 300 || st.Gaps != 0 {
		t.Errorf("%d replayed, %d gaps", st.Replayed, st.Gaps)
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	e, addr, s := startKeeper(t, Config{}, ListenConfig{}, "short=3,1m", "brief=100,30ms", "a=100,1m", "b=100,1m")
	names := []string{"short", "brief", "a", "b"}
	k := dialKeeper(t, addr, "NAME ann", "SUB short", "SUB brief", "SUB a", "SUB b")
	k.want("RESUMED 0", "SUBSCRIBED true", "SUBSCRIBED true", "SUBSCRIBED true", "SUBSCRIBED true")
	for _, name := range names {
		publishNumbers(t, e, name, 1, 2)
		k.want("1", "2")
	}
	k.cut(s, "ann")
	publishNumbers(t, e, "short", 3, 6)
	publishNumbers(t, e, "brief", 3, 4)
	publishNumbers(t, e, "b", 3, 4)
	time.Sleep(40 * time.Millisecond) // brief's age, by a clock that cannot be turned
	publishNumbers(t, e, "brief", 5, 5)
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 4")
	got := make(map[string]int)
	want := map[string]int{"GAP short": 1, "4": 2, "5": 2, "6": 1, "GAP brief": 1, "3": 1} // 4, 5 and 6 of short, 5 of brief, 3 and 4 of b
	for range 8 {
		line, err := k.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimSpace(line)]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// Everything is gone, and then the topic has no history at all.
	k.cut(s, "ann")
	publishNumbers(t, e, "brief", 6, 6)
	time.Sleep(40 * time.Millisecond)
	e.ExpireHistory()
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 4", "GAP brief")
	publishNumbers(t, e, "brief", 7, 7)
	k.want("7")
	k.cut(s, "ann")
	if err := e.SetHistory(HistoryLimits{Rules: []topic.Rule{{Pattern: "a", Count: 5, Age: time.Minute}}}); err != nil {
		t.Fatal(err)
	}
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 4")
	gaps := make(map[string]int)
	for range 3 {
		line, _ := k.r.ReadString('\n')
		gaps[strings.TrimSpace(line)]++
	}
	if !maps.Equal(gaps, map[string]int{"GAP short": 1, "GAP brief": 1, "GAP b": 1}) {
		t.Errorf("gaps: %v", gaps)
	}
	publishNumbers(t, e, "a", 3, 3)
	publishNumbers(t, e, "b", 9, 9)
	k.want("3", "9")
}

func TestSubscribeLast(t *testing.T) {
	t.Parallel()
	e, addr, _ := startKeeper(t, Config{}, ListenConfig{}, "a=5,1m")
	publishNumbers(t, e, "a", 1, 7)
	for _, tt := range []struct {
		n    string
		want []string
	}{
		{"0", nil},
		{"2", numbers(6, 7)},
		{"5", numbers(3, 7)},
		{"100", numbers(3, 7)}, // no gap: it has missed nothing
		{"-1", nil},
	} {
		k := dialKeeper(t, addr, "LAST "+tt.n+" a")
		k.want("SUBSCRIBED true")
		k.want(tt.want...)
		k.send("LAST 5 a", "ECHO -")
		k.want("SUBSCRIBED false", "-") // it has had them
		publishNumbers(t, e, "a", 8, 8)
		k.want("8")
		k.c.Close()
		e.History().Set(nil, 1<<20, 1<<20, e.Now())
		if err := e.SetHistory(HistoryLimits{Rules: []topic.Rule{{Pattern: "a", Count: 5, Age: time.Minute}}}); err != nil {
			t.Fatal(err)
		}
		publishNumbers(t, e, "a", 1, 7)
	}
	k := dialKeeper(t, addr, "LAST 3 plain")
	k.want("SUBSCRIBED true")
	publishNumbers(t, e, "plain", 1, 1)
	k.want("1")
}

// Thousands of messages that were missed go out while the client reads, and never more than a little at
// a time waits for it; what is published meanwhile comes behind them.
func TestReplayIsBounded(t *testing.T) {
	t.Parallel()
	e, addr, s := startKeeper(t, Config{Backlog: 64 << 10, SendBuffer: 16 << 10}, ListenConfig{}, "a=100000,1m")
	k := dialKeeper(t, addr, "NAME ann", "SUB a")
	k.want("RESUMED 0", "SUBSCRIBED true")
	k.cut(s, "ann")
	const missed, more = 20_000, 2000
	publish := func(from, to int) {
		pb := e.NewPublisher()
		for i := from; i <= to; i++ {
			p := Push{Payload: fmt.Appendf(nil, "%d %0100d", i, 0)}
			if err := pb.Publish([]byte("a"), p); err != nil {
				t.Error(err)
			}
		}
		pb.Flush()
	}
	publish(1, missed)
	k = dialKeeper(t, addr, "NAME ann")
	k.want("RESUMED 1")
	time.Sleep(50 * time.Millisecond) // it does not read
	if n := e.Stats().Accounts[KindUnsent]; n > 400_000 {
		t.Errorf("%d bytes are unsent", n)
	}
	done := make(chan struct{})
	go func() { publish(missed+1, missed+more); close(done) }()
	for i := 1; i <= missed+more; i++ {
		line, err := k.r.ReadString('\n')
		if got, _, _ := strings.Cut(line, " "); err != nil || got != strconv.Itoa(i) {
			t.Fatalf("read %.20q, %v, want %d", line, err, i)
		}
	}
	<-done
	if st := e.Stats(); st.Closed[ReasonSlowConsumer] > 0 || st.Gaps > 0 {
		t.Errorf("%d closed, %d gaps", st.Closed[ReasonSlowConsumer], st.Gaps)
	}
}

// What a policy drops of a history comes again, in order, as far as it is kept; where it is not, a push
// says so.
func TestDroppedHistoryComesAgain(t *testing.T) {
	t.Parallel()
	for _, policy := range []SlowConsumer{SlowDropNewest, SlowDropOldest} {
		for _, keep := range []int{100_000, 10} {
			t.Run(fmt.Sprint(policy, " ", keep), func(t *testing.T) {
				t.Parallel()
				e, addr, _ := startKeeper(t, Config{Lag: 64 << 10, SendBuffer: 16 << 10}, ListenConfig{SlowConsumer: policy},
					fmt.Sprintf("a=%d,1m", keep))
				k := dialKeeper(t, addr, "SUB a")
				k.want("SUBSCRIBED true")
				const all = 4000
				pb := e.NewPublisher()
				for i := 1; i <= all; i++ {
					if err := pb.Publish([]byte("a"), Push{Payload: fmt.Appendf(nil, "%d %01000d", i, 0)}); err != nil {
						t.Fatal(err)
					}
					pb.Flush()
				}
				next, gaps := 1, 0
				for next <= all {
					line, err := k.r.ReadString('\n')
					if err != nil {
						t.Fatalf("behind %d: %v", next-1, err)
					}
					word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
					if word == "GAP" {
						gaps++
						line, _ = k.r.ReadString('\n')
						word, _, _ = strings.Cut(line, " ")
						n, _ := strconv.Atoi(word)
						if n <= next {
							t.Fatalf("a gap between %d and %s", next-1, word)
						}
						next = n
					}
					if word != strconv.Itoa(next) {
						t.Fatalf("read %q, want %d", word, next)
					}
					next++
				}
				if keep > all && gaps > 0 || keep < all && gaps == 0 {
					t.Errorf("%d gaps", gaps)
				}
				if e.Stats().Dropped[DropSlowConsumer] == 0 {
					t.Error("nothing was dropped: the test shows nothing")
				}
			})
		}
	}
}

// Several publishers on and beside the loops, subscribers that come and go: all see one order, nothing is
// missing, and what comes twice is what TCP had not acknowledged.
func TestHistoryHasOneOrder(t *testing.T) {
	t.Parallel()
	e, addr, _ := startKeeper(t, Config{Loops: 3}, ListenConfig{}, "a=1000000,1m")
	const each, sources, readers = 1500, 4, 6
	var wg, reading sync.WaitGroup
	results := make([][]string, readers)
	for r := range readers {
		reading.Go(func() {
			name := "reader" + strconv.Itoa(r)
			rng := rand.New(rand.NewPCG(uint64(r), 3))
			k := dialKeeper(t, addr, "NAME "+name, "SUB a")
			k.want("RESUMED 0", "SUBSCRIBED true")
			seen := make(map[string]int)
			var list []string
			for {
				left := rng.IntN(900) + 1
				if r == 0 {
					left = 1 << 30 // it stays
				}
				for ; left > 0; left-- {
					line, err := k.r.ReadString('\n')
					if err != nil {
						t.Errorf("%s behind %d: %v", name, len(list), err)
						return
					}
					line = strings.TrimSpace(line)
					if at, again := seen[line]; again {
						list = list[:at] // what follows comes again, too
					}
					seen[line] = len(list)
					list = append(list, line)
					if line == "end" {
						results[r] = list
						return
					}
				}
				_ = k.c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				for { // all that TCP has acknowledged
					line, err := k.r.ReadString('\n')
					if err != nil {
						break
					}
					line = strings.TrimSpace(line)
					if strings.HasPrefix(line, "BYE") {
						continue
					}
					if at, again := seen[line]; again {
						list = list[:at]
					}
					seen[line] = len(list)
					list = append(list, line)
					if line == "end" {
						results[r] = list
						return
					}
				}
				k.c.Close()
				k = dialKeeper(t, addr, "NAME "+name)
				k.want("RESUMED 1")
			}
		})
	}
	for e.Topics().Count([]byte("a")) < readers {
		time.Sleep(time.Millisecond)
	}
	for src := range sources {
		wg.Go(func() {
			var k *keeper
			pb := e.NewPublisher()
			if src%2 == 0 {
				k = dialKeeper(t, addr)
			}
			for i := range each {
				text := fmt.Sprintf("%d:%d", src, i)
				if k != nil {
					k.send("PUB a " + text)
				} else if err := pb.Publish([]byte("a"), Push{Payload: []byte(text)}); err != nil {
					t.Error(err)
				}
				if i%20 == 19 {
					pb.Flush()
					time.Sleep(time.Millisecond)
				}
			}
			pb.Flush()
			if k != nil {
				k.send("ECHO done")
				k.want("done")
			}
		})
	}
	wg.Wait()
	pb := e.NewPublisher()
	_ = pb.Publish([]byte("a"), Push{Payload: []byte("end")})
	pb.Flush()
	reading.Wait()
	st := e.History().Find([]byte("a"))
	var v topic.View
	e.History().Look(&v, st, 1, 1<<60, e.Now(), 1<<30)
	var order []string
	for m := v.Read(); m != nil; m = v.Read() {
		order = append(order, string(m.Payload))
	}
	if len(order) != each*sources+1 {
		t.Fatalf("%d messages in the history, want %d", len(order), each*sources+1)
	}
	for r, list := range results {
		if len(list) == 0 {
			continue
		}
		for i, line := range list {
			if i >= len(order) || line != order[i] {
				t.Errorf("reader %d: %d of %d is %q, of %d it should be", r, i, len(list), line, len(order))
				break
			}
		}
	}
}
