package engine

import (
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernel is the system that programs run on. What differs from one to another is in files of its
// own, by suffix: sending and what sockets tell (socket_*.go), files whose pages sockets
// take (runfile_*.go), pausing gnet's reading (reading_*.go),
// and waiting for sockets that were full (writepoll_*.go).
type kernel struct {
	start  time.Time
	poller *writePoller // set by Engine.Start
}

func newKernel() *kernel { return &kernel{start: time.Now()} }

func (k *kernel) now() int64 { return int64(time.Since(k.start)) }

func (k *kernel) time() time.Time { return time.Now() }

func (k *kernel) sleep(d time.Duration) { time.Sleep(d) }

func (k *kernel) tickAfter(l *Loop, d time.Duration) {
	if l.tickTimer == nil {
		l.tickTimer = time.AfterFunc(d, l.mailbox.postTick)
	} else {
		l.tickTimer.Reset(d)
	}
}

func (k *kernel) yield(l *Loop) {
	if _, err := l.pair.Write([]byte{0}); err != nil {
		l.wake() // the pair is full of such bytes or is closing
	}
}

func (k *kernel) send(fd int32, p []byte, more bool) (int, syscall.Errno) { return send(fd, p, more) }

func (k *kernel) newFile(p []byte) (int32, bool) { return newFile(p) }

func (k *kernel) sendFile(fd, file int32, off int64, n int) (int, syscall.Errno) {
	return sendFile(fd, file, off, n)
}

func (k *kernel) closeFile(file int32) { unix.Close(int(file)) }

func (k *kernel) unread(fd int32) bool { return unread(fd) }

func (k *kernel) leftUnread(fd int32) (b []byte, ok bool) {
	sa, err := unix.Getsockname(int(fd))
	if _, local := sa.(*unix.SockaddrUnix); err != nil || !local {
		return nil, false
	}
	for {
		b = slices.Grow(b, 16<<10)
		switch n, err := unix.Read(int(fd), b[len(b):cap(b)]); {
		case err == unix.EINTR:
		case err != nil || n == 0:
			return b, true
		default:
			b = b[:len(b)+n]
		}
	}
}

func (k *kernel) unacked(fd int32) (int, bool) { return unacked(fd) }

func (k *kernel) broken(fd int32) bool {
	errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	return err != nil || errno != 0
}

func (k *kernel) peer(fd int32) netip.AddrPort { return peerOf(int(fd)) }

func peerOf(fd int) netip.AddrPort {
	sa, _ := unix.Getpeername(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func (k *kernel) pauseReading(l *Loop, fd int32) bool {
	return l.poller >= 0 && setReading(l.poller, fd, false) == nil
}

func (k *kernel) pauseIsDeaf() bool { return pauseIsDeaf }

func (k *kernel) resumeReading(l *Loop, fd int32) error { return setReading(l.poller, fd, true) }

func (k *kernel) arm(fd int32, ref Ref, room, armed bool) error {
	return k.poller.arm(fd, ref, room, armed)
}

func (k *kernel) disarm(fd int32) { k.poller.remove(fd) }

func (k *kernel) shutdown(fd int32) error { return unix.Shutdown(int(fd), unix.SHUT_WR) }

func (k *kernel) dup(fd int32) (int32, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return int32(n), err
}

func (k *kernel) close(fd int32) { unix.Close(int(fd)) }

// unixPair returns a pair of connected stream sockets that no child process inherits.
func unixPair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}
