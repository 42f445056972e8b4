//go:build !race

package engine

import (
	"net/netip"
	"runtime"
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"
)

// packetProtocol has packets of packetSize bytes, whose first byte says what to do. Its handler
// allocates nothing, so what a test counts is the engine's.
type packetProtocol struct{}

const packetSize = 16

func (packetProtocol) Name() string       { return "packet" }
func (packetProtocol) Sniff([]byte) Match { return Matched }

func (packetProtocol) Open(c *Conn) Handler {
	c.SetDialect(0)
	c.SetDeadline(0)
	return &packetHandler{}
}

type packetHandler struct{ lineHandler }

var packetTopic = []byte("t")

func (*packetHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	for c.Open() && !c.OutputFull() {
		if len(b)-n < packetSize {
			return n, packetSize
		}
		p := b[n : n+packetSize]
		n += packetSize
		switch p[0] {
		case 'E':
			c.Write(p)
		case 'B': // into the connection's own buffer
			c.Commit(append(c.Buffer(packetSize), p...), 1)
		case 'P':
			c.Publish(packetTopic, Push{Payload: p})
		case 'D':
			c.Deliver(Push{Payload: p})
		case 'S':
			c.Subscribe(packetTopic)
			c.Write(p)
		case 'T':
			c.SetDeadline(90e9)
			c.Write(p)
		}
	}
	return n, 0
}

var packetDialect = Dialect{Name: "packet", Append: func(dst []byte, p Push) ([]byte, error) {
	return append(dst, p.Payload...), nil
}}

// rawClient is a blocking socket used through system calls alone: it allocates nothing, which
// net.Conn does not promise.
type rawClient struct {
	t   testing.TB
	fd  int
	buf []byte
}

func startPackets(t testing.TB, loops int) (*Engine, func() *rawClient) {
	e, err := New(Config{Loops: loops, Dialects: []Dialect{packetDialect}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	addr, err := e.Listen(ListenConfig{Network: "tcp4", Address: "127.0.0.1:0", Protocols: []Protocol{packetProtocol{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Stop(t.Context()) })
	port := netip.MustParseAddrPort(addr.String()).Port()
	return e, func() *rawClient {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
		return &rawClient{t, fd, make([]byte, 64<<10)}
	}
}

// dialAll makes n clients, each of which has had one packet of a kind answered.
func dialAll(dial func() *rawClient, n int, kind byte) []*rawClient {
	all := make([]*rawClient, n)
	for i := range all {
		all[i] = dial()
		all[i].send(packet(kind))
		all[i].receive(packetSize)
	}
	return all
}

func (c *rawClient) send(p []byte) {
	for len(p) > 0 {
		n, err := unix.Write(c.fd, p)
		if err != nil {
			c.t.Fatal(err)
		}
		p = p[n:]
	}
}

// receive reads n bytes.
func (c *rawClient) receive(n int) {
	for n > 0 {
		got, err := unix.Read(c.fd, c.buf[:min(n, len(c.buf))])
		if err == unix.EINTR {
			continue
		}
		if err != nil || got == 0 {
			c.t.Fatalf("read %d, %v, with %d bytes to come", got, err, n)
		}
		n -= got
	}
}

func packet(kind byte) []byte {
	p := make([]byte, packetSize)
	p[0] = kind
	return p
}

// mallocs counts what the whole process allocates while f runs.
func mallocs(f func()) float64 {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // pools keep what they have
	var before, after runtime.MemStats
	f() // pools and tables get their sizes
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs - before.Mallocs)
}

func TestEchoAllocatesNothing(t *testing.T) {
	for _, tc := range []struct {
		name string
		kind byte
	}{
		{"Write", 'E'},
		{"Buffer and Commit", 'B'},
		{"Deliver", 'D'},
		{"Write and SetDeadline", 'T'},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const n = 5000
			_, dial := startPackets(t, 2)
			c, p := dial(), packet(tc.kind)
			got := mallocs(func() {
				for range n {
					c.send(p)
					c.receive(packetSize)
				}
			}) / n
			if got >= 0.05 {
				t.Errorf("%.3f allocations per echo", got)
			}
			t.Logf("%.4f allocations per echo", got)
		})
	}
}

// Packets that come together, and with parts of others.
func TestPipelinedEchoAllocatesNothing(t *testing.T) {
	const n, batch = 500, 100
	_, dial := startPackets(t, 1)
	c := dial()
	var stream []byte
	for range batch {
		stream = append(stream, packet('E')...)
	}
	got := mallocs(func() {
		for range n {
			c.send(stream[:len(stream)-5])
			c.send(stream[len(stream)-5:])
			c.receive(len(stream))
		}
	}) / (n * batch)
	if got >= 0.05 {
		t.Errorf("%.3f allocations per packet", got)
	}
	t.Logf("%.4f allocations per packet", got)
}

func TestFanOutAllocatesNothing(t *testing.T) {
	for _, tc := range []struct {
		name          string
		loops, batch  int
		rounds        int
		maxPerMessage float64 // a wake-up of another loop costs two
	}{
		{"one loop, one at a time", 1, 1, 1000, 0.5},
		{"two loops, one at a time", 2, 1, 1000, 2.5},
		{"two loops, hundred together", 2, 100, 100, 0.5},
		{"two loops, thousands together", 2, 3000, 10, 0.5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const subscribers = 50
			_, dial := startPackets(t, tc.loops)
			subs := dialAll(dial, subscribers, 'S')
			pub := dial()
			var stream []byte
			for range tc.batch {
				stream = append(stream, packet('P')...)
			}
			got := mallocs(func() {
				for range tc.rounds {
					pub.send(stream)
					for _, s := range subs {
						s.receive(len(stream))
					}
				}
			})
			messages := float64(tc.rounds * tc.batch)
			if got/messages/subscribers >= 0.05 || got/messages >= tc.maxPerMessage {
				t.Errorf("%.3f allocations per delivery, %.2f per message", got/messages/subscribers, got/messages)
			}
			t.Logf("%.5f allocations per delivery, %.3f per message", got/messages/subscribers, got/messages)
		})
	}
}

