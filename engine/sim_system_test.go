package engine

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// The simulated system: a clock, sockets, timers and gnet's loops. Everything is done by one
// goroutine, the driver's, and every choice comes from the world's random numbers.

// A simFile is an accepted connection: the server's socket and the peer's end of it.
type simFile struct {
	w      *simWorld
	client *simClient
	loop   *simLoop
	conn   *simConn // gnet's
	open   int      // descriptors of it
	name   int32    // its first descriptor, for reports

	// From the server to the client. Positions are counted from the connection's beginning:
	// parsed <= read <= delivered <= sent, and acked <= delivered.
	buf       []byte // from buf[head] on: parsed to sent
	head      int
	parsed    int64
	read      int64 // taken by the client
	delivered int64 // in the client's socket
	acked     int64
	sent      int64
	sendCap   int
	window    int
	latency   int64 // us
	finSent   bool
	finSeen   bool  // by the client's system
	tookAt    int64 // us, when the socket last took bytes or the peer acknowledged some
	servedAt  int64 // us, when it last did while its connection was congested
	seen      *Conn // the engine's, once the checks have met it
	cut       bool  // the engine could not dup it: what was to be sent is lost

	// From the client to the server.
	tx        []byte // in the client's socket
	rx        []byte // in the server's
	rxHead    int
	finAsked  bool // the client has closed its writing side
	finIn     bool // and the server's system knows
	gone      bool // the client has closed its socket: what it is sent is answered with a reset
	local     bool // a unix socket, which tells of that at once
	lines     int  // that the client has sent
	broken    syscall.Errno
	brokenAt  int64
	clientRst bool // the server's system has reset the connection

	paused  bool
	ready   bool // in loop.ready
	netDue  bool // an evNet is under way
	sendDue bool // an evSend is under way
	arms    []simArm
}

type simArm struct {
	fd    int32
	ref   Ref
	armed bool
	room  bool
	due   bool // an evNotice is under way
}

// simConn is gnet's side of a connection.
type simConn struct {
	gnet.Conn // nil: what the engine does not use would panic
	el        *simEventLoop
	file      *simFile
	fd        int32
	ctx       any
	in        []byte
	inHead    int
	closed    bool
	opened    bool
	remote    net.TCPAddr
	local     net.TCPAddr
}

func (c *simConn) Context() any              { return c.ctx }
func (c *simConn) SetContext(ctx any)        { c.ctx = ctx }
func (c *simConn) EventLoop() gnet.EventLoop { return c.el }
func (c *simConn) Fd() int                   { return int(c.fd) }
func (c *simConn) InboundBuffered() int      { return len(c.in) - c.inHead }
func (c *simConn) LocalAddr() net.Addr       { return &c.local }
func (c *simConn) RemoteAddr() net.Addr      { return &c.remote }

func (c *simConn) Peek(n int) ([]byte, error) {
	if n > c.InboundBuffered() {
		return nil, io.ErrShortBuffer
	}
	if n <= 0 {
		n = c.InboundBuffered()
	}
	return c.in[c.inHead : c.inHead+n : c.inHead+n], nil
}

func (c *simConn) Discard(n int) (int, error) {
	if have := c.InboundBuffered(); n <= 0 || n >= have {
		n = have
	}
	gone := c.in[c.inHead : c.inHead+n]
	for i := range gone {
		gone[i] = 0xDB // a slice from Peek dies here
	}
	c.inHead += n
	if c.inHead == len(c.in) {
		c.in, c.inHead = c.in[:0], 0
	}
	return n, nil
}

type simEventLoop struct {
	gnet.EventLoop // nil
	loop           *simLoop
}

func (el *simEventLoop) Execute(context.Context, gnet.Runnable) error {
	el.loop.tasks.Add(1)
	return nil
}

func (el *simEventLoop) Close(c gnet.Conn) error {
	el.loop.close(c.(*simConn), nil)
	return nil
}

// A simLoop is what gnet has for a loop: what is ready, and tasks.
type simLoop struct {
	w        *simWorld
	loop     *Loop
	index    int
	gnet     simEventLoop
	pairConn *simConn
	ready    []*simFile
	batch    []*simFile
	opening  []*simConn
	pair     bool
	tasks    atomic.Int64 // handshakes add to it from their goroutines
	stuck    int64        // us, until when it has no core

	tickAt   int64 // us, of tickAfter; 0: none
	seenDue  int64
	tickedAt int64 // ms

	freeRun   simRunRef // a deferred publish that may go, and since when
	freeSince int64
}

