package engine

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/topic"
)

// rawDialect is the name of the wire form that Attach's connections take pushes in.
const rawDialect = "attached-raw"

// appendRaw puts the length of the payload before it, in four bytes, most significant first.
func appendRaw(dst []byte, p Push) ([]byte, error) {
	n := len(p.Payload)
	if uint64(n) > 1<<32-1 {
		return nil, fmt.Errorf("a payload of %d bytes", n)
	}
	return append(append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)), p.Payload...), nil
}

// An attachment is what gnet's context of an attached connection points to until it has opened.
type attachment struct {
	topic  []byte
	from   *topic.Position
	peer   netip.AddrPort
	index  uint8 // of the listener that it counts as
	opened bool
}

// Attach subscribes the program itself to a topic. What is published arrives at the returned
// connection, each payload behind its length in four bytes, most significant first; it ends when the
// loops stop. Whoever attaches reads all the time: when the connection is full, and limits are
// exceeded, its oldest messages are dropped and counted, as with SlowDropOldest. It is no client:
// broadcasts do not reach it. Closing the returned connection ends it.
//
// It counts as a connection and as a subscriber. peer is what its Conn.Peer returns: for whom the
// program attaches itself. The zero AddrPort says nothing of that. The error is ErrStopped, ErrTooMany
// or the system's. It waits for a loop, so it must not be called on one.
func (e *Engine) Attach(topic []byte, peer netip.AddrPort) (net.Conn, error) {
	return e.attach(&attachment{topic: topic, peer: peer})
}

// AttachFrom is Attach to a topic with history: what came behind a position arrives first, as far as it
// is kept.
func (e *Engine) AttachFrom(name []byte, from topic.Position, peer netip.AddrPort) (net.Conn, error) {
	return e.attach(&attachment{topic: name, from: &from, peer: peer})
}

func (e *Engine) attach(a *attachment) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil || e.stopping.Load() {
		return nil, ErrStopped
	}
	if e.raw == MaxDialects {
		return nil, fmt.Errorf("engine: all %d dialects are in use", MaxDialects)
	}
	index, err := e.inside()
	if err != nil {
		return nil, err
	}
	if e.connections.Add(1) > int64(e.limits.Load().MaxConnections) {
		e.connections.Add(-1)
		return nil, ErrTooMany
	}
	ours, theirs, err := connPair()
	if err != nil {
		e.connections.Add(-1)
		return nil, fmt.Errorf("engine: attach: %w", err)
	}
	a.index = index
	_, err = e.client.EnrollContext(theirs, a)
	if err == nil && !a.opened {
		err = errNotPolled
	}
	if err != nil {
		e.connections.Add(-1)
		ours.Close()
		return nil, fmt.Errorf("engine: attach: %w", err)
	}
	return ours, nil
}

// inside returns the index of the listener that attached connections count as. It has no socket.
func (e *Engine) inside() (uint8, error) {
	listeners := *e.listeners.Load()
	for i, l := range listeners {
		if l.net == nil {
			return uint8(i), nil
		}
	}
	if len(listeners) == 256 {
		return 0, errTooManyListeners
	}
	l := &listener{engine: e, config: ListenConfig{Network: "inside", SlowConsumer: SlowDropOldest}, index: uint8(len(listeners))}
	grown := append(listeners[:len(listeners):len(listeners)], l)
	e.listeners.Store(&grown)
	return l.index, nil
}

// connPair makes a pair of connected stream sockets.
func connPair() (a, b net.Conn, err error) {
	fds, err := unixPair()
	if err != nil {
		return nil, nil, err
	}
	if a, err = connOf(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	if b, err = connOf(fds[1]); err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, b, nil
}

// openAttached gives an attached connection its slot.
func (l *Loop) openAttached(sock gnet.Conn, a *attachment) bool {
	c, ok := l.allocate()
	if !ok {
		return false
	}
	a.opened = true
	c.state = stateOpen
	c.sock, c.fd = sock, int32(sock.Fd())
	c.listener = a.index
	c.handler = attached{}
	c.dialect = l.engine.raw
	c.flags |= flagTrusted
	if a.peer.IsValid() {
		c.keepPeer(a.peer)
	}
	sock.SetContext(c)
	l.stats.open.Add(1)
	if a.from != nil {
		c.SubscribeFrom(Mark{Topic: string(a.topic), Position: *a.from})
	} else {
		c.Subscribe(a.topic)
	}
	return true
}

// attached is the handler of an attached connection. What it sends is ignored.
type attached struct{}

func (attached) OnBytes(_ *Conn, b []byte) (n, need int) { return len(b), 1 }
func (attached) OnDeadline(*Conn)                        {}
func (attached) Goodbye(*Conn, Reason)                   {}
func (attached) OnClose(*Conn, Reason)                   {}
func (attached) Protocol() string                        { return "attached" }

// connOf makes a connection of a descriptor, which it closes.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "pair")
	defer f.Close()
	return net.FileConn(f) // duplicates fd
}
