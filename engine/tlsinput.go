package engine

import (
	"errors"
	"io"
	"net"
)

// Input of a connection with TLS stays where it is, in gnet's memory and encrypted, until it is handled:
// whole records are decrypted into the loop's scratch memory, which the handler is shown. What it does not
// take, half a packet, goes into memory of the connection's own and on its account. Input that is paused is
// not decrypted. crypto/tls gets whole records only, so it keeps nothing itself.

const (
	// maxCopied is how much that was left of the last turn is copied back, in bytes, so that memory of the
	// connection's own is no larger than what is in it.
	maxCopied = 16 << 10

	// A record without data moves nobody on: new keys, or an empty one. A connection may send
	// maxIdleRecords of them at once, and idleEvery ms give it one more. A long one, of which crypto/tls may
	// keep all, counts as one for each idleBytes of it.
	maxIdleRecords = 256
	idleEvery      = 64
	idleBytes      = 256
)

var errIdleRecords = errors.New("too many records without data")

// pumpTLS is pump for a connection with TLS.
func (l *Loop) pumpTLS(c *Conn, t *tlsConn, resumed bool) {
	if arrived := l.buffered(c) - int(c.input); arrived > 0 {
		l.countArrived(c, arrived)
	}
	b, own := l.memory.plain[:0], false // what is decrypted and not handled; in t.plain
	if k := t.plain; k != nil {
		if rest := k.buf[k.off:]; len(rest) > maxCopied {
			b, own = rest, true
		} else {
			b = append(b, rest...)
			l.dropPlain(t)
		}
	}
	slices, wide := inputSlices{loop: l}, 0
	for c.Open() && !c.Paused() {
		b, own = l.decrypt(c, t, b, own, slices.window(l.buffered(c)+len(b), max(int(c.need), wide)))
		if !c.Open() || !resumed && (len(b) == 0 || len(b) < int(c.need)) {
			break
		}
		resumed = false
		n, need := l.serve(c, b)
		if !c.Open() {
			break
		}
		if wide = 0; n == 0 {
			wide = 2 * len(b)
		}
		l.handled(c, n, need, len(b))
		b = b[n:]
		slices.next(c, n, len(b)+l.buffered(c))
	}
	if !c.Open() {
		l.dropPlain(t)
		l.discardAll(c)
		return
	}
	l.keepPlain(c, t, b, own)
	left := l.buffered(c)
	if c.sock != nil && c.flags&flagLongInput == 0 && left > inputWindow {
		l.takeLongInput(c, left)
	}
	l.setInput(c, left)
	switch {
	case c.Paused():
		l.boundPaused(c, left+len(b))
	case t.flags&tlsEnded != 0 || c.sock == nil: // nothing more comes, and what came is handled
		c.Close(ReasonPeerClosed)
	}
}

// decrypt appends to b what the next whole records contain until there is something and, if there are
// so many records, at least want bytes. own says that b is in t.plain, or else in the loop's scratch
// memory.
func (l *Loop) decrypt(c *Conn, t *tlsConn, b []byte, own bool, want int) ([]byte, bool) {
	for len(b) < want && t.flags&tlsEnded == 0 {
		raw := l.buffered(c)
		if raw == 0 || raw < int(t.rawNeed) {
			return b, own
		}
		p, err := l.peek(c, min(raw, inputWindow))
		if err != nil {
			return b, own
		}
		used := 0
		for len(b) < want && t.flags&tlsEnded == 0 && c.Open() {
			n := recordSize(p[used:])
			if n == 0 {
				l.unseal(c, t, noRecord(p[used:]), make([]byte, 1))
				used = len(p)
				break
			}
			if t.rawNeed = 0; n > len(p)-used {
				if used == 0 {
					t.rawNeed = uint32(n)
				}
				break
			}
			b, own = l.plainRoom(c, t, b, own, n)
			got := l.unseal(c, t, p[used:used+n], b[len(b):cap(b)])
			b = b[:len(b)+got]
			used += n
		}
		if used == 0 {
			return b, own
		}
		l.discard(c, used)
		if !c.Open() {
			return b, own
		}
	}
	return b, own
}

