package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"0.0.0.0", "::", false},
	} {
		if same := keyOf(netip.MustParseAddr(tc.a)) == keyOf(netip.MustParseAddr(tc.b)); same != tc.same {
			t.Errorf("%s and %s: the same %v, want %v", tc.a, tc.b, same, tc.same)
		}
	}
}

// testAddresses are the addresses of an engine that is never started, with a clock that stands still.
func testAddresses(t *testing.T, config Config) (*addresses, *stillSystem) {
	t.Helper()
	config.Loops = 1
	s := new(stillSystem)
	e, err := newEngine(config, s)
	if err != nil {
		t.Fatal(err)
	}
	return &e.addresses, s
}

type stillSystem struct {
	system
	ms int64
}

func (s *stillSystem) now() int64      { return s.ms * 1_000_000 }
func (s *stillSystem) time() time.Time { return time.UnixMilli(s.ms) }

func TestAddressLimits(t *testing.T) {
	t.Parallel()
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	enter := func(a *addresses, addr netip.Addr, public bool, n int) (entered int, last Reason) {
		for range n {
			why, ok := a.enter(addr, public)
			if ok {
				entered++
			} else {
				last = why
			}
		}
		return entered, last
	}
	for _, tc := range []struct {
		name   string
		config Config
		public bool
		want   int // of 2,000 connections of one address
		why    Reason
		other  int // of 2,000 of another, behind them
	}{
		{"defaults, public", Config{}, true, 100, ReasonAddressRate, 100},
		{"defaults, loopback", Config{}, false, 2000, 0, 2000},
		{"default number", Config{ConnectRatePerAddress: -1}, true, 1000, ReasonAddressLimit, 1000},
		{"none", Config{MaxPerAddress: -1, ConnectRatePerAddress: -1}, true, 2000, 0, 2000},
		{"number", Config{MaxPerAddress: 7}, false, 7, ReasonAddressLimit, 7},
		{"rate", Config{ConnectRatePerAddress: 5}, false, 5, ReasonAddressRate, 5},
		{"rate of all", Config{ConnectRate: 30}, false, 30, ReasonConnectRate, 0},
		{"who is over its own limit takes nothing from others",
			Config{ConnectRate: 30, MaxPerAddress: 10}, false, 10, ReasonAddressLimit, 10},
	} {
		a, _ := testAddresses(t, tc.config)
		if n, why := enter(a, one, tc.public, 2000); n != tc.want || why != tc.why {
			t.Errorf("%s: %d and %v, want %d and %v", tc.name, n, why, tc.want, tc.why)
		}
		if n, _ := enter(a, two, tc.public, 2000); n != tc.other {
			t.Errorf("%s: %d of another address, want %d", tc.name, n, tc.other)
		}
	}
}

// A peer without an address is under the rate of all alone.
func TestAddressUnknown(t *testing.T) {
	t.Parallel()
	a, _ := testAddresses(t, Config{MaxPerAddress: 1, ConnectRatePerAddress: 1, ConnectRate: 3})
	for i := range 5 {
		why, ok := a.enter(netip.Addr{}, false)
		if ok != (i < 3) || !ok && why != ReasonConnectRate {
			t.Errorf("connection %d: %v, %v", i, ok, why)
		}
	}
	if n := a.count(); n != 0 {
		t.Errorf("%d addresses", n)
	}
}

func TestConnectRateRefills(t *testing.T) {
	t.Parallel()
	a, clock := testAddresses(t, Config{ConnectRatePerAddress: 10})
	addr := netip.MustParseAddr("192.0.2.1")
	entered := 0
	for clock.ms = 0; clock.ms < 5000; clock.ms++ {
		if _, ok := a.enter(addr, false); ok {
			entered++
		}
	}
	if entered < 58 || entered > 60 { // ten at once, and ten a second
		t.Errorf("%d connections in 5 s at 10/s, want 60", entered)
	}
}

// Somebody with a /32 of IPv6 takes no more memory than there is for it, and nothing is left of him.
func TestAddressesBounded(t *testing.T) {
	t.Parallel()
	a, clock := testAddresses(t, Config{MaxPerAddress: 10, ConnectRatePerAddress: 10})
	for i := range 4 * maxRecent {
		addr := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
		if why, ok := a.enter(addr, true); !ok {
			t.Fatal(why)
		}
		a.leave(keyOf(addr))
		if n := a.recent.Len(); n > 2*maxRecent {
			t.Fatalf("%d addresses are known", n)
		}
	}
	if n := a.engine.Stats().Accounts[KindAddresses]; n != int64(a.recent.Len())*addressCost {
		t.Errorf("%d bytes are counted for %d addresses", n, a.recent.Len())
	}
	last := netip.MustParseAddr("192.0.2.1")
	for clock.ms = 3000; clock.ms < 10_000; clock.ms += 3000 {
		_, _ = a.enter(last, true)
		a.leave(keyOf(last))
	}
	if n := a.engine.Stats().Accounts[KindAddresses]; n > 2*addressCost {
		t.Errorf("%d bytes are left", n)
	}
}