func (l *simLoop) hasWork() bool {
	return len(l.ready) > 0 || l.pair || l.tasks.Load() > 0 || len(l.opening) > 0
}

// poll is one round of gnet's loop.
func (l *simLoop) poll() {
	w := l.w
	w.wall.Store(w.clock)
	w.onLoop = l
	l.batch, l.ready = l.ready, l.batch[:0]
	batch := l.batch
	for i := len(batch) - 1; i > 0; i-- {
		j := w.pick(i + 1)
		batch[i], batch[j] = batch[j], batch[i]
	}
	for _, f := range batch {
		f.ready = false
		l.serve(f)
		w.settle()
	}
	if l.pair {
		l.pair = false
		w.events.OnTraffic(l.pairConn)
	}
	for len(l.opening) > 0 {
		c := l.opening[0]
		l.opening = l.opening[:copy(l.opening, l.opening[1:])]
		w.enrolling--
		c.opened = true
		if _, action := w.events.OnOpen(c); action == gnet.Close {
			l.close(c, nil)
		}
		l.wake(c.file)
		w.settle()
	}
	for n := 0; l.tasks.Load() > 0; n++ {
		if n > 100 {
			w.fail("P3: tasks of loop %d wake one another: its sockets starve", l.index)
			break
		}
		l.tasks.Add(-1)
		simRun(l.loop)
		w.settle()
	}
	w.onLoop = nil
}

// wake puts f among the ready if it is.
func (l *simLoop) wake(f *simFile) {
	c := f.conn
	if f.ready || c == nil || c.closed || !c.opened {
		return
	}
	if (f.broken != 0 || f.closedLocally()) && !(f.paused && l.w.deaf) || !f.paused && (len(f.rx) > f.rxHead || f.finIn) {
		f.ready = true
		l.ready = append(l.ready, f)
	}
}

// serve does what gnet does for a descriptor that epoll reports.
func (l *simLoop) serve(f *simFile) {
	c := f.conn
	if c == nil || c.closed { // by what was served before it
		return
	}
	w := l.w
	switch have := len(f.rx) - f.rxHead; {
	case f.paused && f.broken != 0 && !w.deaf:
		ref := simRefOf(c)
		l.close(c, io.EOF)
		if ref != 0 && !simGone(w.engine, ref) {
			w.fail("P8: client %d: a reset while reading was paused was taken for a half-close", f.client.index)
		}
		return
	case f.paused && f.closedLocally() && !w.deaf:
		l.close(c, io.EOF)
		return
	case f.paused:
		return
	case have > 0:
		n := min(have, 64<<10)
		c.in = append(c.in, f.rx[f.rxHead:f.rxHead+n]...)
		if f.rxHead += n; f.rxHead == len(f.rx) {
			f.rx, f.rxHead = f.rx[:0], 0
		}
		w.events.OnTraffic(c)
		if len(f.tx) > 0 || f.finAsked {
			f.sendLater(0)
		}
	case f.broken != 0:
		l.close(c, f.broken)
	case f.finIn:
		l.close(c, io.EOF)
	}
	l.wake(f)
}

func simRefOf(c *simConn) Ref {
	if k, ok := c.ctx.(*Conn); ok {
		return k.Ref()
	}
	return 0
}

func (l *simLoop) close(c *simConn, err error) {
	if c.closed {
		return
	}
	if c == l.pairConn {
		l.w.fail("P8: the pair of loop %d was closed", l.index)
		return
	}
	c.closed = true
	l.w.events.OnClose(c, err)
	l.w.closeFd(c.fd)
	c.file.conn = nil
	c.in, c.inHead = nil, 0
}

// Descriptors.

func (w *simWorld) newFd(f *simFile) int32 {
	f.open++
	if n := len(w.freeFds); n > 0 {
		fd := w.freeFds[n-1]
		w.freeFds = w.freeFds[:n-1]
		w.fds[fd] = f
		return fd
	}
	w.fds = append(w.fds, f)
	return int32(len(w.fds) - 1)
}

func (w *simWorld) closeFd(fd int32) {
	f := w.file(fd, "close")
	if f == nil {
		return
	}
	w.fds[fd] = nil
	w.freeFds = append(w.freeFds, fd)
	if f.open--; f.open > 0 {
		return
	}
	if *simTrace >= 0 {
		w.trace(f.client, "closed, %d sent, %d delivered", f.sent, f.delivered)
	}
	f.arms = f.arms[:0]
	if f.broken != 0 || f.gone {
		return
	}
	if len(f.rx) > f.rxHead || len(f.tx) > 0 { // unread input, or more of it comes: a reset
		f.clientRst = true
	}
	f.finSent = true
	f.netLater()
}

