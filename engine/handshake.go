package engine

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
)

// A handshake is a connection's TLS handshake, from its first whole ClientHello on. Its goroutine begins
// when its turn has come (handshakes.go) and ends with the handshake. It gets one record at a time, when
// it asks for one, so that nothing of what follows the handshake is lost in it; what it writes goes to
// the socket through the loop.
//
// On the loop it is the connection's handler.
type handshake struct {
	engine *Engine
	tls    *tlsConn
	ref    Ref
	peer   netip.AddrPort
	place  // in the engine's handshakes

	charged  int  // bytes on the connection's account
	bytes    int  // received so far
	answered bool // something was sent
	closing  bool // the connection ends behind it, as end says
	end      Reason

	ctx    context.Context // over when the connection is
	cancel context.CancelFunc
	fed    chan struct{} // a record has come

	mu    sync.Mutex
	wants bool   // the goroutine waits for a record
	in    []byte // what is left of the record that it was given
	out   []byte // what it has written
}

const (
	// handshakeMemory is what a handshake keeps in bytes: its goroutine, and its state; measured.
	handshakeMemory = 32 << 10
	// waitingMemory is the same while it waits for its turn.
	waitingMemory = 1 << 10
	// maxHandshakeBytes is how much a client may send in a handshake: its chain of certificates, mostly.
	maxHandshakeBytes = 64 << 10
)

var errHandshakeBytes = errors.New("a handshake that is too long")

