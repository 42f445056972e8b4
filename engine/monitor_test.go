package engine

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// visit runs f on a loop and waits.
func visit(t testing.TB, e *Engine, loop int, f func(*Loop)) {
	t.Helper()
	done := make(chan struct{})
	if !e.Visit(loop, func(l *Loop) { f(l); close(done) }) {
		t.Fatal("the loops have stopped")
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("a loop does not answer")
	}
}

func TestTraffic(t *testing.T) {
	plainOnly(t)
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{})
	a, b := dialLine(t, addr), dialLine(t, addr)
	a.send("SUB x")
	a.expect("SUBSCRIBED true")
	b.send("PUB x hello\nECHO done")
	b.expect("done")
	a.expect("hello")
	want := map[string]Traffic{
		"a": {BytesIn: 6, BytesOut: uint64(len("SUBSCRIBED true\nhello\n")), PacketsIn: 1, PacketsOut: 2},
		"b": {BytesIn: uint64(len("PUB x hello\nECHO done\n")), BytesOut: 5, PacketsIn: 2, PacketsOut: 1},
	}
	got := make(map[string]Traffic)
	visit(t, e, 0, func(l *Loop) {
		l.Walk(0, func(c *Conn) bool {
			m := c.Traffic()
			if m.Since < 0 || m.Since > e.Now() {
				t.Errorf("since %d of %d ms", m.Since, e.Now())
			}
			m.Since = 0
			if c.Subscribed([]byte("x")) {
				got["a"] = m
			} else {
				got["b"] = m
			}
			return true
		})
		k, _ := e.Topics().Lookup([]byte("x"))
		if r := l.TopicRate(k); r.Messages != 1 || r.Deliveries != 1 || r.PerSecond <= 0 || r.PerSecond > 1 {
			t.Errorf("rate %+v", r)
		}
	})
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestRateFades: a rate is over the last 8 to 16 s, and a topic's that has the number of one that is
// gone begins at nothing.
func TestRateFades(t *testing.T) {
	var m topicMeter
	m.turnOver(10)
	m.current = 80
	for _, tc := range []struct {
		window          uint32
		current, before uint32
	}{{10, 80, 0}, {11, 0, 80}, {12, 0, 0}} {
		if m.turnOver(tc.window); m.current != tc.current || m.before != tc.before {
			t.Errorf("in window %d: %+v", tc.window, m)
		}
	}
	m.current = 5
	if m.turnOver(99); m.before != 0 || m.current != 0 {
		t.Errorf("after a pause: %+v", m)
	}
}

// TestWalkMeetsEachOnce: whoever stays is met once by a walk in slices, while others come and go.
func TestWalkMeetsEachOnce(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{})
	stay := make(map[Ref]int)
	var clients []*lineClient
	for range 60 {
		clients = append(clients, dialLine(t, addr))
	}
	for _, c := range clients {
		c.send("ECHO in")
		c.expect("in")
	}
	visit(t, e, 0, func(l *Loop) {
		l.Walk(0, func(c *Conn) bool { stay[c.Ref()] = 0; return true })
	})
	if len(stay) != 60 {
		t.Fatalf("%d connections", len(stay))
	}
	leaving := clients[:20]
	gone := make(map[Ref]bool)
	for from, more := uint32(0), true; more; {
		visit(t, e, 0, func(l *Loop) {
			n := 0
			from, more = l.Walk(from, func(c *Conn) bool {
				stay[c.Ref()]++
				n++
				return n < 7
			})
		})
		if len(leaving) > 0 { // its slot is the next newcomer's
			leaving[0].Close()
			leaving = leaving[1:]
			c := dialLine(t, addr)
			c.send("ECHO in")
			c.expect("in")
		}
	}
	left := make(map[Ref]bool)
	visit(t, e, 0, func(l *Loop) { l.Walk(0, func(c *Conn) bool { left[c.Ref()] = true; return true }) })
	for ref, n := range stay {
		if !left[ref] {
			gone[ref] = true
		} else if n != 1 {
			t.Errorf("a connection that stayed was met %d times", n)
		}
		if n > 1 {
			t.Errorf("met %d times", n)
		}
	}
	t.Logf("%d left meanwhile", len(gone))
}

