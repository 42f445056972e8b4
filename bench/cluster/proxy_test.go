package clustertest

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy is a line to a NATS server that can be made to stand still, to be slow, or be cut.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	stalled bool
	delay   time.Duration // of each byte
	rate    float64       // bytes a second that pass in each direction of each connection; 0: all
	loses   []byte        // the next request of a subject that begins with it does not arrive
	conns   map[net.Conn]bool
	closed  bool
}

func startProxy(t *testing.T, port int) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: ln, target: fmt.Sprintf("127.0.0.1:%d", port), conns: make(map[net.Conn]bool)}
	go p.accept()
	t.Cleanup(func() {
		ln.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.cut()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

// stall has no byte pass in either direction, or lets them flow again.
func (p *proxy) stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
}

// slow has each byte take as long, and so many pass in a second at most; 0 has all pass at once.
func (p *proxy) slow(delay time.Duration, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.rate = delay, rate
}

// lose has the next request of a subject that begins with the API's prefix vanish: the server does not
// know it by then.
func (p *proxy) lose(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = []byte(prefix)
}

// lost reports whether what lose has asked for has happened.
func (p *proxy) lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.loses == nil
}

func (p *proxy) pass(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.loses == nil {
		return
	}
	if i := bytes.Index(b, p.loses); i >= 0 {
		b[i+len(p.loses)-1] = 'x'
		p.loses = nil
	}
}

// takes returns how long n bytes keep the line, and how long each is under way.
func (p *proxy) takes(n int) (busy, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rate > 0 {
		busy = time.Duration(float64(n) / p.rate * float64(time.Second))
	}
	return busy, p.delay
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		d, err := net.Dial("tcp", p.target)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[d] = true, true
		p.mu.Unlock()
		go p.copy(c, d)
		go p.copy(d, c)
	}
}

// A parcel is bytes that have to be at the other end at a time.
type parcel struct {
	b  []byte
	at time.Time
}

func (p *proxy) copy(from, to net.Conn) {
	line := make(chan parcel, 64) // what is under way
	go p.deliver(line, to)
	defer func() {
		close(line)
		from.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	for free := time.Now(); ; { // when the line is
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		if err != nil || !p.flows() {
			return
		}
		p.pass(b[:n])
		busy, delay := p.takes(n)
		if now := time.Now(); free.Before(now) {
			free = now
		}
		free = free.Add(busy)
		line <- parcel{b[:n], free.Add(delay)}
	}
}

func (p *proxy) deliver(line <-chan parcel, to net.Conn) {
	defer to.Close()
	for parcel := range line {
		time.Sleep(time.Until(parcel.at))
		if _, err := to.Write(parcel.b); err != nil {
			to.Close()
			for range line { // the other end is told so
			}
			return
		}
	}
}

// flows waits until the line does. It reports false when the proxy ends.
func (p *proxy) flows() bool {
	for {
		p.mu.Lock()
		stalled, closed := p.stalled, p.closed
		p.mu.Unlock()
		if closed || !stalled {
			return !closed
		}
		time.Sleep(5 * time.Millisecond)
	}
}
