package engine

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/engine/internal/unixsock"
)

// Closing a listener's socket resets what the kernel has established by then and nobody has accepted,
// though its clients are connected. So all that waits is taken first. Where descriptors are used up, it
// is answered as over the limit of connections, one after the other.

// mostWaiting bounds what is taken at the end: a flood must not keep the listener open. It is twice what
// kernels keep for an acceptor, usually, so that all are taken who wait by then.
const mostWaiting = 2 * 4097

// close closes the listener once; Engine.accepting says when that is done.
func (l *listener) close() {
	if l.closed.CompareAndSwap(false, true) && l.net != nil {
		l.engine.accepting.Add(1)
		go l.end()
	}
}

// end has what waits at the socket enrolled, and closes it. What waits at a socket that was given may be
// for the process that has it next.
func (l *listener) end() {
	defer l.engine.accepting.Done()
	defer close(l.waited)
	defer l.net.Close()
	if l.config.Listener != nil {
		return
	}
	if u, ok := l.net.(unixsock.Unlinker); ok {
		u.Unlink() // or some come in vain
	}
	raw, err := l.net.(syscall.Conn).SyscallConn()
	if err == nil && l.unix { // what is there can be accepted even so, on Linux
		err = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RD) })
	}
	if err == nil { // the acceptors leave the socket to this goroutine
		err = l.net.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Unix(1, 0))
	}
	refused := 0
	if err == nil {
		refused, err = l.enrollWaiting(raw)
	}
	if refused > 0 {
		l.engine.log.Warn("no descriptors for connections that waited to be accepted: they were refused",
			"listener", l.net.Addr().String(), "connections", refused)
	}
	if err != nil {
		l.engine.log.Warn("connections that waited to be accepted are reset", "listener", l.net.Addr().String(), "err", err)
	}
}

var errWaiting = errors.New("too many of them")

// enrollWaiting hands what waits at the socket to the acceptors, one at a time: each needs a second
// descriptor for a moment. From the first that has none on it refuses them, and returns how many.
func (l *listener) enrollWaiting(raw syscall.RawConn) (refused int, err error) {
	for range mostWaiting {
		fd, err := l.acceptWaiting(raw)
		switch {
		case err == unix.EAGAIN:
			return 0, nil
		case exhausted(err):
			return l.refuseWaiting(raw)
		case err != nil:
			return 0, err
		}
		f := os.NewFile(uintptr(fd), "waiting")
		conn, err := net.FileConn(f) // duplicates it
		if err != nil {
			l.refuseFile(f)
			refused, err = l.refuseWaiting(raw)
			return refused + 1, err
		}
		f.Close()
		if conn.RemoteAddr() == nil { // its peer has reset it
			conn.Close()
			continue
		}
		l.waited <- conn
	}
	return 0, errWaiting
}

// refuseWaiting refuses what waits at the socket with one descriptor for all.
func (l *listener) refuseWaiting(raw syscall.RawConn) (refused int, err error) {
	l.engine.spare.lend(func() {
		for until := time.Now().Add(refuseTime); refused < mostWaiting; {
			var fd int
			if fd, err = l.acceptWaiting(raw); exhausted(err) && time.Now().Before(until) {
				time.Sleep(5 * time.Millisecond) // somebody else was faster, and may give one back
				continue
			}
			if err != nil {
				break
			}
			l.refuseFile(os.NewFile(uintptr(fd), "waiting"))
			refused++
		}
	})
	switch {
	case err == unix.EAGAIN:
		err = nil
	case err == nil:
		err = errWaiting
	}
	return refused, err
}

// refuseFile closes a connection behind an answer to what it has said by now.
func (l *listener) refuseFile(f *os.File) {
	defer f.Close()
	e, fd := l.engine, int(f.Fd())
	peer := peerOf(fd)
	e.refused[ReasonTooManyClients].Add(1)
	e.logRefused(peer, l.index, ReasonTooManyClients)
	if l.config.Proxy && !e.RelaysFor(peer.Addr()) || unix.SetNonblock(fd, true) != nil {
		return
	}
	first := make([]byte, refuseBytes)
	n, err := unix.Read(fd, first)
	if err != nil {
		return
	}
	defer l.caughtRefusing(peer.String())
	if answer, m := l.answerTo(first[:n], ReasonTooManyClients); m == Matched && len(answer) > 0 {
		_, _ = send(int32(fd), answer, false)
	}
	_ = unix.Shutdown(fd, unix.SHUT_WR)
	for n > 0 && err == nil { // or the close resets it
		n, err = unix.Read(fd, first)
	}
}

// acceptWaiting accepts a connection, if one waits: else the error is EAGAIN, and the socket listens no
// more. Whatever happened in between would leave time for others to connect, who would be reset.
func (l *listener) acceptWaiting(raw syscall.RawConn) (fd int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	cerr := raw.Control(func(listener uintptr) {
		for {
			switch fd, _, err = unix.Accept(int(listener)); err {
			case nil:
				unix.CloseOnExec(fd)
				return
			case unix.ECONNABORTED, unix.EINTR: // there may be others behind
			case unix.EAGAIN:
				_ = unix.Shutdown(int(listener), unix.SHUT_RD)
				return
			case unix.EINVAL: // a unix socket's, which listens no more
				err = unix.EAGAIN
				return
			default:
				return
			}
		}
	})
	if cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// A spare is a descriptor that is kept for when there are no others.
type spare struct {
	mu   sync.Mutex // for lend
	file *os.File   // nil: the system has had none
}

func (s *spare) open() { s.file, _ = os.Open(os.DevNull) }

func (s *spare) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// lend calls f, for which one more descriptor is free. It is for one at a time.
func (s *spare) lend(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
	defer s.open()
	f()
}
