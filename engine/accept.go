package engine

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/engine/internal/address"
	"github.com/sluicenet/sluice/engine/internal/unixsock"
	"github.com/sluicenet/sluice/internal/loopback"
)

// ListenConfig describes one listener.
type ListenConfig struct {
	Network string // "tcp", "tcp4", "tcp6" or "unix"
	Address string // host:port, where port 0 picks one; of "unix" an absolute path, or @NAME on Linux
	// Mode and Owner are the permissions and the owner (USER:GROUP) of the file of a unix socket.
	// Zero means that its owner alone, who runs the process, may connect.
	Mode  fs.FileMode
	Owner string
	// Listener is served in place of Network and Address. It must accept *net.TCPConn or
	// *net.UnixConn: anything wrapped around those is closed at once. The Engine closes it, also when
	// Listen fails.
	Listener net.Listener
	// Protocols are shown the first bytes of a connection in this order. The first that has Matched
	// serves it; while one needs more bytes, those behind it wait.
	Protocols []Protocol
	// TLS has the listener speak TLS, of version 1.2 at least. It is copied; what is to change later is
	// for its GetConfigForClient and GetCertificate, which run on a goroutine of the handshake's. A
	// tls.Config that these return should have DynamicRecordSizingDisabled set, as the copy has.
	// Nil: the listener is plain.
	TLS *tls.Config
	// TLSAuto has it serve plain connections, too: TLS are those whose first byte is 0x16.
	TLSAuto bool
	// Proxy has each connection begin with the header of the PROXY protocol, version 1 or 2, which
	// says who the client is. Others than Config.ProxyTrust are refused.
	Proxy bool
	// SlowConsumer is what becomes of messages for clients of this listener that do not read.
	SlowConsumer SlowConsumer
}

// acceptors is the number of goroutines that accept on a listener: handing a connection to a
// loop takes a round trip through it, which is long when the loop is busy.
const acceptors = 16

type listener struct {
	engine *Engine
	config ListenConfig
	index  uint8
	net    net.Listener
	tls    *tls.Config // of its connections; nil: plain
	closed atomic.Bool
	// waited are connections that waited at the socket when it was to close.
	waited chan net.Conn
	// refuser says that there are answers for those that are refused: one of the protocols has some, or
	// TLS has its alert.
	refuser bool
	// public says that other machines reach it.
	public bool
	// unix says that its peers have no addresses.
	unix bool
	// identifies says that one of the protocols is an Identifier.
	identifies bool
	// local is shared by all connections that came in on one address: gnet keeps it per
	// connection, and the address is nearly always the same.
	local atomic.Pointer[net.TCPAddr]
}

// Listen opens a listener, of which there may be 256, and returns its address. It may be called once
// Start has returned; before that, and after Stop, the error is ErrStopped.
func (e *Engine) Listen(config ListenConfig) (net.Addr, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		closeGiven(config)
		return nil, ErrStopped
	}
	listeners := *e.listeners.Load()
	if len(listeners) == 256 {
		closeGiven(config)
		return nil, errTooManyListeners
	}
	secure, err := config.serverConfig()
	if err != nil {
		closeGiven(config)
		return nil, fmt.Errorf("engine: %w", err)
	}
	ln, err := e.open(config)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	l := &listener{engine: e, config: config, index: uint8(len(listeners)), net: ln, tls: secure, public: !loopback.Addr(ln.Addr()),
		unix: ln.Addr().Network() == "unix", identifies: hasIdentifier(config.Protocols), waited: make(chan net.Conn)}
	l.refuser = hasRefuser(config.Protocols) || secure != nil
	grown := append(listeners[:len(listeners):len(listeners)], l)
	e.listeners.Store(&grown)
	e.accepting.Add(acceptors)
	for range acceptors {
		go l.accept()
	}
	return ln.Addr(), nil
}

var errTooManyListeners = errors.New("engine: more than 256 listeners")

func closeGiven(config ListenConfig) {
	if config.Listener != nil {
		_ = config.Listener.Close()
	}
}

// open makes config's socket ready to accept: its own or the one that was given.
func (e *Engine) open(config ListenConfig) (net.Listener, error) {
	if ln := config.Listener; ln != nil {
		if n := ln.Addr().Network(); n != "tcp" && n != "unix" {
			closeGiven(config)
			return nil, fmt.Errorf("listener %v: a %s listener, want tcp or unix", ln.Addr(), n)
		}
		if s, ok := ln.(syscall.Conn); ok {
			raw, err := s.SyscallConn()
			if err == nil {
				err = e.setSendBuffer(raw)
			}
			if err != nil {
				closeGiven(config)
				return nil, fmt.Errorf("listener %v: %w", ln.Addr(), err)
			}
		}
		return ln, nil
	}
	if config.Network == "unix" {
		return unixsock.Listen(config.Address, unixsock.Options{Mode: config.Mode, Owner: config.Owner})
	}
	lc := net.ListenConfig{
		KeepAlive: -1, // protocols have their own signs of life
		Control:   func(_, _ string, raw syscall.RawConn) error { return e.setSendBuffer(raw) },
	}
	return lc.Listen(context.Background(), config.Network, config.Address)
}

// setSendBuffer sizes a socket's send buffer. Sockets that a TCP listener accepts inherit it.
func (e *Engine) setSendBuffer(raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		if n := e.config.SendBuffer; n > 0 {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n)
		}
	}); cerr != nil {
		return cerr
	}
	return err
}

