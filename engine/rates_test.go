package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Who sends more packets or bytes than it may a second is read at its rate, loses nothing, and keeps
// nobody else from anything.
func TestRates(t *testing.T) {
	plainOnly(t)
	line := "ECHO " + strings.Repeat("x", 94) // 100 bytes
	for _, tc := range []struct {
		name   string
		config Config
		over   Rate
		lines  int
		least  time.Duration // half a second, and the loop's clock may be behind; TestThrottle is exact
	}{
		{"packets", Config{MaxPacketRate: 100}, RatePackets, 150, 400 * time.Millisecond},
		{"bytes", Config{MaxByteRate: 10_000}, RateBytes, 150, 400 * time.Millisecond},
		{"packets, within", Config{MaxPacketRate: 150}, RatePackets, 150, 0},
		{"bytes, within", Config{MaxByteRate: 15_100}, RateBytes, 150, 0},
		{"off", Config{}, RatePackets, 5000, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.config.Loops = 1
			e, addr := startLine(t, tc.config, ListenConfig{})
			c, other := dialLine(t, addr), dialLine(t, addr)
			begun := time.Now()
			go func() { _, _ = c.Write([]byte(strings.Repeat(line+"\n", tc.lines))) }()
			c.expect(line[5:])
			other.send("ECHO other")
			other.expect("other")
			if took := time.Since(begun); tc.least > 0 && e.Stats().OverRate[tc.over] > 0 && took > 10*time.Second {
				t.Errorf("another client waited for %v", took)
			}
			for range tc.lines - 1 {
				c.expect(line[5:])
			}
			took := time.Since(begun)
			if took < tc.least {
				t.Errorf("%d lines took %v, want %v at least", tc.lines, took, tc.least)
			}
			if n := e.Stats().OverRate[tc.over]; (n > 0) != (tc.least > 0) {
				t.Errorf("over its rate %d times", n)
			}
			c.Close()
			other.Close()
		})
	}
}

// ratedLoop is a loop without a poller whose clock stands still, with one connection.
func ratedLoop(t *testing.T, config Config) (*Loop, *Conn, *stillSystem) {
	t.Helper()
	config.Loops = 1
	s := new(stillSystem)
	e, err := newEngine(config, s)
	if err != nil {
		t.Fatal(err)
	}
	l := e.loops[0]
	c, _ := l.allocate()
	c.state = stateOpen
	t.Cleanup(l.isolation.end)
	return l, c, s
}

func (s *stillSystem) tickAfter(*Loop, time.Duration) {}

// What a connection has used too much of it waits for, to the millisecond, however much that is, and
// what it has used is forgotten in the end.
func TestThrottle(t *testing.T) {
	t.Parallel()
	l, c, clock := ratedLoop(t, Config{})
	forward := func(ms int64) {
		clock.ms += ms
		l.tick()
		l.forgetRates()
		l.wakeThrottled()
	}
	forward(1000)
	if wait := c.Spend(RateInflated, 1000, 1000); wait != 0 || c.Paused() {
		t.Fatalf("the burst waits for %v", wait)
	}
	if wait := c.Spend(RateInflated, 10_000, 1000); wait != 10*time.Second {
		t.Fatalf("10 times as much as it may have a second waits for %v", wait)
	}
	for range 99 {
		forward(100)
		if !c.Paused() {
			t.Fatalf("it waits no more at %d ms", clock.ms)
		}
	}
	forward(110)
	if c.Paused() {
		t.Fatal("it waits for more than 10 s")
	}
	if c.Spend(RateInflated, 1, 1000); c.Spend(RateInflated, 100, 1000) == 0 {
		t.Error("a wait has filled the bucket")
	}
	if n := l.accounts.now[KindRequests]; n != int64(l.rates.table.Len())*rateCost || n == 0 {
		t.Errorf("%d bytes are charged for %d buckets", n, l.rates.table.Len())
	}
	for range 4 {
		forward(1000)
	}
	if n := l.accounts.now[KindRequests]; n != 0 || len(l.rates.throttled) != 0 || c.Paused() {
		t.Errorf("%d bytes are charged, %d throttled in the end", n, len(l.rates.throttled))
	}
}

// Buckets that are full again go by themselves, also on a loop that has nothing else to do.
func TestBucketsAreForgotten(t *testing.T) {
	t.Parallel()
	l, c, clock := ratedLoop(t, Config{})
	c.Spend(RatePackets, 1, 1000)
	for visits := 0; l.tickAt > 0; visits++ {
		if visits == 10 {
			t.Fatalf("the loop comes by for ever; %d ms have passed", clock.ms)
		}
		clock.ms, l.tickAt = l.tickAt, 0
		l.tick()
		l.forgetRates()
		l.sweep()
	}
	if n := l.accounts.now[KindRequests]; n != 0 || clock.ms == 0 || clock.ms > 3000 {
		t.Errorf("%d bytes are charged after %d ms", n, clock.ms)
	}
}

// Each rate and each connection has a bucket of its own, also that which gets a slot again.
func TestRatesApart(t *testing.T) {
	t.Parallel()
	l, c, _ := ratedLoop(t, Config{})
	other, _ := l.allocate()
	other.state = stateOpen
	if !c.Take(RateRequests, 5, 5) || c.Take(RateRequests, 1, 5) {
		t.Error("want 5 requests, and no more")
	}
	if !c.Take(RatePackets, 5, 5) || !other.Take(RateRequests, 5, 5) {
		t.Error("another rate or another connection is refused")
	}
	c.gen++
	if !c.Take(RateRequests, 5, 5) {
		t.Error("the next one in the slot is refused")
	}
	if n := l.stats.overRate[RateRequests].Load(); n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
}

func TestRateNames(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, m := range Rates() {
		if name := m.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("rate %d is called %q", m, name)
		}
		seen[m.String()] = true
	}
	if s := fmt.Sprint(numRates); s != "unknown" {
		t.Errorf("a rate that there is not is called %q", s)
	}
}

func BenchmarkServe(b *testing.B) {
	for _, rate := range []int{0, 1 << 30} {
		b.Run(fmt.Sprint("rate ", rate), func(b *testing.B) {
			e, err := newEngine(Config{Loops: 1, MaxPacketRate: rate, MaxByteRate: rate}, new(stillSystem))
			if err != nil {
				b.Fatal(err)
			}
			l := e.loops[0]
			var conns []*Conn
			for range 1000 {
				c, _ := l.allocate()
				c.state, c.handler = stateOpen, countHandler{}
				c.flags |= flagTrusted
				conns = append(conns, c)
			}
			b.ReportAllocs()
			for i := range b.N {
				c := conns[i%len(conns)]
				if n := l.rates.byteRate; n > 0 {
					c.Spend(RateBytes, 100, n)
				}
				l.serve(c, nil)
			}
		})
	}
}

type countHandler struct{ unknown }

func (countHandler) OnBytes(c *Conn, _ []byte) (int, int) { c.CountPackets(1); return 0, 0 }
func (countHandler) OnDeadline(*Conn)                     {}
