package engine

import (
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/proxyproto"
	"github.com/sluicenet/sluice/engine/internal/address"
)

// A Refuser is a Protocol with an answer for clients that the engine does not take: those over
// Config.MaxConnections, or that Config.Admit refuses. Some clients wait for it without end.
type Refuser interface {
	Protocol
	// Refuse looks at the first bytes of such a connection, which Sniff has Matched, and returns
	// the answer to them with Matched. NeedMore asks for more bytes; NoMatch says that whoever
	// sends these gets no answer. It is called on any goroutine.
	Refuse(first []byte, why Reason) (answer []byte, m Match)
}

const (
	// refuseTime is how long a connection is kept that is refused: for its first bytes to come, and
	// for its peer to close once it has been answered.
	refuseTime = time.Second
	// refuseBytes is how many first bytes are looked at.
	refuseBytes = 512
	// refuseShare is the part of Config.MaxRefusals that one address may have.
	refuseShare = 4
)

// refusals are the connections that are refused and kept for an answer: those that have reached a loop
// there, each of the others on a goroutine of its own. They have a limit of their own, and each address
// its part of it.
type refusals struct {
	limit   int
	running sync.WaitGroup

	mu     sync.Mutex
	kept   int
	from   map[netip.Addr]int    // by address.Key
	conns  map[net.Conn]struct{} // those with a goroutine
	closed bool

	// onLoops are all refused connections that have reached a loop, until their sockets are closed.
	onLoops atomic.Int64
	// until is when the others' end waits for them no longer, in ms of the engine's clock; zero: nothing
	// has ended yet.
	until atomic.Int64
}

// reserve takes on a connection of an address (address.Key), if there is room. Release must follow.
func (r *refusals) reserve(addr netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reserveLocked(addr)
}

func (r *refusals) reserveLocked(addr netip.Addr) bool {
	if r.closed || r.kept >= r.limit || addr.IsValid() && r.from[addr] >= max(r.limit/refuseShare, 1) {
		return false
	}
	if r.from == nil {
		r.from = make(map[netip.Addr]int)
	}
	r.kept++
	r.from[addr]++
	return true
}

func (r *refusals) release(addr netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(addr)
}

func (r *refusals) releaseLocked(addr netip.Addr) {
	r.kept--
	if r.from[addr]--; r.from[addr] == 0 {
		delete(r.from, addr)
	}
}

// add takes conn on, if there is room.
func (r *refusals) add(conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.reserveLocked(keyOfPeer(conn)) {
		return false
	}
	if r.conns == nil {
		r.conns = make(map[net.Conn]struct{})
	}
	_ = conn.SetDeadline(time.Now().Add(refuseTime))
	r.conns[conn] = struct{}{}
	r.running.Add(1)
	return true
}

// remove closes conn.
func (r *refusals) remove(conn net.Conn) {
	r.mu.Lock()
	delete(r.conns, conn)
	r.releaseLocked(keyOfPeer(conn))
	r.mu.Unlock()
	_ = conn.Close()
	r.running.Done()
}

func keyOfPeer(conn net.Conn) netip.Addr {
	return address.Key(address.Of(conn.RemoteAddr()).Addr())
}

// awaited reports whether there are any, on loops or not, and a stop waits for them.
func (r *refusals) awaited(now int64) bool {
	if now >= r.until.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.onLoops.Load() > 0 || len(r.conns) > 0
}

// close ends those with a goroutine, and takes no more.
func (r *refusals) close() {
	r.mu.Lock()
	r.closed = true
	for conn := range r.conns {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
	r.mu.Unlock()
	r.running.Wait()
}

// refuse closes a connection that reaches no loop, behind an answer where there is one.
func (l *listener) refuse(conn net.Conn, why Reason) {
	e := l.engine
	e.connections.Add(-1)
	e.refused[why].Add(1)
	e.logRefused(address.Of(conn.RemoteAddr()), l.index, why)
	silent := !l.refuser || why == ReasonProxyUntrusted // that is no client
	if !plain(conn) || silent || !e.refusals.add(conn) {
		_ = conn.Close()
		return
	}
	go l.answer(conn, why)
}

// answer waits for the first bytes of a connection that is refused, and answers them.
func (l *listener) answer(conn net.Conn, why Reason) {
	e := l.engine
	defer e.refusals.remove(conn)
	defer l.caughtRefusing(conn.RemoteAddr().String())
	first := make([]byte, 0, refuseBytes)
	for len(first) < refuseBytes {
		n, err := conn.Read(first[len(first):refuseBytes])
		if n == 0 || err != nil {
			return
		}
		first = first[:len(first)+n]
		switch answer, m := l.answerTo(first, why); m {
		case NoMatch:
			return
		case Matched:
			if _, err := conn.Write(answer); err != nil {
				return
			}
			// Closing with input unread would reset the connection, and take the answer with it.
			if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				_, _ = io.Copy(io.Discard, conn)
			}
			return
		}
	}
}

// caughtRefusing is deferred where protocols of others are asked for answers.
func (l *listener) caughtRefusing(peer string) {
	if r := recover(); r != nil {
		l.engine.outside.panics.Add(1)
		l.engine.log.Error("panic of a protocol", "peer", peer, "panic", r, "stack", string(debug.Stack()))
	}
}

// answerTo returns the answer to a connection's first bytes, which reaches no loop.
func (l *listener) answerTo(first []byte, why Reason) (answer []byte, m Match) {
	rest, err := l.behindHeader(first)
	switch {
	case err != nil:
		return nil, NoMatch
	case len(rest) == 0:
		return nil, NeedMore
	}
	return l.refusal(rest, why, false)
}

// behindHeader returns what is behind the PROXY header in a connection's first bytes, if the listener
// wants one; nothing while it is not whole.
func (l *listener) behindHeader(first []byte) ([]byte, error) {
	if !l.config.Proxy {
		return first, nil
	}
	n, err := proxyproto.Length(first)
	if n == 0 || n > len(first) {
		return nil, err
	}
	return first[n:], nil
}

// refusal returns the answer to first: that of the protocol that it belongs to or, where TLS begins
// with it, an alert, since a handshake for each that is refused is what an attacker would want.
// decrypted says that first came through TLS.
func (l *listener) refusal(first []byte, why Reason, decrypted bool) (answer []byte, m Match) {
	if l.tls != nil && !decrypted {
		switch {
		case isHello(first):
			return alertRecord(alertInternalError), Matched
		case !l.config.TLSAuto:
			return nil, NoMatch
		}
	}
	for _, p := range l.config.Protocols {
		switch p.Sniff(first) {
		case Matched:
			if r, ok := p.(Refuser); ok {
				return r.Refuse(first, why)
			}
			return nil, NoMatch
		case NeedMore:
			return nil, NeedMore
		}
	}
	return nil, NoMatch
}

// hasRefuser reports whether one of ps has answers for those that are refused.
func hasRefuser(ps []Protocol) bool {
	for _, p := range ps {
		if _, ok := p.(Refuser); ok {
			return true
		}
	}
	return false
}