func TestHearEnds(t *testing.T) {
	plainOnly(t)
	e, err := New(Config{Dialects: []Dialect{lineDialect}, Loops: 1, MaxConnections: 1, Linger: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	ends := make(map[Reason]End)
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(ends) }
	e.HearEnds(func(end End) {
		mu.Lock()
		defer mu.Unlock()
		if end.Conn != nil && end.Conn.Traffic().BytesIn != 6 {
			t.Errorf("traffic %+v", end.Conn.Traffic())
		}
		end.Conn = nil
		ends[end.Why] = end
		panic("a hook that panics costs nobody anything")
	})
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	defer e.Stop(t.Context())
	addr, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []Protocol{lineProtocol{}}})
	if err != nil {
		t.Fatal(err)
	}
	c := dialLine(t, addr.String())
	c.send("CLOSE")
	c.expect("BYE forced-offline")
	waitFor(t, "the end", func() bool { return count() == 1 })
	mu.Lock()
	end := ends[ReasonForcedOffline]
	mu.Unlock()
	if want := uint64(len("BYE forced-offline\n")); end.Traffic.BytesIn != 6 || end.Traffic.BytesOut != want || end.Traffic.PacketsOut != 1 {
		t.Errorf("%+v, want the final words, too: %d bytes", end.Traffic, want)
	}
	if _, ok := end.Handler.(*lineHandler); !ok || end.Peer.String() != c.LocalAddr().String() {
		t.Errorf("%+v", end)
	}
	if e.Stats().Panics == 0 {
		t.Error("the panic was not counted")
	}
	refused := netip.MustParseAddrPort("127.0.0.1:1")
	e.tellRefused(refused, 3, ReasonTooManyClients)
	if end := ends[ReasonTooManyClients]; end.Peer != refused || end.Listener != 3 || end.Handler != nil || e.Stats().Panics < 2 {
		t.Errorf("of a refusal: %+v, %d panics", end, e.Stats().Panics)
	}
}

// TestAttach: what is published arrives whole and in order, broadcasts do not, and neither the
// subscriber nor its end is anybody else's business.
func TestAttach(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 2}, ListenConfig{})
	operator := netip.MustParseAddrPort("192.0.2.1:1234")
	conn, err := e.Attach([]byte("news"), operator)
	if err != nil {
		t.Fatal(err)
	}
	if n := e.Topics().Count([]byte("news")); n != 1 {
		t.Fatalf("%d subscribers", n)
	}
	for loop := range 2 {
		visit(t, e, loop, func(l *Loop) {
			l.Walk(0, func(c *Conn) bool {
				if c.Peer() != operator {
					t.Errorf("it is %v's, want %v's", c.Peer(), operator)
				}
				return true
			})
		})
	}
	pb := e.NewPublisher()
	_ = pb.Broadcast(Push{Payload: []byte("to all")})
	for i := range 1000 {
		_ = pb.Publish([]byte("news"), Push{Payload: fmt.Appendf(nil, "number %d", i)})
	}
	pb.Flush()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for i := range 1000 {
		if got := readRaw(t, conn); got != fmt.Sprintf("number %d", i) {
			t.Fatalf("message %d is %q", i, got)
		}
	}
	// Who does not read costs a publisher nothing but its oldest messages.
	big := make([]byte, 64<<10)
	for range 1000 {
		if err := pb.Publish([]byte("news"), Push{Payload: big}); err != nil {
			t.Fatal(err)
		}
		pb.Flush()
	}
	c := dialLine(t, addr)
	c.send("ECHO alive")
	c.expect("alive")
	conn.Close()
	waitFor(t, "the end of the subscription", func() bool { return e.Topics().Count([]byte("news")) == 0 })
	waitFor(t, "the end of the connection", func() bool { return e.Connections() == 1 })
}

func readRaw(t *testing.T, conn net.Conn) string {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAttachHasLimits(t *testing.T) {
	e, _ := startLine(t, Config{Loops: 1, MaxConnections: 1}, ListenConfig{})
	conn, err := e.Attach([]byte("a"), netip.AddrPort{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := e.Attach([]byte("a"), netip.AddrPort{}); err != ErrTooMany {
		t.Errorf("over the limit: %v", err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Attach([]byte("a"), netip.AddrPort{}); err != ErrStopped {
		t.Errorf("after Stop: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the loops have stopped, and reading says %v", err)
	}
}

func TestReport(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{})
	c := dialLine(t, addr)
	c.send("ECHO in")
	c.expect("in")
	visit(t, e, 0, func(*Loop) {})
	var r LoopReport
	visit(t, e, 0, func(l *Loop) { r = l.Report() })
	if r.Connections != 1 || r.Clients != 1 || r.Turns == 0 || r.TurnTime <= 0 || r.LongestTurn <= 0 {
		t.Errorf("%+v", r)
	}
	if n, total, longest, _ := e.Turns(); n < r.Turns || total < r.TurnTime || longest < r.LongestTurn {
		t.Errorf("of all loops: %d turns, %v, the longest %v", n, total, longest)
	}
}
