package reactor

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// TLS of a Socket is crypto/tls over memory: its handshake runs on a goroutine, which the loop
// feeds; what follows is decrypted and encrypted on the loop.

// A secure is the TLS of one Socket, and the net.Conn under its tls.Conn.
type secure struct {
	conn       *tls.Conn
	socket     *Socket
	generation int32
	shaken     bool   // the loop knows that the handshake is over
	plain      []byte // decrypted, not consumed
	cipher     []byte // encrypted, not sent

	mu   sync.Mutex
	more sync.Cond
	in   []byte // records for crypto/tls
	left int    // of the record under way
	done bool   // the handshake is over: Read waits no more
	gone bool   // the socket is
}

// DialTLS is Dial with TLS. Connected comes behind the handshake.
func (l *Loop) DialTLS(addr netip.AddrPort, local netip.Addr, data int, config *tls.Config) *Socket {
	s := l.Dial(addr, local, data)
	if s.fd < 0 {
		return s
	}
	s.tls = &secure{socket: s, generation: s.generation}
	s.tls.more.L = &s.tls.mu
	s.tls.conn = tls.Client(s.tls, config)
	return s
}

// shake begins the handshake, when the socket is connected.
func (s *secure) shake() {
	l := s.socket.loop
	go func() {
		err := s.conn.Handshake()
		s.mu.Lock()
		s.done = true
		s.mu.Unlock()
		l.Post(func() {
			if s.socket.fd < 0 || s.socket.generation != s.generation {
				return
			}
			if err != nil {
				s.socket.Close()
				l.handler.Connected(s.socket, fmt.Errorf("reactor: TLS: %w", err))
				return
			}
			s.shaken = true
			l.handler.Connected(s.socket, nil)
			if s.socket.fd >= 0 {
				l.flush(s.socket)
				l.readSecure(s.socket, nil)
			}
		})
	}()
}

const (
	recordHeader = 5
	// maxRecord is the longest record with its header.
	maxRecord = recordHeader + 16384 + 2048
)

// Read implements net.Conn: one record at a time, so that crypto/tls keeps nothing of the next.
func (s *secure) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.left == 0 && len(s.in) >= recordHeader {
			s.left = recordHeader + int(s.in[3])<<8 + int(s.in[4])
		}
		switch n := min(len(p), len(s.in), s.left); {
		case n > 0:
			copy(p, s.in[:n])
			s.in = s.in[n:]
			s.left -= n
			return n, nil
		case s.gone:
			return 0, net.ErrClosed
		case s.done:
			return 0, os.ErrDeadlineExceeded // is temporary, so crypto/tls goes on later
		}
		s.more.Wait()
	}
}

// Write implements net.Conn.
func (s *secure) Write(p []byte) (int, error) {
	if s.shaken {
		s.cipher = append(s.cipher, p...)
		return len(p), nil
	}
	b := append([]byte(nil), p...)
	s.socket.loop.Post(func() {
		if s.socket.fd >= 0 && s.socket.generation == s.generation {
			s.cipher = append(s.cipher, b...)
			s.socket.loop.flush(s.socket)
		}
	})
	return len(p), nil
}

// feed adds b to the input.
func (s *secure) feed(b []byte) {
	s.mu.Lock()
	s.in = append(s.in, b...)
	s.mu.Unlock()
	s.more.Signal()
}

// end wakes a handshake whose socket is gone.
func (s *secure) end() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.more.Signal()
}

// readSecure decrypts b, and what came before it, and hands it over.
func (l *Loop) readSecure(s *Socket, b []byte) {
	t := s.tls
	t.feed(b)
	if !t.shaken {
		return
	}
	kept := t.plain
	buf := append(l.plain[:0], kept...)
	for {
		if cap(buf)-len(buf) < maxRecord {
			buf = append(make([]byte, 0, 2*(cap(buf)+maxRecord)), buf...)
		}
		n, err := t.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == nil {
			continue
		}
		if e, ok := err.(net.Error); ok && e.Timeout() {
			break
		}
		l.fail(s, err)
		return
	}
	l.plain = buf[:0]
	if len(t.in) == 0 {
		t.in = nil // do not keep what a burst needed
	}
	if len(t.cipher) > 0 {
		s.touch() // new keys are answered
	}
	if len(buf) == len(kept) {
		return
	}
	used, err := l.handler.Readable(s, buf, l.now)
	if s.fd < 0 {
		return
	}
	if err != nil {
		l.fail(s, err)
		return
	}
	t.plain = append(t.plain[:0], buf[used:]...)
}

// seal encrypts what is queued of s, and returns what is to be sent.
func (s *Socket) seal() ([]byte, error) {
	t := s.tls
	if len(s.out) > 0 && t.shaken && len(t.cipher) < maxSealed {
		if _, err := t.conn.Write(s.out); err != nil {
			return nil, err
		}
		s.out = s.out[:0]
	}
	return t.cipher, nil
}

// maxSealed is how much is encrypted and not sent before more is encrypted.
const maxSealed = 256 << 10

// flushSecure is flush with TLS.
func (l *Loop) flushSecure(s *Socket) {
	s.dirty = false
	for {
		b, err := s.seal()
		if err != nil {
			l.fail(s, fmt.Errorf("reactor: TLS: %w", err))
			return
		}
		if len(b) == 0 {
			break
		}
		n, errno := rawSend(s.fd, b)
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			l.fail(s, os.NewSyscallError("write", errno))
			return
		}
		s.tls.cipher = s.tls.cipher[:copy(s.tls.cipher, b[n:])]
	}
	l.wantRoom(s, len(s.tls.cipher) > 0)
}

// Close implements net.Conn, as do the methods that follow.
func (s *secure) Close() error                     { return nil }
func (s *secure) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *secure) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *secure) SetDeadline(time.Time) error      { return nil }
func (s *secure) SetReadDeadline(time.Time) error  { return nil }
func (s *secure) SetWriteDeadline(time.Time) error { return nil }
