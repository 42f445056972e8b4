package interop

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// latency is what lies between the vendor's client and the gateway at least: the client sends a
// request before it prepares for the response, which it throws away when it comes too soon. So long
// the system may leave one of its threads waiting for a core.
const latency = 25 * time.Millisecond

// A line is what lies between a client and the gateway.
type line struct {
	ln net.Listener

	mu     sync.Mutex
	target string // empty: nobody gets through
	lost   int    // so many calls to come never hear a word from the gateway
	calls  map[*call]bool
}

type call struct {
	client, server net.Conn
	up, down       gate
}

// A gate lets bytes through or keeps them until it is opened.
type gate struct {
	mu   sync.Mutex
	cond *sync.Cond
	shut bool
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	g.shut = shut
	g.mu.Unlock()
	g.cond.Broadcast()
}

func (g *gate) pass() {
	g.mu.Lock()
	for g.shut {
		g.cond.Wait()
	}
	g.mu.Unlock()
}

func newLine(tb testing.TB, target string) *line {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	l := &line{ln: ln, target: target, calls: make(map[*call]bool)}
	go l.serve()
	tb.Cleanup(func() {
		ln.Close()
		l.cut()
	})
	return l
}

func (l *line) addr() string { return l.ln.Addr().String() }

func (l *line) serve() {
	for {
		client, err := l.ln.Accept()
		if err != nil {
			return
		}
		go l.connect(client)
	}
}

func (l *line) connect(client net.Conn) {
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		client.Close()
		return
	}
	c := &call{client: client, server: server}
	c.up.cond, c.down.cond = sync.NewCond(&c.up.mu), sync.NewCond(&c.down.mu)
	l.mu.Lock()
	l.calls[c] = true
	if l.lost > 0 {
		l.lost--
		c.down.shut = true
	}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { carry(server, client, &c.up, 0) })
	both.Go(func() { carry(client, server, &c.down, latency) })
	both.Wait()
	c.hangUp()
	l.mu.Lock()
	delete(l.calls, c)
	l.mu.Unlock()
}

// carry copies until the end of the stream, which it passes on. Bytes and an end that come together
// go on together, in one segment.
func carry(dst, src net.Conn, g *gate, delay time.Duration) {
	b := make([]byte, 64<<10)
	for {
		g.pass()
		n, err := src.Read(b)
		time.Sleep(delay)
		g.pass()
		if err == nil && delay > 0 && n < len(b) {
			_ = src.SetReadDeadline(time.Now().Add(time.Millisecond))
			var more int
			if more, err = src.Read(b[n:]); errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
			n += more
			_ = src.SetReadDeadline(time.Time{})
		}
		if n > 0 {
			if err == io.EOF {
				cork(dst)
			}
			if _, werr := dst.Write(b[:n]); werr != nil {
				return
			}
		}
		if err == io.EOF {
			_ = dst.(*net.TCPConn).CloseWrite()
			return
		}
		if err != nil {
			_ = dst.Close()
			return
		}
	}
}

// cork keeps what is written until the end of the stream.
func cork(conn net.Conn) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) })
}

func (c *call) hangUp() {
	_ = c.client.Close()
	_ = c.server.Close()
	c.up.set(false)
	c.down.set(false)
}

// route has calls go to another target from now on; empty: nowhere.
func (l *line) route(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

// each calls f for each call there is.
func (l *line) each(f func(*call)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		f(c)
	}
}

// cut resets all calls on both sides.
func (l *line) cut() {
	l.each(func(c *call) {
		_ = c.client.(*net.TCPConn).SetLinger(0)
		_ = c.server.(*net.TCPConn).SetLinger(0)
		c.hangUp()
	})
}

// lose keeps from the next n calls all that the gateway says.
func (l *line) lose(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = n
}

// inject says something to the gateway in the clients' name.
func (l *line) inject(b []byte) {
	l.each(func(c *call) { _, _ = c.server.Write(b) })
}

// mute keeps from the gateway what clients say.
func (l *line) mute() { l.each(func(c *call) { c.up.set(true) }) }

// deafen keeps from the clients what the gateway says, until undeafen.
func (l *line) deafen()   { l.each(func(c *call) { c.down.set(true) }) }
func (l *line) undeafen() { l.each(func(c *call) { c.down.set(false) }) }
