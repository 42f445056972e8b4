package reactor

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Socket is a connection of a loop, over TCP or to a unix socket. Its memory is used again after
// it is gone: forget it in Closed and after Close.
type Socket struct {
	// Data is the owner's.
	Data int

	loop       *Loop
	fd         int // -1: gone
	slot       int32
	generation int32
	connecting bool
	writing    bool // waits for room
	dirty      bool // out is to be flushed
	listed     bool // in loop.dirty
	rest       []byte
	out        []byte
	tls        *secure // nil: plain
}

// Dial starts to connect to addr, from local unless that is not valid; Connected will say how it
// ended, perhaps before Dial returns. data becomes the socket's Data.
func (l *Loop) Dial(addr netip.AddrPort, local netip.Addr, data int) *Socket {
	fd, err := dial(addr, local)
	return l.begin(fd, err, data)
}

// DialUnix is Dial to a unix socket: a path, or @NAME in Linux's abstract namespace.
func (l *Loop) DialUnix(path string, data int) *Socket {
	fd, err := dialUnix(path)
	return l.begin(fd, err, data)
}

// begin takes on what has begun to connect, or says that it has not.
func (l *Loop) begin(fd int, err error, data int) *Socket {
	s := l.slotFor(data)
	if err != nil {
		l.release(s)
		l.handler.Connected(s, err)
		return s
	}
	s.fd, s.connecting = fd, true
	if err := l.poller.add(s); err != nil {
		s.Close()
		l.handler.Connected(s, fmt.Errorf("reactor: %w", err))
	}
	return s
}

func (l *Loop) slotFor(data int) *Socket {
	if n := len(l.free); n > 0 {
		s := l.sockets[l.free[n-1]]
		l.free = l.free[:n-1]
		s.Data = data
		return s
	}
	s := &Socket{loop: l, fd: -1, slot: int32(len(l.sockets)), Data: data}
	l.sockets = append(l.sockets, s)
	return s
}

func (l *Loop) release(s *Socket) {
	s.generation++
	s.connecting, s.writing, s.dirty = false, false, false
	if s.tls != nil {
		s.tls.end()
		s.tls = nil
	}
	s.rest, s.out = s.rest[:0], s.out[:0]
	l.free = append(l.free, s.slot)
}

func dial(addr netip.AddrPort, local netip.Addr) (int, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := streamSocket(family)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if local.IsValid() {
		bindAddressAlone(fd)
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(local, 0))); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("bind "+local.String(), err)
		}
	}
	if err := unix.Connect(fd, sockaddr(addr)); err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// fullTries and fullPause are how often, and after how long, a unix socket is tried again whose
// queue of connections is full: the kernel says so at once, where TCP tries again by itself.
const (
	fullTries = 500
	fullPause = 2 * time.Millisecond
)

func dialUnix(path string) (int, error) {
	fd, err := streamSocket(unix.AF_UNIX)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for try := 1; ; try++ {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EAGAIN || try == fullTries {
			break
		}
		time.Sleep(fullPause)
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func (l *Loop) connected(s *Socket) {
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		s.Close()
		l.handler.Connected(s, os.NewSyscallError("connect", err))
		return
	}
	s.connecting = false
	s.writing = true // as the poller knows it; flush puts it right
	if s.tls != nil {
		l.flush(s)
		s.tls.shake()
		return
	}
	l.handler.Connected(s, nil)
	if s.fd >= 0 {
		l.flush(s)
	}
}

// read reads once and hands over what there is.
func (l *Loop) read(s *Socket) {
	if len(s.rest) > len(l.buf)/2 {
		l.buf = make([]byte, 2*len(l.buf)) // packets larger than half of it
	}
	kept := copy(l.buf, s.rest)
	n, errno := rawRead(s.fd, l.buf[kept:])
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		l.fail(s, os.NewSyscallError("read", errno))
		return
	case n == 0:
		l.fail(s, io.EOF)
		return
	}
	l.now = Now()
	b := l.buf[:kept+n]
	if s.tls != nil {
		l.readSecure(s, b)
		return
	}
	used, err := l.handler.Readable(s, b, l.now)
	if s.fd < 0 {
		return // closed by the handler
	}
	if err != nil {
		l.fail(s, err)
		return
	}
	s.rest = append(s.rest[:0], b[used:]...)
}

func (l *Loop) fail(s *Socket, err error) {
	s.Close()
	l.handler.Closed(s, err)
}

// Send queues b; it leaves when the handler's method returns. On the loop only.
func (s *Socket) Send(b []byte) {
	if s.fd < 0 {
		return
	}
	s.out = append(s.out, b...)
	s.touch()
}

// Extend lets f append to what is queued, without a copy in between. On the loop only.
func (s *Socket) Extend(f func(out []byte) []byte) {
	if s.fd < 0 {
		return
	}
	s.out = f(s.out)
	s.touch()
}

func (s *Socket) touch() {
	s.dirty = true
	if !s.listed {
		s.listed = true
		s.loop.dirty = append(s.loop.dirty, s)
	}
}

// Queued is how many bytes have been sent but not yet taken by the kernel.
func (s *Socket) Queued() int {
	if s.tls != nil {
		return len(s.out) + len(s.tls.cipher)
	}
	return len(s.out)
}

// Open reports whether s is connected.
func (s *Socket) Open() bool { return s.fd >= 0 && !s.connecting }

// Flush sends what is queued at once. On the loop only.
func (s *Socket) Flush() {
	if s.fd >= 0 && s.dirty {
		s.loop.flush(s)
	}
}

func (l *Loop) flush(s *Socket) {
	if s.tls != nil {
		l.flushSecure(s)
		return
	}
	s.dirty = false
	sent := 0
	for sent < len(s.out) {
		n, errno := rawSend(s.fd, s.out[sent:])
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
		sent += n
	}
	s.out = s.out[:copy(s.out, s.out[sent:])]
	l.wantRoom(s, len(s.out) > 0)
}

// wantRoom has the poller tell of room, or not.
func (l *Loop) wantRoom(s *Socket, want bool) {
	if want != s.writing {
		s.writing = want
		if err := l.poller.modify(s); err != nil {
			l.fail(s, fmt.Errorf("reactor: %w", err))
		}
	}
}

// Close closes s at once, without Closed. Bytes not yet flushed get one attempt if Flush is called
// before. On the loop only.
func (s *Socket) Close() {
	if s.fd < 0 {
		return
	}
	s.loop.poller.remove(s)
	unix.Close(s.fd)
	s.fd = -1
	s.loop.release(s)
}

// Reset is Close with an RST in place of a FIN: nothing of the connection lingers in the kernel.
func (s *Socket) Reset() {
	if s.fd >= 0 {
		_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		s.Close()
	}
}