// file returns the open file called fd; a descriptor that is closed is nobody's business any more.
func (w *simWorld) file(fd int32, call string) *simFile {
	if fd < 0 || int(fd) >= len(w.fds) || w.fds[fd] == nil {
		w.fail("P8: %s of descriptor %d, which is closed", call, fd)
		return nil
	}
	return w.fds[fd]
}

// The system interface.

func (w *simWorld) now() int64 { return w.clock * 1000 }

func (w *simWorld) ms() int64 { return w.clock / 1000 }

// simEpochTime is when the simulated clock stands at 0.
var simEpochTime = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (w *simWorld) time() time.Time {
	return simEpochTime.Add(time.Duration(w.wall.Load()) * time.Microsecond)
}

// settle has goroutines beside the loops, of which a run of the engine alone has none, do what they
// were given to do.
func (w *simWorld) settle() {
	if w.settled != nil {
		w.settled()
	}
}

func (w *simWorld) sleep(d time.Duration) {
	if k := w.running; k != nil {
		k.sleep(d.Microseconds())
		return
	}
	w.checkLoopNeverWaits()
	w.loopSlept += d.Microseconds()
	w.elapse(d.Microseconds())
}

func (w *simWorld) tickAfter(l *Loop, d time.Duration) {
	w.loops[l.Index()].tickAt = w.clock + max(d.Microseconds(), 1)
}

func (w *simWorld) yield(l *Loop) { w.loops[l.Index()].pair = true }

func (w *simWorld) send(fd int32, p []byte, more bool) (int, syscall.Errno) {
	w.elapse(w.sendCost + int64(len(p))>>10*w.sendCost)
	f := w.file(fd, "send")
	switch {
	case f == nil:
		return 0, syscall.EBADF
	case len(p) == 0:
		w.fail("a send of nothing to client %d", f.client.index)
		return 0, 0
	case f.broken != 0:
		return 0, f.broken
	case f.finSent:
		w.fail("P8: client %d is sent something behind the FIN", f.client.index)
		return 0, syscall.EPIPE
	case f.closedLocally():
		return 0, syscall.EPIPE
	}
	if w.oneIn(w.opt.enobufs) {
		return 0, syscall.ENOBUFS
	}
	n := min(len(p), f.sendCap-int(f.sent-f.acked))
	if n <= 0 {
		if *simTrace >= 0 {
			w.trace(f.client, "fd %d is full: %d of %d are not acknowledged", fd, f.sent-f.acked, len(p))
		}
		return 0, syscall.EAGAIN
	}
	f.took()
	f.write(p[:n])
	if *simTrace >= 0 {
		w.trace(f.client, "fd %d is sent %d of %d", fd, n, len(p))
	}
	w.mix(uint64(n)<<32 | uint64(fd))
	f.netLater()
	return n, 0
}

// simRunFile is the descriptor of the first file of a run: no other descriptor is so high.
const simRunFile = 1 << 20

func (w *simWorld) newFile(p []byte) (int32, bool) {
	if w.oneIn(w.opt.enobufs) {
		return -1, false
	}
	place := slices.IndexFunc(w.runFiles, func(b []byte) bool { return b == nil })
	if place < 0 {
		place = len(w.runFiles)
		w.runFiles = append(w.runFiles, nil)
	}
	w.runFiles[place] = bytes.Clone(p)
	return simRunFile + int32(place), true
}

func (w *simWorld) sendFile(fd, file int32, off int64, n int) (int, syscall.Errno) {
	place := int(file - simRunFile)
	if place < 0 || place >= len(w.runFiles) || w.runFiles[place] == nil {
		w.fail("a send of file %d, which is closed", file)
		return 0, syscall.EBADF
	}
	if off < 0 || off+int64(n) > int64(len(w.runFiles[place])) {
		w.fail("a send of %d from %d on of a file of %d bytes", n, off, len(w.runFiles[place]))
		return 0, syscall.EINVAL
	}
	w.saw.byFile++
	return w.send(fd, w.runFiles[place][off:off+int64(n)], false)
}