// beginHandshake puts a handshake in charge of c, whose ClientHello is there.
func (l *Loop) beginHandshake(c *Conn) {
	t := l.addTLS(c)
	h := &handshake{
		engine: l.engine, tls: t, ref: c.Ref(), peer: c.Peer(),
		fed: make(chan struct{}, 1),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	t.hs = h
	c.handler = h
	h.charge(c, waitingMemory)
	c.Pause()
	l.engine.handshakes.add(h)
	l.engine.handshakes.woke()
}

// charge makes n what c's account has of the handshake.
func (h *handshake) charge(c *Conn, n int) {
	c.Charge(KindHandshakes, n-h.charged)
	h.charged = n
}

// run is the goroutine.
func (h *handshake) run() {
	hs := &h.engine.handshakes
	defer hs.done(h)
	defer hs.release(h) // once the loop is told, so that it hears of handshakes in the order in which they compute
	err := errGoexit
	defer func() { // functions of a tls.Config may do anything
		if r := recover(); r != nil {
			h.engine.outside.panics.Add(1)
			h.engine.log.Error("panic in a TLS handshake", "peer", h.peer, "panic", r, "stack", string(debug.Stack()))
			err = errors.New("a function of the tls.Config has panicked")
		}
		if h.ctx.Err() == nil { // else the connection is over
			h.engine.Tell(h.ref, func(c *Conn) { h.finish(c, err) })
		}
	}()
	if !hs.acquire(h) {
		return
	}
	err = h.tls.tls.HandshakeContext(h.ctx)
}

// read is tls.Conn's way to the socket, on the goroutine.
func (h *handshake) read(p []byte) (int, error) {
	for {
		h.mu.Lock()
		if len(h.in) > 0 {
			n := copy(p, h.in)
			h.in = h.in[n:]
			h.mu.Unlock()
			return n, nil
		}
		h.wants = true
		h.mu.Unlock()
		hs := &h.engine.handshakes
		told := h.engine.Tell(h.ref, h.step)
		hs.release(h)
		if !told {
			return 0, net.ErrClosed
		}
		select {
		case <-h.fed:
		case <-h.ctx.Done():
			return 0, net.ErrClosed
		}
		if !hs.acquire(h) {
			return 0, net.ErrClosed
		}
	}
}

// write is tls.Conn's way to the socket, on the goroutine.
func (h *handshake) write(p []byte) (int, error) {
	h.mu.Lock()
	h.out = append(h.out, p...)
	h.mu.Unlock()
	return len(p), nil
}

// step sends what the goroutine has written, and gives it a record when there is one. It runs on the
// loop.
func (h *handshake) step(c *Conn) {
	if c == nil || c.handler != Handler(h) {
		return
	}
	h.charge(c, handshakeMemory)
	h.send(c)
	c.Resume()
}

// send passes on what the goroutine has written.
func (h *handshake) send(c *Conn) {
	h.mu.Lock()
	out := h.out
	h.out = nil
	h.mu.Unlock()
	h.answered = h.answered || len(out) > 0
	c.loop.keepSealed(c, h.tls, out)
}

// OnBytes gives the goroutine one record, if it waits for one.
func (h *handshake) OnBytes(c *Conn, b []byte) (n, need int) {
	h.mu.Lock()
	wants := h.wants
	h.mu.Unlock()
	if !wants {
		c.Pause()
		return 0, 0
	}
	var record []byte
	switch n = recordSize(b); {
	case n > len(b):
		return 0, n
	case n == 0:
		n, record = len(b), noRecord(b)
	default:
		record = b[:n]
	}
	if h.bytes += n; h.bytes > maxHandshakeBytes {
		h.fail(c, errHandshakeBytes)
		return 0, len(b) + 1
	}
	h.mu.Lock()
	h.wants = false
	h.in = append(h.in[:0], record...)
	h.mu.Unlock()
	h.fed <- struct{}{}
	h.engine.handshakes.woke()
	c.Pause()
	return n, 0
}

// acmeProtocol is what an ACME service names by ALPN that looks whether a host is ours.
const acmeProtocol = "acme-tls/1"

// finish takes the connection back from the goroutine, on the loop.
func (h *handshake) finish(c *Conn, err error) {
	if c == nil || c.handler != Handler(h) {
		return
	}
	h.send(c)
	if err != nil {
		h.fail(c, err)
		return
	}
	l := c.loop
	h.charge(c, 0)
	h.tls.hs = nil
	h.cancel()
	h.tls.takeBack(&l.memory)
	l.stats.handshakes.count(h.tls)
	if h.tls.tls.ConnectionState().NegotiatedProtocol == acmeProtocol {
		c.Close(ReasonClientClose) // the handshake is all that it came for (RFC 8737, 3)
		return
	}
	if h.closing {
		l.engine.refusals.until.Store(l.now + refuseTime.Milliseconds()) // or a stop would not wait for it
		l.refuse(c, h.end)
	} else {
		l.enter(c, stageSniff)
	}
	c.Resume()
}

// closeBehind has c refused when the handshake is over, or at once if it has yet to begin.
func (h *handshake) closeBehind(c *Conn, why Reason) {
	if h.closing {
		return
	}
	h.closing, h.end = true, why
	if !h.begun.Load() {
		h.giveUp(c)
		return
	}
	c.loop.hasten(c.slot, c.loop.engine.limits.Load().Linger)
}

// giveUp closes c, whose handshake is not over: behind an alert, if the client can read one still.
func (h *handshake) giveUp(c *Conn) {
	if !h.answered {
		c.loop.keepSealed(c, h.tls, alertRecord(alertInternalError))
	}
	h.tls.flags |= tlsFailed
	c.Close(h.end)
}

// fail ends the connection. The alert that says why is on its way, if there is one.
func (h *handshake) fail(c *Conn, err error) {
	h.tls.flags |= tlsFailed
	c.loop.stats.handshakes.failed.Add(1)
	c.loop.engine.log.Debug("TLS handshake failed", "peer", h.peer, "err", err)
	c.Close(ReasonTLSHandshake)
}

// OnDeadline implements Handler.
func (h *handshake) OnDeadline(c *Conn) {
	if h.closing {
		h.giveUp(c)
		return
	}
	h.tls.flags |= tlsFailed
	c.loop.stats.handshakes.timedOut.Add(1)
	c.Close(ReasonTLSTimeout)
}

// Goodbye implements Handler: alerts are crypto/tls's.
func (h *handshake) Goodbye(*Conn, Reason) {}

// OnClose implements Handler.
func (h *handshake) OnClose(c *Conn, why Reason) {
	h.charge(c, 0)
	h.engine.handshakes.abandon(h)
	if h.tls.hs == nil { // it was over
		return
	}
	h.tls.flags |= tlsFailed
	if why != ReasonTLSHandshake && why != ReasonTLSTimeout {
		c.loop.stats.handshakes.abandoned.Add(1)
	}
}

func (*handshake) newcomer() {}
