package engine

import (
	"net/netip"
	"syscall"
	"time"
)

// A system is the clock and the operating system under the loops. The real one is kernel; the
// simulation in the tests is another. gnet's part, accepting and reading, is not in it.
//
// Methods that take a descriptor or a Loop are called on that loop's goroutine.
type system interface {
	// now returns the ns since the system was made, monotonic. Any goroutine may call it.
	now() int64
	// time returns the date and the time of day. Any goroutine may call it.
	time() time.Time
	// sleep has a goroutine outside the loops wait.
	sleep(time.Duration)
	// tickAfter ticks l (mailbox.postTick) once, d from now, in place of an earlier call.
	tickAfter(l *Loop, d time.Duration)
	// yield has l's turn called again behind the sockets that are ready now.
	yield(l *Loop)

	// send writes p to a socket without waiting. more says that a FIN follows, which is to travel
	// in the same segment. A full socket is EAGAIN; errno 0 means that n bytes were taken.
	send(fd int32, p []byte, more bool) (n int, errno syscall.Errno)
	// newFile puts p into a file of memory that sendFile sends from. ok is false where that cannot be
	// done, or not now.
	newFile(p []byte) (file int32, ok bool)
	// sendFile is send for n bytes of a file from off on. The socket takes the file's memory, not a
	// copy. EINVAL, ENOSYS, EOPNOTSUPP and EPERM mean that it cannot.
	sendFile(fd, file int32, off int64, n int) (sent int, errno syscall.Errno)
	// closeFile closes a file. What sockets have taken of it stays as it is.
	closeFile(file int32)
	// unread reports whether received bytes wait in the socket.
	unread(fd int32) bool
	// leftUnread reads all that is left of a unix socket's input, whose peer has closed: that much is in
	// the socket, and no more comes. ok is false for other sockets.
	leftUnread(fd int32) (b []byte, ok bool)
	// unacked returns how many sent bytes the peer has not acknowledged; ok is false where the
	// system does not tell.
	unacked(fd int32) (n int, ok bool)
	// broken reports whether the connection has failed: a reset, for one.
	broken(fd int32) bool
	// peer returns the remote address of a socket.
	peer(fd int32) netip.AddrPort

	// pauseReading has l's poller report no more input of a descriptor, but failures, and of a unix
	// socket that its peer has closed it. It reports false where that cannot be done.
	pauseReading(l *Loop, fd int32) bool
	// pauseIsDeaf reports whether l's poller does not report a failure either during a pause.
	pauseIsDeaf() bool
	// resumeReading ends a pause.
	resumeReading(l *Loop, fd int32) error

	// arm asks for one writable notice (mailbox.postWritable) when the socket has room again or,
	// in any case, when it has failed. room says whether room is of interest; armed whether the
	// descriptor has been armed before.
	arm(fd int32, ref Ref, room, armed bool) error
	// disarm forgets a descriptor whose file lives on under another number.
	disarm(fd int32)

	// shutdown closes the writing side.
	shutdown(fd int32) error
	// dup returns another descriptor of the same file.
	dup(fd int32) (int32, error)
	// close closes a descriptor that dup made.
	close(fd int32)
}
