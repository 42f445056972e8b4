package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// TLS of a connection is crypto/tls over memory: the loop hands it one record of the socket's at a time,
// and takes what it writes. The handshake runs on a goroutine of its own (handshake.go), since it costs a
// loop's worth of deliveries; from then on all happens on the loop, and there is no goroutine.

// A tlsConn is the TLS of one connection, and the net.Conn that its tls.Conn reads and writes. Until the
// handshake is over, that is the handshake's goroutine; then it is the loop's.
type tlsConn struct {
	tls  *tls.Conn
	loop *Loop
	hs   *handshake // until it is over

	in      []byte          // the record that is being read, during a call of tls.Read
	plain   *longInput      // decrypted and not handled; nil when there is nothing
	sealed  *block          // encrypted and not sent; nil when there is nothing
	sent    int             // of sealed, in bytes
	packets RecordPerPacket // nil: records are as long as what is sent together

	left    uint32 // bytes of the packet under way that are yet to be encrypted
	rawNeed uint32 // input below this length is no whole record
	idleAt  uint32 // ms, low half of the engine's clock, when idle was last filled up
	idle    uint16 // how many records without data it may still send; see spendIdle
	batch   uint8  // how much is encrypted at once: minBatch shifted left by it
	flags   tlsFlags
	largest uint16 // of the records it has sent, in bytes: crypto/tls keeps so much for good
}

type tlsFlags uint8

const (
	tlsEnded    tlsFlags = 1 << iota // the peer has said that nothing more comes
	tlsFailed                        // nothing can be encrypted any more, but for the alert that says why
	tlsNotified                      // the peer was told that nothing more comes
)

// A RecordPerPacket is a Handler whose client wants each of its packets in a TLS record of its own.
type RecordPerPacket interface {
	Handler
	// PacketSize returns how many bytes the packet at the front of b takes, which may be more than
	// there are. 0 means that b does not tell. It is called on the connection's loop, also after
	// OnClose.
	PacketSize(b []byte) int
}

// errNoInput is what crypto/tls reads when there is no whole record: it keeps no error that is temporary.
var errNoInput net.Error = noInput{}

type noInput struct{}

func (noInput) Error() string   { return "engine: no input" }
func (noInput) Timeout() bool   { return true }
func (noInput) Temporary() bool { return true }

// Read implements net.Conn for crypto/tls.
func (t *tlsConn) Read(p []byte) (int, error) {
	if hs := t.hs; hs != nil {
		return hs.read(p)
	}
	if len(t.in) == 0 {
		return 0, errNoInput
	}
	n := copy(p, t.in)
	t.in = t.in[n:]
	return n, nil
}

// Write implements net.Conn for crypto/tls. What it takes is in the loop's hands when the call of
// crypto/tls returns.
func (t *tlsConn) Write(p []byte) (int, error) {
	if hs := t.hs; hs != nil {
		return hs.write(p)
	}
	m := &t.loop.memory
	m.sealing = append(m.sealing, p...)
	return len(p), nil
}

// Close implements net.Conn.
func (t *tlsConn) Close() error { return nil }

// LocalAddr implements net.Conn.
func (t *tlsConn) LocalAddr() net.Addr { return noAddr }

// RemoteAddr implements net.Conn: functions of a tls.Config see it.
func (t *tlsConn) RemoteAddr() net.Addr {
	if hs := t.hs; hs != nil && hs.peer.IsValid() {
		return net.TCPAddrFromAddrPort(hs.peer)
	}
	return noAddr
}

var noAddr = &net.TCPAddr{}

// SetDeadline and its like implement net.Conn. Nothing here waits.
func (t *tlsConn) SetDeadline(time.Time) error      { return nil }
func (t *tlsConn) SetReadDeadline(time.Time) error  { return nil }
func (t *tlsConn) SetWriteDeadline(time.Time) error { return nil }

