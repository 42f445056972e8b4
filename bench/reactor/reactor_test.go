package reactor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// A collector keeps all it is told.
type collector struct {
	loop      *Loop
	take      int // bytes consumed at a time; 0: all
	got       []byte
	connected chan error
	closed    chan error
	drained   atomic.Int32
	ticks     atomic.Int32
	deadline  int64
	refuse    error // of Readable
}

func (c *collector) Connected(_ *Socket, err error) { c.connected <- err }
func (c *collector) Drained(*Socket)                { c.drained.Add(1) }
func (c *collector) Closed(_ *Socket, err error)    { c.closed <- err }
func (c *collector) Readable(s *Socket, b []byte, now int64) (int, error) {
	n := len(b)
	if c.take > 0 {
		n = len(b) / c.take * c.take
	}
	c.got = append(c.got, b[:n]...)
	return n, c.refuse
}

func (c *collector) Tick(now int64) int64 {
	c.ticks.Add(1)
	if c.deadline > now {
		return c.deadline
	}
	return now + int64(time.Hour)
}

func start(t *testing.T) *collector {
	c := &collector{connected: make(chan error, 10), closed: make(chan error, 10)}
	l, err := NewLoop(c)
	if err != nil {
		t.Fatal(err)
	}
	c.loop = l
	done := make(chan error)
	go func() { done <- l.Run() }()
	t.Cleanup(func() {
		l.Post(l.Stop)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if l.Post(func() {}) {
			t.Error("posted to a loop that has ended")
		}
	})
	return c
}

func listen(t *testing.T) (*net.TCPListener, netip.AddrPort) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

// pair is a socket of c's loop and its peer.
func pair(t *testing.T, c *collector, local netip.Addr) (*Socket, *net.TCPConn) {
	l, addr := listen(t)
	var s *Socket
	c.loop.Call(func() { s = c.loop.Dial(addr, local, 42) })
	peer, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if err := <-c.connected; err != nil {
		t.Fatal(err)
	}
	return s, peer
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 2000 {
		if f() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("waited 2 s for %s", what)
}

func TestSendAndReceive(t *testing.T) {
	c := start(t)
	c.take = 7 // the rest stays behind and comes again
	s, peer := pair(t, c, netip.MustParseAddr("127.0.0.9"))
	if got := peer.RemoteAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.9" {
		t.Errorf("dialled from %s", got)
	}
	if s.Data != 42 {
		t.Errorf("data %d", s.Data)
	}
	c.loop.Call(func() { s.Send([]byte("hello ")); s.Extend(func(b []byte) []byte { return append(b, "there"...) }) })
	b := make([]byte, 11)
	if _, err := io.ReadFull(peer, b); err != nil || string(b) != "hello there" {
		t.Fatalf("%q %v", b, err)
	}
	want := bytes.Repeat([]byte("0123456789"), 70_000) // more than two reads
	go peer.Write(want)
	eventually(t, "all bytes", func() bool {
		n := 0
		c.loop.Call(func() { n = len(c.got) })
		return n == len(want)
	})
	c.loop.Call(func() {
		if !bytes.Equal(c.got, want) {
			t.Error("other bytes than sent")
		}
	})
}

func TestBigLeftovers(t *testing.T) {
	c := start(t)
	c.take = 1 << 20 // a packet four times the buffer
	_, peer := pair(t, c, netip.Addr{})
	want := bytes.Repeat([]byte("x"), 1<<20)
	go peer.Write(want)
	eventually(t, "the packet", func() bool {
		n := 0
		c.loop.Call(func() { n = len(c.got) })
		return n == len(want)
	})
}

func TestBackpressure(t *testing.T) {
	c := start(t)
	s, peer := pair(t, c, netip.Addr{})
	const size = 16 << 20 // more than socket buffers hold
	queued := 0
	c.loop.Call(func() {
		s.Send(make([]byte, size))
		s.Flush()
		queued = s.Queued()
	})
	if queued == 0 {
		t.Fatal("the kernel took 16 MiB at once")
	}
	if n, err := io.CopyN(io.Discard, peer, size); n != size || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "Drained", func() bool { return c.drained.Load() == 1 })
}

