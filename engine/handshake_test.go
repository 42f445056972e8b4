package engine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// splitter writes its stream in two parts, cut at a byte, and lets the peer see the first alone.
type splitter struct {
	net.Conn
	at int
}

func (s *splitter) Write(p []byte) (int, error) {
	if s.at <= 0 || s.at >= len(p) {
		s.at -= len(p)
		return s.Conn.Write(p)
	}
	n, err := s.Conn.Write(p[:s.at])
	if err != nil {
		return n, err
	}
	time.Sleep(200 * time.Microsecond)
	m, err := s.Conn.Write(p[s.at:])
	s.at = 0
	return n + m, err
}

// A handshake may be cut anywhere.
func TestTLSHandshakeSplits(t *testing.T) {
	tlsVersions(t, func(t *testing.T, version uint16) {
		_, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
		step := handshakeSplits
		if testing.Short() {
			step = 23
		}
		var group sync.WaitGroup
		places := make(chan int)
		for range 8 {
			group.Go(func() {
				for at := range places {
					raw, err := net.Dial("tcp", addr)
					if err != nil {
						t.Error(err)
						return
					}
					c := tls.Client(&splitter{raw, at}, clientTLS(version))
					_ = raw.SetDeadline(time.Now().Add(patience))
					answer := make([]byte, 2)
					if _, err := io.WriteString(c, "ECHO x\n"); err != nil {
						t.Errorf("cut at %d: %v", at, err)
					} else if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "x\n" {
						t.Errorf("cut at %d: %q, %v", at, answer, err)
					}
					c.Close()
				}
			})
		}
		for at := 1; at < 2000; at += step {
			places <- at
		}
		close(places)
		group.Wait()
	})
}

// cutter closes its socket with a reset when so many bytes are written, or with a FIN.
type cutter struct {
	*net.TCPConn
	left  int
	reset bool
}

var errCut = errors.New("cut")

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.TCPConn.Write(p)
	}
	n, _ := c.TCPConn.Write(p[:c.left])
	if c.reset {
		_ = c.SetLinger(0)
	}
	c.Close()
	return n, errCut
}

// Connections that go away in any state leave nothing behind.
func TestTLSHandshakesThatEnd(t *testing.T) {
	before := runtime.NumGoroutine()
	e, addr := startLine(t, Config{}, ListenConfig{TLS: serverTLS()})
	n := uint64(0)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for at := 1; at < 1800; at += 37 {
			for _, reset := range []bool{false, true} {
				raw, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				n++
				c := tls.Client(&cutter{raw.(*net.TCPConn), at, reset}, clientTLS(version))
				_ = raw.SetDeadline(time.Now().Add(patience))
				for err == nil { // until the cut
					_, err = c.Write([]byte("ECHO a long line to have more than one record of the session\n"))
				}
				raw.Close()
			}
		}
	}
	waitFor(t, "their ends", func() bool {
		s := e.Stats()
		return s.Accepted == n && s.Connections == 0 && s.Handshakes.Running == 0 && s.Total == 0
	})
	waitFor(t, "their goroutines", func() bool { return runtime.NumGoroutine() < before+80 }) // the engine's own
	c := dialTLS(t, addr, clientTLS(0))
	c.send("ECHO alive")
	c.expect("alive")
}