func (w *simWorld) closeFile(file int32) {
	place := int(file - simRunFile)
	if place < 0 || place >= len(w.runFiles) || w.runFiles[place] == nil {
		w.fail("file %d is closed twice", file)
		return
	}
	w.runFiles[place] = nil
}

func (w *simWorld) openFiles() (n int) {
	for _, b := range w.runFiles {
		if b != nil {
			n++
		}
	}
	return n
}

func (f *simFile) write(p []byte) {
	if f.head > 4096 && f.head*2 > len(f.buf) {
		f.buf = f.buf[:copy(f.buf, f.buf[f.head:])]
		f.head = 0
	}
	f.buf = append(f.buf, p...)
	f.sent += int64(len(p))
}

func (w *simWorld) unread(fd int32) bool {
	f := w.file(fd, "unread")
	return f != nil && len(f.rx) > f.rxHead
}

func (w *simWorld) leftUnread(fd int32) ([]byte, bool) {
	f := w.file(fd, "leftUnread")
	if f == nil || !f.local {
		return nil, false
	}
	b := bytes.Clone(f.rx[f.rxHead:])
	f.rx, f.rxHead = f.rx[:0], 0
	return b, true
}

func (w *simWorld) unacked(fd int32) (int, bool) {
	f := w.file(fd, "unacked")
	if f == nil {
		return 0, false
	}
	return int(f.sent - f.acked), true
}

func (w *simWorld) broken(fd int32) bool {
	f := w.file(fd, "broken")
	return f == nil || f.broken != 0
}

func (w *simWorld) peer(fd int32) netip.AddrPort {
	f := w.file(fd, "peer")
	if f == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(1000+f.client.index))
}

func (w *simWorld) pauseReading(l *Loop, fd int32) bool {
	f := w.file(fd, "pauseReading")
	if f == nil || !w.canPause {
		return false
	}
	if f.conn == nil || f.conn.fd != fd {
		w.fail("pausing descriptor %d, which gnet does not poll", fd)
		return false
	}
	f.paused = true
	w.pauses++
	return true
}

func (w *simWorld) pauseIsDeaf() bool { return w.deaf }

func (w *simWorld) resumeReading(l *Loop, fd int32) error {
	f := w.file(fd, "resumeReading")
	if f == nil || f.conn == nil || f.conn.fd != fd {
		return syscall.ENOENT
	}
	f.paused = false
	f.loop.wake(f)
	return nil
}

func (w *simWorld) arm(fd int32, ref Ref, room, armed bool) error {
	f := w.file(fd, "arm")
	if f == nil {
		return syscall.EBADF
	}
	for i := range f.arms {
		if a := &f.arms[i]; a.fd == fd {
			if !armed {
				w.fail("descriptor %d of client %d is armed twice: EEXIST", fd, f.client.index)
				return syscall.EEXIST
			}
			a.ref, a.room, a.armed = ref, room, true
			f.notice()
			return nil
		}
	}
	if armed {
		w.fail("descriptor %d of client %d is not in the set: ENOENT", fd, f.client.index)
		return syscall.ENOENT
	}
	f.arms = append(f.arms, simArm{fd: fd, ref: ref, room: room, armed: true})
	f.notice()
	return nil
}

func (w *simWorld) disarm(fd int32) {
	f := w.file(fd, "disarm")
	if f == nil {
		return
	}
	for i := range f.arms {
		if f.arms[i].fd == fd {
			f.arms = append(f.arms[:i], f.arms[i+1:]...)
			return
		}
	}
}

// closedLocally reports whether f's client has closed a unix socket.
func (f *simFile) closedLocally() bool { return f.local && f.gone && f.finIn }

// hungUp reports whether epoll would report an error or a hang-up.
func (f *simFile) hungUp() bool {
	return f.broken != 0 || f.finSent && f.finIn || f.closedLocally()
}

func (f *simFile) hasRoom() bool {
	return f.broken != 0 || f.finSent || int(f.sent-f.acked)*3 <= f.sendCap*2
}

// notice has the notices that are due delivered a little later.
func (f *simFile) notice() {
	for i := range f.arms {
		a := &f.arms[i]
		if a.armed && !a.due && (f.hungUp() || a.room && f.hasRoom()) {
			a.due = true
			f.w.after(int64(f.w.pick(200)), evNotice, f, int64(a.fd))
		}
	}
}