func TestEnds(t *testing.T) {
	t.Run("the peer closes", func(t *testing.T) {
		c := start(t)
		_, peer := pair(t, c, netip.Addr{})
		peer.Close()
		if err := <-c.closed; err != io.EOF {
			t.Errorf("%v", err)
		}
	})
	t.Run("the peer resets", func(t *testing.T) {
		c := start(t)
		_, peer := pair(t, c, netip.Addr{})
		peer.SetLinger(0)
		peer.Close()
		if err := <-c.closed; err == nil || err == io.EOF {
			t.Errorf("%v", err)
		}
	})
	t.Run("the handler refuses", func(t *testing.T) {
		c := start(t)
		c.refuse = errors.New("no")
		_, peer := pair(t, c, netip.Addr{})
		peer.Write([]byte("x"))
		if err := <-c.closed; err != c.refuse {
			t.Errorf("%v", err)
		}
	})
	t.Run("we close, and the slot is used again", func(t *testing.T) {
		c := start(t)
		s, peer := pair(t, c, netip.Addr{})
		c.loop.Call(func() {
			s.Send([]byte("bye"))
			s.Flush()
			s.Close()
			if s.Open() {
				t.Error("open")
			}
			s.Send([]byte("more")) // into nothing
		})
		if b, err := io.ReadAll(peer); string(b) != "bye" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		again, _ := pair(t, c, netip.Addr{})
		if again != s {
			t.Error("another slot")
		}
		c.loop.Call(func() { again.Reset() })
		if len(c.closed) != 0 {
			t.Error("Closed for what we closed")
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		c := start(t)
		l, addr := listen(t)
		l.Close()
		c.loop.Call(func() { c.loop.Dial(addr, netip.Addr{}, 1) })
		if err := <-c.connected; err == nil {
			t.Error("connected")
		}
	})
	t.Run("an address that is not ours", func(t *testing.T) {
		c := start(t)
		_, addr := listen(t)
		c.loop.Call(func() { c.loop.Dial(addr, netip.MustParseAddr("192.0.2.1"), 1) })
		if err := <-c.connected; err == nil {
			t.Error("connected")
		}
	})
}

func TestTicksWhenAsked(t *testing.T) {
	c := start(t)
	begin := time.Now()
	before := c.ticks.Load()
	c.loop.Call(func() { c.deadline = Now() + int64(30*time.Millisecond) })
	eventually(t, "the tick", func() bool { return c.ticks.Load() >= before+2 })
	if d := time.Since(begin); d < 20*time.Millisecond || d > 20*time.Second {
		t.Errorf("ticked after %v", d)
	}
	if c.loop.Waited() <= 0 {
		t.Error("never slept")
	}
}

func TestExchangeAllocates0(t *testing.T) {
	c := start(t)
	s, peer := pair(t, c, netip.Addr{})
	message, echo := make([]byte, 100), make([]byte, 100)
	exchange := func() {
		for range 100 {
			c.got = c.got[:0]
			s.Send(message)
			s.Flush()
			io.ReadFull(peer, echo)
			peer.Write(echo)
			for len(c.got) < len(message) {
				c.loop.read(s)
			}
		}
	}
	var n float64
	c.loop.Call(func() {
		exchange()
		n = testing.AllocsPerRun(5, exchange)
	})
	if n > 1 {
		t.Errorf("%v allocations for 100 messages there and back", n)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(nil) // for its certificate
	server.StartTLS()
	pair := server.TLS.Certificates[0]
	server.Close()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: version})
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			c.Close()
		}()
		c := start(t)
		text := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		var s *Socket
		c.loop.Call(func() {
			s = c.loop.DialTLS(netip.MustParseAddrPort(ln.Addr().String()), netip.Addr{}, 0, &tls.Config{InsecureSkipVerify: true})
		})
		if err := <-c.connected; err != nil {
			t.Fatal(err)
		}
		c.loop.Call(func() { s.Send(text) })
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			var n int
			c.loop.Call(func() { n = len(c.got) })
			if n == len(text) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes of %d came back", n, len(text))
			}
		}
		c.loop.Call(func() {
			if !bytes.Equal(c.got, text) {
				t.Error("other bytes came back")
			}
			s.Close()
		})
	}
}

func TestTLSRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		c, err := ln.Accept()
		if err == nil {
			_, _ = c.Write([]byte("this is no TLS\n"))
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	c := start(t)
	c.loop.Call(func() {
		c.loop.DialTLS(netip.MustParseAddrPort(ln.Addr().String()), netip.Addr{}, 0, &tls.Config{InsecureSkipVerify: true})
	})
	if err := <-c.connected; err == nil {
		t.Error("no error")
	}
}