// What is known of addresses goes by itself when nobody connects any more: the first loop comes by, and
// sleeps once there is nothing left.
func TestAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	a, clock := testAddresses(t, Config{ConnectRatePerAddress: 10})
	l := a.engine.loops[0]
	for i := range 1000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if why, ok := a.enter(addr, false); !ok {
			t.Fatal(why)
		}
		a.leave(keyOf(addr))
	}
	account := func() int64 { return a.engine.Stats().Accounts[KindAddresses] }
	if n := account(); n != 1000*addressCost || !l.mailbox.tick {
		t.Fatalf("%d bytes for 1000 addresses; the loop is told: %v", n, l.mailbox.tick)
	}
	l.mailbox.tick = false
	visits := 0
	for l.tickAt = 1; l.tickAt > 0 && visits < 10; visits++ {
		clock.ms = l.tickAt
		l.tick()
		l.tickAt = 0 // as a tick does it
		l.sweep()
	}
	if n := account(); n != 0 || clock.ms > 3000 {
		t.Errorf("%d bytes after %d ms and %d visits", n, clock.ms, visits)
	}
	_, _ = a.enter(netip.MustParseAddr("192.0.2.1"), false)
	if !l.mailbox.tick {
		t.Error("the loop is not told of the next one")
	}
}

// However a connection ends, its address is free again.
func TestAddressIsLeft(t *testing.T) {
	plainOnly(t)
	for name, end := range map[string]func(*testing.T, *Engine, *lineClient){
		"closed by the peer": func(_ *testing.T, _ *Engine, c *lineClient) { c.Close() },
		"reset by the peer": func(_ *testing.T, _ *Engine, c *lineClient) {
			_ = c.tcp().SetLinger(0)
			c.Close()
		},
		"aborted": func(_ *testing.T, _ *Engine, c *lineClient) { c.send("PANIC") },
		"closed here": func(_ *testing.T, e *Engine, c *lineClient) {
			e.CloseAll(ReasonServerError)
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		},
		"half-closed with input held, then reset": func(t *testing.T, e *Engine, c *lineClient) {
			c.send("HOLD")
			_ = c.tcp().CloseWrite()
			time.Sleep(10 * time.Millisecond)
			_ = c.tcp().SetLinger(0)
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, addr := startLine(t, Config{Loops: 1, MaxPerAddress: 1, Linger: 100 * time.Millisecond}, ListenConfig{})
			c := dialLine(t, addr)
			c.send("ECHO here")
			c.expect("here")
			if n := e.Stats().Addresses; n != 1 {
				t.Fatalf("%d addresses", n)
			}
			over := dialLine(t, addr)
			over.expectOver()
			if n := e.Stats().Refused[ReasonAddressLimit]; n != 1 {
				t.Errorf("%d refused", n)
			}
			end(t, e, c)
			for begun := time.Now(); e.Connections() > 0; time.Sleep(time.Millisecond) {
				if time.Since(begun) > 10*time.Second {
					t.Fatal("the connection does not end")
				}
			}
			if n := e.Stats().Addresses; n != 0 {
				t.Errorf("%d addresses are left", n)
			}
			again := dialLine(t, addr)
			again.send("ECHO again")
			again.expect("again")
		})
	}
}

// Other addresses are served while one has its share, and a smaller limit holds for those that come.
func TestAddressShare(t *testing.T) {
	plainOnly(t)
	t.Parallel()
	e, addr := startLine(t, Config{Loops: 1}, ListenConfig{})
	from := func(host string) *lineClient {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
		conn, err := d.Dial("tcp", addr)
		if err != nil {
			t.Skip("no address ", host, " here: ", err)
		}
		t.Cleanup(func() { conn.Close() })
		return &lineClient{t, conn, bufio.NewReader(conn)}
	}
	for i := range 5 {
		c := from("127.0.0.2")
		c.send(fmt.Sprint("ECHO ", i))
		c.expect(fmt.Sprint(i))
	}
	n := e.Limits()
	n.MaxPerAddress = 3
	e.SetLimits(n)
	from("127.0.0.2").expectOver()
	c := from("127.0.0.3")
	c.send("ECHO other")
	c.expect("other")
	if s := e.Stats(); s.Addresses != 2 || s.Connections != 6 {
		t.Errorf("%d addresses, %d connections", s.Addresses, s.Connections)
	}
}