// unseal decrypts one record into dst, which has room for it, and returns how much data was in it.
func (l *Loop) unseal(c *Conn, t *tlsConn, record, dst []byte) int {
	if n := uint16(len(record)); n > t.largest {
		before := t.record()
		t.largest = n
		l.accounts.add(KindTLS, t.record()-before)
	}
	t.in = record
	t.lend(&l.memory)
	n, err := t.tls.Read(dst)
	t.takeBack(&l.memory)
	t.in = nil
	if out := l.memory.sealing; len(out) > 0 { // new keys are answered, and errors have an alert
		l.memory.sealing = out[:0]
		l.keepSealed(c, t, out)
	}
	switch {
	case err == nil:
	case err == errNoInput:
		l.stats.handshakes.keyUpdates.Add(1)
		if !l.spendIdle(t, len(record)) {
			l.failTLS(c, t, ReasonTLSFlood, errIdleRecords)
		}
	case err == io.EOF:
		t.flags |= tlsEnded
	default:
		why := ReasonTLSError
		var remote *net.OpError
		if errors.As(err, &remote) && remote.Op == "remote error" {
			why = ReasonPeerClosed // with an alert
		}
		l.failTLS(c, t, why, err)
	}
	return n
}

// spendIdle reports whether a record without data is still allowed.
func (l *Loop) spendIdle(t *tlsConn, size int) bool {
	now := uint32(l.now)
	if more := (now - t.idleAt) / idleEvery; more > 0 {
		t.idle = uint16(min(uint32(t.idle)+more, maxIdleRecords))
		t.idleAt = now
	}
	cost := uint16(1 + size/idleBytes)
	if cost > t.idle {
		return false
	}
	t.idle -= cost
	return true
}

// failTLS ends a connection of which nothing can be decrypted, or encrypted, any more.
func (l *Loop) failTLS(c *Conn, t *tlsConn, why Reason, err error) {
	t.flags |= tlsFailed
	l.engine.log.Debug("TLS failed", "peer", c.Peer(), "reason", why.String(), "err", err)
	c.Close(why)
}

// plainRoom makes room for n more bytes behind b, in t.plain once it is more than the scratch memory has.
func (l *Loop) plainRoom(c *Conn, t *tlsConn, b []byte, own bool, n int) ([]byte, bool) {
	switch scratch := l.memory.plain; {
	case cap(b)-len(b) >= n:
		return b, own
	case own && len(b) > maxCopied, len(b)+n > cap(scratch):
		return l.growPlain(c, t, b, n), true
	default:
		b = append(scratch[:0], b...)
		if own {
			l.dropPlain(t)
		}
		return b, false
	}
}

// plainScratch is a window of input and a record, in bytes.
const plainScratch = inputWindow + recordHeader + maxRecord

// growPlain moves b to memory of the connection's own with room for n more bytes.
func (l *Loop) growPlain(c *Conn, t *tlsConn, b []byte, n int) []byte {
	k := newLongInput(len(b) + n)
	k.buf = append(k.buf, b...)
	l.dropPlain(t)
	t.plain = k
	l.accounts.add(KindInput, int64(cap(k.buf)))
	l.weigh(c)
	return k.buf
}

// keepPlain keeps b, which is not handled: the beginning of a packet, or input that is paused.
func (l *Loop) keepPlain(c *Conn, t *tlsConn, b []byte, own bool) {
	switch {
	case len(b) == 0:
		l.dropPlain(t)
		l.weigh(c)
	case own:
		k := t.plain
		k.off = cap(k.buf) - cap(b)
		k.buf = k.buf[:k.off+len(b)]
	default:
		l.growPlain(c, t, b, 0)
	}
}

func (l *Loop) dropPlain(t *tlsConn) {
	if k := t.plain; k != nil {
		t.plain = nil
		l.accounts.add(KindInput, -int64(cap(k.buf)))
		k.recycle()
	}
}

// discardAll throws away the input of a connection that is over for its handler.
func (l *Loop) discardAll(c *Conn) {
	if c.sock != nil {
		_, _ = c.sock.Discard(-1)
	}
}