// A message to everybody and one to a list, from outside the loops. To wake up a loop costs two
// allocations, and there are two loops.
func TestCastAllocatesNothing(t *testing.T) {
	const clients, rounds = 50, 1000
	e, dial := startPackets(t, 2)
	conns := dialAll(dial, clients, 'E')
	pb := e.NewPublisher()
	refs := make(chan Ref, clients)
	if err := pb.DoEach(func(l *Loop) { l.Each(func(c *Conn) { refs <- c.Ref() }) }); err != nil {
		t.Fatal(err)
	}
	var list []Ref
	for range clients {
		list = append(list, <-refs)
	}
	p := Push{Payload: packet('x')}
	for _, tc := range []struct {
		name string
		cast func() error
	}{
		{"Broadcast", func() error { return pb.Broadcast(p) }},
		{"Multicast", func() error { return pb.Multicast(list, p) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := mallocs(func() {
				for range rounds {
					if err := tc.cast(); err != nil {
						t.Fatal(err)
					}
					pb.Flush()
					for _, c := range conns {
						c.receive(packetSize)
					}
				}
			}) / rounds
			if got >= 4.5 {
				t.Errorf("%.2f allocations per message, %.3f per delivery", got, got/clients)
			}
			t.Logf("%.3f allocations per message", got)
		})
	}
}

// TestRemoteAllocatesNothing: what goes elsewhere costs no allocation of the engine's.
func TestRemoteAllocatesNothing(t *testing.T) {
	r := &quietRemote{fakeRemote: newFakeRemote(), reaches: true}
	e, err := New(Config{Loops: 2, Remote: r})
	if err != nil {
		t.Fatal(err)
	}
	pb, name, p := e.NewPublisher(), []byte("t"), Push{Route: "r", Payload: make([]byte, 100)}
	if n := testing.AllocsPerRun(1000, func() {
		for range 3 {
			_ = pb.Publish(name, p)
		}
		pb.Flush()
	}); n != 0 {
		t.Errorf("%v allocations for three messages", n)
	}
}

func BenchmarkEcho(b *testing.B) {
	_, dial := startPackets(b, 1)
	c, p := dial(), packet('E')
	b.SetBytes(packetSize)
	b.ReportAllocs()
	for b.Loop() {
		c.send(p)
		c.receive(packetSize)
	}
}

func BenchmarkFanOut(b *testing.B) {
	const subscribers, batch = 50, 100
	_, dial := startPackets(b, 2)
	subs := dialAll(dial, subscribers, 'S')
	pub := dial()
	var stream []byte
	for range batch {
		stream = append(stream, packet('P')...)
	}
	b.SetBytes(subscribers * batch * packetSize)
	b.ReportAllocs()
	for b.Loop() {
		pub.send(stream)
		for _, s := range subs {
			s.receive(len(stream))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(subscribers*batch), "ns/delivery")
}
