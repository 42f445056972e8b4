package clustertest

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy is a line to a NATS server that can be made to stand still, or be cut.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	stalled bool
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

func (p *proxy) copy(from, to net.Conn) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil || !p.flows() {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
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