// noticeNow delivers a notice.
func (f *simFile) noticeNow(fd int32) {
	for i := range f.arms {
		a := &f.arms[i]
		if a.fd != fd || !a.due {
			continue
		}
		if a.due = false; a.armed && (f.hungUp() || a.room && f.hasRoom()) {
			a.armed = false
			if *simTrace >= 0 {
				f.w.trace(f.client, "fd %d is writable", fd)
			}
			simPostWritable(f.w.engine, a.ref)
		}
		return
	}
}

func (w *simWorld) shutdown(fd int32) error {
	f := w.file(fd, "shutdown")
	switch {
	case f == nil:
		return syscall.EBADF
	case f.broken != 0:
		return syscall.ENOTCONN
	}
	f.finSent = true
	f.netLater()
	f.notice()
	return nil
}

func (w *simWorld) dup(fd int32) (int32, error) {
	f := w.file(fd, "dup")
	if f == nil {
		return -1, syscall.EBADF
	}
	if w.oneIn(w.opt.dupFails) {
		f.cut = true
		return -1, syscall.EMFILE
	}
	return w.newFd(f), nil
}

func (w *simWorld) close(fd int32) { w.closeFd(fd) }

// The network.

// netLater has the network look at f after its latency.
func (f *simFile) netLater() {
	if !f.netDue {
		f.netDue = true
		f.w.after(f.latency/2+int64(f.w.pick(int(f.latency)+1)), evNet, f, 0)
	}
}

// net acknowledges what was delivered last, and delivers more.
func (f *simFile) net() {
	f.netDue = false
	w := f.w
	if f.broken != 0 {
		f.notice()
		return
	}
	if f.gone {
		if f.sent > f.delivered {
			f.reset(syscall.ECONNRESET)
		}
		return
	}
	if f.delivered > f.acked {
		f.acked = f.delivered
		f.took()
		f.notice()
	}
	if f.clientRst { // what was on its way is lost
		f.client.onReset(f)
		return
	}
	n := min(f.sent-f.delivered, int64(f.window)-(f.delivered-f.read))
	if n > 1 && w.oneIn(4) {
		n = 1 + int64(w.pick(int(n)))
	}
	if n > 0 {
		f.delivered += n
	}
	fin := f.finSent && f.delivered == f.sent && !f.finSeen
	if fin {
		f.finSeen = true
	}
	if n > 0 || fin {
		f.client.onReadable(f)
	}
	if f.delivered > f.acked || f.sent > f.delivered && f.delivered-f.read < int64(f.window) {
		f.netLater()
	}
}

// reset breaks the connection from the client's side.
func (f *simFile) reset(errno syscall.Errno) {
	if f.broken != 0 || f.open == 0 {
		return
	}
	f.broken, f.brokenAt = errno, f.w.fair()
	f.w.resets = append(f.w.resets, f)
	f.loop.wake(f)
	f.notice()
}

// sendLater has the client's system send.
func (f *simFile) sendLater(d int64) {
	if !f.sendDue {
		f.sendDue = true
		f.w.after(d+int64(f.w.pick(int(f.latency)+1)), evSend, f, 0)
	}
}

// sendIn moves the client's bytes to the server's socket, cut anywhere.
func (f *simFile) sendIn() {
	f.sendDue = false
	w := f.w
	if f.open == 0 || f.broken != 0 {
		if f.open == 0 && f.broken == 0 && len(f.tx) > 0 && !f.gone {
			f.clientRst = true // nobody is there to read it
			f.netLater()
		}
		f.tx = f.tx[:0]
		return
	}
	n := min(len(f.tx), w.opt.rxCap-(len(f.rx)-f.rxHead))
	if n > 1 && w.oneIn(w.opt.cuts) {
		n = 1 + w.pick(n)
	}
	if n > 0 {
		if f.rxHead > 0 {
			f.rx = f.rx[:copy(f.rx, f.rx[f.rxHead:])]
			f.rxHead = 0
		}
		f.rx = append(f.rx, f.tx[:n]...)
		f.tx = f.tx[:copy(f.tx, f.tx[n:])]
	}
	if len(f.tx) == 0 && f.finAsked && !f.finIn {
		f.finIn = true
		f.notice()
	}
	f.loop.wake(f)
	if n > 0 && (len(f.tx) > 0 || f.finAsked && !f.finIn) {
		f.sendLater(1)
	}
}

// took notes that the peer takes bytes.
func (f *simFile) took() {
	f.tookAt = f.w.clock
	if c := f.seen; c != nil && c.fd >= 0 && f.w.fds[c.fd] == f && c.flags&flagCongested != 0 {
		f.servedAt = f.w.clock
	}
}