// An acceptor is one of a listener's goroutines, and what gnet's context of a new connection
// points to.
type acceptor struct {
	*listener
	opened     bool // set on the loop by the connection that is being handed over
	counted    bool // that one is in Engine.addresses
	unadmitted bool // its admission waits until a proxy has told who it is
}

// accept takes connections until the listener is closed.
func (l *listener) accept() {
	ended := false
	defer func() {
		if !ended { // Config.Admit has ended this goroutine
			l.engine.accepting.Add(1)
			go l.accept()
		}
		l.engine.accepting.Done()
	}()
	a := &acceptor{listener: l}
	var pause time.Duration
	for {
		conn, err := l.net.Accept()
		switch {
		case err == nil:
			pause = 0
			a.enroll(conn)
		case l.closed.Load():
			for conn := range l.waited {
				a.enroll(conn)
			}
			ended = true
			return
		case transient(err):
			// Connections that wait in the kernel's queue are served when some have closed.
			l.engine.acceptRetry.Add(1)
			l.engine.logRetry(l, err)
			pause = min(max(2*pause, 5*time.Millisecond), 100*time.Millisecond)
			time.Sleep(pause)
		default:
			l.engine.acceptRetry.Add(1)
			l.engine.log.Error("accept failed", "listener", l.net.Addr(), "err", err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func transient(err error) bool {
	return exhausted(err) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR)
}

// exhausted reports whether err says that the process or the system has no room for one more
// connection.
func exhausted(err error) bool {
	for _, errno := range []syscall.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// enroll hands an accepted connection to a loop, or refuses it.
func (a *acceptor) enroll(conn net.Conn) {
	e := a.engine
	connections := e.connections.Add(1)
	if connections > int64(e.limits.Load().MaxConnections) {
		a.refuse(conn, ReasonTooManyClients)
		return
	}
	if e.refuseNew.Load() {
		a.refuse(conn, ReasonMemory)
		return
	}
	if !plain(conn) { // a listener from outside; gnet reads plain sockets only
		e.log.Error("connection refused: not a plain TCP or unix connection", "listener", conn.LocalAddr(), "type", fmt.Sprintf("%T", conn))
		a.refuse(conn, ReasonServerError)
		return
	}
	addr := address.Of(conn.RemoteAddr()).Addr()
	if a.config.Proxy && !e.RelaysFor(addr) {
		a.refuse(conn, ReasonProxyUntrusted)
		return
	}
	a.unadmitted = a.config.Proxy || a.mayForward(addr, false)
	if !a.unadmitted && !a.admit(conn, addr) {
		return
	}
	a.opened, a.counted = false, !a.unadmitted && addr.IsValid()
	if connections > e.scarceFrom {
		if err := duplicable(conn); err != nil {
			if a.counted {
				e.addresses.leave(keyOf(addr))
			}
			e.logRetry(a.listener, err)
			a.refuse(conn, ReasonTooManyClients)
			return
		}
	}
	e.slim(conn)
	e.accepted.Add(1)
	_, err := e.client.EnrollContext(conn, a)
	if err == nil && !a.opened {
		err = errNotPolled // gnet does not say when its epoll set has no room
	}
	if err != nil {
		if a.counted {
			e.addresses.leave(keyOf(addr))
		}
		e.connections.Add(-1)
		e.acceptRetry.Add(1)
		if !e.stopping.Load() {
			e.log.Warn("connection not enrolled", "peer", conn.RemoteAddr().String(), "err", err)
		}
	}
}

// duplicable returns an error if there is no second descriptor for a connection, which gnet needs for a
// moment: it would close it without a word. Somebody else may still be faster than gnet. It takes two
// system calls, and is asked only of those who come while descriptors may be scarce.
func duplicable(conn net.Conn) error {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		var second int
		if second, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			unix.Close(second)
		}
	})
	return errors.Join(cerr, err)
}

// plain reports whether gnet can read conn.
func plain(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// slim readies a connection for gnet, which keeps its addresses.
func (e *Engine) slim(conn net.Conn) {
	switch conn := conn.(type) {
	case *net.TCPConn:
		// gnet hands the bytes of a zone to a pool when the connection closes, but net shares them.
		remote := conn.RemoteAddr().(*net.TCPAddr)
		remote.Zone = ""
		remote.IP = bytes.Clone(remote.IP) // it lies within the whole socket address
		conn.LocalAddr().(*net.TCPAddr).Zone = ""
	case *net.UnixConn:
		if raw, err := conn.SyscallConn(); err == nil {
			_ = e.setSendBuffer(raw) // it inherits none; without one the system's is good enough
		}
	}
}

var errNotPolled = errors.New("engine: no room in the epoll set (see fs.epoll.max_user_watches)")

// shareLocal lets go of the connection's own copy of its local IP.
func (l *listener) shareLocal(sock gnet.Conn) {
	if a, ok := sock.LocalAddr().(*net.UnixAddr); ok {
		a.Name = "" // gnet has made one for each
	}
	a, ok := sock.LocalAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	if shared := l.local.Load(); shared != nil && shared.IP.Equal(a.IP) {
		a.IP = shared.IP
		return
	}
	l.local.Store(a)
}

// listenerAt returns a listener by its index.
func (e *Engine) listenerAt(i uint8) *listener { return (*e.listeners.Load())[i] }

// fileLimit returns the most files this process may have open.
func fileLimit() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 1024
	}
	return int(min(lim.Cur, 1<<30))
}