// Handshakes that are begun and left cost nobody else more than their memory, and go at the deadline.
func TestTLSHandshakesLeft(t *testing.T) {
	left := handshakesLeft
	if testing.Short() {
		left /= 5
	}
	e, addr := startLine(t, Config{HandshakeTimeout: 3 * time.Second, MaxHandshakes: 8 * left}, ListenConfig{TLS: serverTLS()})
	hello := helloBytes(t, clientTLS(tls.VersionTLS13))
	begun := time.Now()
	for i := range left {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		switch i % 4 {
		case 0: // nothing
		case 1:
			_, err = raw.Write(hello[:len(hello)/2])
		default:
			_, err = raw.Write(hello)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	took := make([]time.Duration, 20)
	for i := range took {
		begun := time.Now()
		c := dialTLS(t, addr, clientTLS(0))
		c.send("ECHO %d", i)
		c.expect(fmt.Sprint(i))
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 2500*time.Millisecond { // the others wait for 3 s
		t.Errorf("honest clients took %v", took)
	}
	waitFor(t, "the deadline", func() bool { return e.Stats().Closed[ReasonTLSTimeout] == uint64(left) })
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("they were closed after %v", took)
	}
	// What computes for one of them at its end gives its memory back when it is through.
	waitFor(t, "what they took", func() bool {
		s := e.Stats()
		return s.Accounts[KindHandshakes] == 0 && s.Handshakes.Running == 0
	})
	if s := e.Stats(); s.Handshakes.TimedOut != uint64(left) {
		t.Errorf("%+v", s.Handshakes)
	}
}

// One address has a quarter of the handshakes; what waits costs no goroutine, and begins when there is
// room, in order.
func TestTLSHandshakesWait(t *testing.T) {
	e, addr := startLine(t, Config{Loops: 1, HandshakeTimeout: time.Minute, MaxHandshakes: 8}, ListenConfig{TLS: serverTLS()})
	hello := helloBytes(t, clientTLS(tls.VersionTLS13))
	var conns []net.Conn
	begin := func(from string) {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		raw, err := d.Dial("tcp", addr)
		if err != nil {
			t.Skip(err) // a system with one loopback address
		}
		t.Cleanup(func() { raw.Close() })
		if _, err := raw.Write(hello); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, raw)
	}
	now := func(running, waiting int) func() bool {
		return func() bool {
			h := e.Stats().Handshakes
			return h.Running == running && h.Waiting == waiting
		}
	}
	for range 5 {
		begin("127.0.0.2")
	}
	waitFor(t, "the share of one", now(2, 3))
	before := runtime.NumGoroutine()
	for range 20 {
		begin("127.0.0.2")
	}
	waitFor(t, "more that wait", now(2, 23))
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more for 20 that wait", n-before)
	}
	c := dialTLS(t, addr, clientTLS(0)) // from 127.0.0.1
	c.send("ECHO x")
	c.expect("x")
	for i := range 4 {
		begin(fmt.Sprintf("127.0.0.%d", 3+i))
		begin(fmt.Sprintf("127.0.0.%d", 3+i))
	}
	waitFor(t, "the bound of all", now(8, 25))
	conns[2].Close() // it waits
	waitFor(t, "one that waited to go", now(8, 24))
	conns[0].Close() // it is under way
	waitFor(t, "the next to begin", now(8, 23))
	n := e.Limits()
	n.MaxHandshakes = 40
	e.SetLimits(n)
	waitFor(t, "a larger limit", now(18, 13))
	for _, c := range conns {
		c.Close()
	}
	waitFor(t, "the end of all", now(0, 0))
}

// Functions of a tls.Config that panic, end their goroutine or take their time cost one handshake, and
// nobody else waits for them.
func TestTLSForeignFunctions(t *testing.T) {
	block := make(chan struct{})
	config := serverTLS()
	pair := testCertificate()
	config.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		switch name, _, _ := strings.Cut(h.ServerName, "."); name {
		case "panic":
			panic("asked to")
		case "goexit":
			runtime.Goexit()
		case "error":
			return nil, errors.New("asked to")
		case "block":
			<-block
		}
		if h.Conn.RemoteAddr().(*net.TCPAddr).IP.String() != "127.0.0.1" {
			return nil, errors.New("no address")
		}
		return &pair, nil
	}
	e, addr := startLine(t, Config{}, ListenConfig{TLS: config})
	dial := func(name string) error {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		_ = raw.SetDeadline(time.Now().Add(patience))
		c := clientTLS(0)
		c.ServerName, c.InsecureSkipVerify = name, true
		return tls.Client(raw, c).Handshake()
	}
	blocked := make(chan error, 8)
	for range cap(blocked) { // more than may compute at once
		go func() { blocked <- dial("block.example") }()
	}
	waitFor(t, "the blocked ones", func() bool { return e.Stats().Handshakes.Running == cap(blocked) })
	for _, name := range []string{"panic.example", "goexit.example", "error.example"} {
		if dial(name) == nil {
			t.Errorf("%s was served", name)
		}
	}
	if err := dial("localhost"); err != nil {
		t.Error(err)
	}
	close(block)
	for range cap(blocked) {
		if err := <-blocked; err != nil {
			t.Error(err)
		}
	}
	if s := e.Stats(); s.Panics != 1 || s.Handshakes.Failed != 3 {
		t.Errorf("%d panics, %+v", s.Panics, s.Handshakes)
	}
}

// An engine that stops under handshakes leaves nothing of them.
func TestTLSStopDuringHandshakes(t *testing.T) {
	e, addr := plainEngine(t, Config{})
	ln, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []Protocol{lineProtocol{}}, TLS: serverTLS()})
	if err != nil {
		t.Fatal(err)
	}
	_ = addr
	hello := helloBytes(t, clientTLS(tls.VersionTLS13))
	for range 50 {
		raw, err := net.Dial("tcp", ln.String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if _, err := raw.Write(hello); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "handshakes", func() bool { return e.Stats().Handshakes.Running == 50 })
	_ = stopWithin(e, patience)
	if s := e.Stats(); s.Handshakes.Running != 0 || s.Total != 0 {
		t.Errorf("%+v, %d bytes", s.Handshakes, s.Total)
	}
}