// serverConfig returns the listener's tls.Config as its connections use it, nil for a plain listener.
func (lc *ListenConfig) serverConfig() (*tls.Config, error) {
	config := lc.TLS
	switch {
	case config == nil && lc.TLSAuto:
		return nil, errors.New("TLSAuto is set, and there is no TLS")
	case config == nil:
		return nil, nil
	case len(config.Certificates) == 0 && config.GetCertificate == nil && config.GetConfigForClient == nil:
		return nil, errors.New("TLS has no certificate")
	case config.MinVersion != 0 && config.MinVersion < tls.VersionTLS12:
		return nil, errors.New("TLS below 1.2 is not served")
	}
	config = config.Clone()
	config.DynamicRecordSizingDisabled = true
	return config, nil
}

// tlsOf returns c's TLS, nil if it has none.
func (l *Loop) tlsOf(c *Conn) *tlsConn {
	if c.flags&flagTLS == 0 {
		return nil
	}
	return l.tls[c.slot]
}

// encrypted returns c's TLS once its handshake is over, nil if it has none.
func (l *Loop) encrypted(c *Conn) *tlsConn {
	if t := l.tlsOf(c); t != nil && t.hs == nil {
		return t
	}
	return nil
}

// addTLS gives c its TLS.
func (l *Loop) addTLS(c *Conn) *tlsConn {
	if int(c.slot) >= len(l.tls) {
		l.tls = append(l.tls, make([]*tlsConn, int(c.slot)+1-len(l.tls))...)
	}
	if l.memory.plain == nil {
		l.memory.plain = make([]byte, 0, plainScratch)
	}
	t := &tlsConn{loop: l, idle: maxIdleRecords, idleAt: uint32(l.now)}
	t.tls = tls.Server(t, l.engine.listenerAt(c.listener).tls)
	l.tls[c.slot] = t
	c.flags |= flagTLS
	l.accounts.add(KindTLS, tlsMemory)
	return t
}

// dropTLS lets go of c's TLS, with what it has of its input and output.
func (l *Loop) dropTLS(c *Conn) {
	t := l.tls[c.slot]
	l.tls[c.slot] = nil
	l.dropPlain(t)
	l.dropSealed(t)
	c.flags &^= flagTLS
	l.accounts.add(KindTLS, -tlsMemory-t.record())
}

const (
	// tlsMemory is what crypto/tls and the engine keep of a connection in bytes; measured. Where its
	// buffers are not lent (tlsbuffers.go), the longest record comes on top.
	tlsMemory = 4 << 10
	// smallRecord is how long, in bytes, a record is that needs no more than that.
	smallRecord = 1 << 10
)

// record returns what crypto/tls keeps because of the longest record so far, in bytes.
func (t *tlsConn) record() int64 {
	if t.largest <= smallRecord || connBuffers.known {
		return 0
	}
	return int64(t.largest)
}

// memory returns the bytes of t that are on its connection's account: input that is not handled, and
// output that is not sent.
func (t *tlsConn) memory() (n int64) {
	if t.plain != nil {
		n += int64(cap(t.plain.buf))
	}
	if t.sealed != nil {
		n += int64(cap(t.sealed.data))
	}
	return n
}

// A TLSInfo is what was agreed in a connection's TLS handshake.
type TLSInfo struct {
	Version     uint16 // tls.VersionTLS12, ...
	CipherSuite uint16 // tls.TLS_AES_128_GCM_SHA256, ...
	ServerName  string // the name that the client asked for (SNI); empty if it did not
	Protocol    string // by ALPN; empty if none was agreed
	Resumed     bool   // from a session ticket
	// Certificate is the client's, verified as the listener's tls.Config says. Nil if it has shown none,
	// or none that was verified. It must not be changed.
	Certificate *x509.Certificate
}

// TLS returns what was agreed in the connection's handshake; ok is false on a plain connection. It is
// not meant for hot paths.
func (c *Conn) TLS() (info TLSInfo, ok bool) {
	t := c.loop.encrypted(c)
	if t == nil {
		return TLSInfo{}, false
	}
	s := t.tls.ConnectionState()
	info = TLSInfo{
		Version: s.Version, CipherSuite: s.CipherSuite, ServerName: s.ServerName,
		Protocol: s.NegotiatedProtocol, Resumed: s.DidResume,
	}
	if len(s.VerifiedChains) > 0 {
		info.Certificate = s.VerifiedChains[0][0]
	}
	return info, true
}
