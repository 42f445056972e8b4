package link

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/notsent"
)

// A link is one worker's connection.
type link struct {
	hub       *Hub
	id        uint32
	conn      net.Conn
	peer      string
	host      netip.Addr // of the peer, by address.Key
	begun     time.Time
	first     []byte      // read before it was a link; the reader's
	heard     atomic.Bool // it has sent something
	evicted   bool        // guarded by Hub.mu
	outbox    *outbox
	publisher *engine.Publisher // the reader's
	input     int               // bytes charged for the reader's buffers
	delayed   delayedOwner

	// Set by the reader when the link registers; registerID and what the worker can do are read
	// by others only once the link is in its group.
	registerID    string
	workerID      int
	registered    bool // has been, which is for once
	ours          bool // has shown that it speaks dialect 2.0.2, and not another
	bare          bool // registered with a worker id up to 7 and nothing else
	maybeForeign  bool // and there are signs that it is an events mask of protocol 6
	takesRequests bool
	wantsIdentity bool
	answersProbes bool

	// Of the reader: what comes is for the whole cluster, what of it other nodes have yet to confirm,
	// whether messages have gone to topics since it was known that others have passed them on, and whether
	// an answer is kept in captured in place of being sent.
	scope      bool
	published  bool
	changesFar farChanges
	capture    bool
	captured   []byte

	changing    bool // commands that change clients may not have reached their loops
	renaming    bool // and one of them may have changed ids
	subscribing bool // clients may have yet to be told of their subscriptions
	settling    settling
	finished    atomic.Bool   // all is written, and our side of the stream is closed
	why         atomic.Uint32 // an endReason, of whoever ends the link on our side before its reader does
	progress    progress
	pace        pace
	sent        atomic.Uint64 // messages, requests and events that its writer has taken
	given       atomic.Bool   // it was given requests

	_        [64]byte      // loops look at what is before for each request, the reader writes what follows for each frame
	received atomic.Uint64 // frames from the worker
	replies  replies       // gathered by the reader
	decoded  decoded
	refs     []engine.Ref // of the present multicast
}

func newLink(h *Hub, conn net.Conn, id uint32) *link {
	l := &link{
		hub:       h,
		id:        id,
		conn:      conn,
		begun:     time.Now(),
		outbox:    newOutbox(h.config.Queue),
		publisher: h.newPublisher(),
	}
	notsent.Limit(socketOf(conn), batchSize) // a batch, so that the network does not wait for us
	l.outbox.charge = func(n int) { h.charge(engine.KindLinkQueue, n) }
	return l
}

// Why a link ended that its worker did nothing wrong on.
var (
	errPanic  = ends(endPanic, "a panic in a command")
	errGoexit = ends(endPanic, "a command ended its goroutine")
	errCutOff = ends(endCutOff, "the gateway has stopped meanwhile")
)

// run serves the link until it ends. Whatever a command does to the reader's goroutine, the link
// ends like any other.
func (l *link) run() {
	var writer sync.WaitGroup
	writer.Go(l.write)
	err := errGoexit
	defer func() {
		if r := recover(); r != nil {
			err = l.panicked(r)
		} else if err == errGoexit {
			l.hub.stats.panics.Add(1)
			l.hub.log.Error("a worker's command ended its goroutine", "peer", l.peer, "workerId", l.workerID)
		}
		l.end(err, &writer)
	}()
	err = l.read()
}

// panicked counts and logs a panic of a command.
func (l *link) panicked(r any) error {
	l.hub.stats.panics.Add(1)
	l.hub.log.Error("panic in a worker's command", "peer", l.peer, "workerId", l.workerID,
		"panic", r, "stack", string(debug.Stack()))
	return errPanic
}

// end takes the link apart once its reader is done.
func (l *link) end(err error, writer *sync.WaitGroup) {
	l.endWith(endOf(err))
	why := endReason(l.why.Load())
	l.hub.forget(l)
	l.flushLast()
	l.outbox.close()
	l.hub.moveWaiting(l)
	l.failRequests()
	// The answers to what the worker asked before are still written, if it takes them soon.
	cut := time.AfterFunc(flushTimeout, func() { l.conn.Close() })
	writer.Wait()
	l.discard()
	cut.Stop()
	l.conn.Close()
	l.outbox.release()
	l.chargeInput(0)
	l.logEnd(err, why)
	l.hub.mu.Lock()
	delete(l.hub.links, l)
	l.hub.mu.Unlock()
}

// logEnd counts and logs why the link ended.
func (l *link) logEnd(err error, why endReason) {
	l.hub.ended[why].Add(1)
	level := slog.LevelWarn
	if why.ordinary() {
		level = slog.LevelInfo
	}
	if why.ordinary() || endOf(err) != why {
		err = nil // of the second kind is what the reader met because we had ended the link
	}
	attrs := []slog.Attr{
		slog.String("reason", why.String()), slog.String("peer", l.peer),
		slog.Int("workerId", l.workerID), slog.Uint64("link", uint64(l.id)),
	}
	if err != nil && err.Error() != why.String() && !errors.Is(err, net.ErrClosed) { // closed by us
		attrs = append(attrs, slog.String("err", err.Error()))
	}
	l.hub.log.LogAttrs(context.Background(), level, "worker link ended", attrs...)
}

// endWith says why our side ends the link; the first who does is right.
func (l *link) endWith(why endReason) { l.why.CompareAndSwap(uint32(endUnknown), uint32(why)) }

// flushLast passes on what the commands before the end amounted to.
func (l *link) flushLast() {
	defer func() {
		if r := recover(); r != nil {
			_ = l.panicked(r)
		}
	}()
	_ = l.flushReplies() // an error means that the gateway is stopping
	l.publisher.Flush()
}

// write is the writer goroutine: it ends when the outbox is closed and empty, or the worker takes
// nothing.
func (l *link) write() {
	l.outbox.began = func(under bool) {
		at := int64(0)
		if under {
			at = l.hub.now()
		}
		l.progress.writing.Store(at)
	}
	l.outbox.took = func(t tally) {
		l.sent.Add(uint64(t.frames))
		l.hub.metrics.add(metricFrames, int64(t.frames))
		l.hub.metrics.add(metricFrameBytes, int64(t.bytes))
	}
	err := l.outbox.write(l.conn, l.hub.live.Load().writeTimeout, func(bytes int) {
		l.hub.stats.writeDrops.Add(uint64(bytes))
		l.hub.log.Warn("a worker takes nothing: messages dropped",
			"peer", l.peer, "bytes", bytes)
	})
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			l.endWith(endWriteTimeout)
		} else {
			l.endWith(endOf(err))
		}
		l.outbox.close()
		l.conn.Close() // the reader ends too
		return
	}
	if half, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	// The worker hears of the end, and has a while to close its side: a socket closed with input
	// unread would take what the worker has not read yet with it.
	l.finished.Store(true)
	_ = l.conn.SetReadDeadline(time.Now().Add(lingerTimeout))
}

// discard reads what a worker still sends on a link that has ended.
func (l *link) discard() {
	if l.conn.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
		_, _ = io.Copy(io.Discard, l.conn)
	}
}

// drain ends the link when what waits for the worker is written.
func (l *link) drain() {
	l.endWith(endShutdown)
	l.hub.forget(l)
	l.outbox.close()
}

const (
	// lingerTimeout is how long a worker may be silent, and leave its side open, when the gateway
	// has ended the link.
	lingerTimeout = 200 * time.Millisecond
	// flushTimeout is how long a worker that has ended the link, or broken the protocol, may take
	// to read what waits for it.
	flushTimeout = time.Second
)

// read works off frames until the link ends.
func (l *link) read() error {
	frames := newFrameReader(l.hub.live.Load().maxPacket)
	frames.filled(copy(frames.space(), l.first))
	l.heard.Store(len(l.first) > 0)
	l.first = nil
	size := frames.size()
	var finished time.Time // when the reader has seen that the link is
	for {
		// Everything whole that is there, then what it amounted to goes out.
		for {
			body, err := frames.next()
			if err != nil {
				return err
			}
			if body == nil {
				break
			}
			if err := l.handle(body); err != nil {
				return err
			}
			if d := l.pace.take(&l.hub.rates, 4+len(body)); d > 0 {
				if err := l.pause(d); err != nil {
					return err
				}
			}
		}
		if err := l.flushReplies(); err != nil {
			return err
		}
		l.publisher.Flush()

		space := frames.space()
		if frames.size() != size { // what was decoded points into a buffer that is no longer used
			size, l.decoded = frames.size(), decoded{}
		}
		l.refs = kept(l.refs)
		l.chargeInput(size + l.decoded.trim() + cap(l.refs)*int(unsafe.Sizeof(engine.Ref(0))))
		live := l.hub.live.Load()
		silence := live.idle
		if !l.heard.Load() {
			silence = live.firstByte
		}
		if err := l.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		if l.finished.Load() { // after the deadline above, which may have replaced the writer's
			switch now := time.Now(); {
			case finished.IsZero():
				finished = now
			case now.Sub(finished) > flushTimeout: // it sends on and on
				return io.EOF
			}
			if err := l.conn.SetReadDeadline(time.Now().Add(lingerTimeout)); err != nil {
				return err
			}
		}
		n, err := l.conn.Read(space)
		frames.filled(n)
		if n > 0 {
			l.noteHeard()
		}
		if n > 0 && !l.heard.Load() {
			l.heard.Store(true)
		}
		if err != nil && n == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return ends(endSilent, "silent for %v", silence)
			}
			return err
		}
	}
}

// chargeInput charges for the reader's buffers, which are now of so many bytes.
func (l *link) chargeInput(bytes int) {
	if bytes != l.input {
		l.hub.charge(engine.KindLinkInput, bytes-l.input)
		l.input = bytes
	}
}

// handle carries out one frame. An error ends the link.
func (l *link) handle(body []byte) (err error) {
	switch endReason(l.why.Load()) {
	case endCutOff:
		return errCutOff
	case endShutdown:
		return nil // the clients have gone, and nobody will have an answer
	}
	l.hub.stats.commands.Add(1)
	l.received.Add(1)
	defer func() {
		if r := recover(); r != nil {
			err = l.panicked(r)
		}
	}()
	if f := netsvr.V2.ForeignBody(body); f != netsvr.NotForeign {
		return l.foreign(f, body)
	}
	cmd, payload := netsvr.V2.Split(body)
	if cmd != netsvr.CmdReply {
		if err := l.flushReplies(); err != nil {
			return err
		}
	}
	switch cmd.Class() {
	case netsvr.ClassHeartbeat:
		if cmd == netsvr.CmdPong {
			return ends(endPong, "the worker sent %s, which only a gateway does", netsvr.V2.Pong())
		}
		l.ours = true
		if !l.outbox.put(netsvr.V2.AppendPong) {
			l.hub.stats.queueFull.Add(1)
		}
		return nil
	case netsvr.ClassEvent:
		l.hub.stats.unknown.Add(1)
		return ends(endWrongDirection, "the worker sent %v, which only a gateway does", cmd)
	case netsvr.ClassOneWay:
		if l.scoped() {
			err = l.forward(cmd, payload)
		}
		if err == nil {
			err = l.command(cmd, payload)
		}
	case netsvr.ClassQuery:
		err = l.query(cmd, payload)
	default:
		l.hub.stats.unknown.Add(1)
		return ends(endUnknownCommand, "unknown command %d", commandNumber(body))
	}
	if errors.Is(err, netsvr.ErrMalformed) {
		// The link stays: one-way commands are ignored, queries are not answered.
		l.hub.stats.malformed.Add(1)
		l.hub.log.Warn("undecodable command",
			"peer", l.peer, "command", cmd.String(), "err", err)
		return nil
	}
	return err
}

// commandNumber is the number at the front of a body.
func commandNumber(body []byte) uint32 {
	if len(body) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(body)
}

// appendFrame writes a message as a frame after dst.
func appendFrame(dst []byte, cmd netsvr.Command, encode func(dst []byte) []byte) []byte {
	start := len(dst)
	framed, err := netsvr.EndFrame(encode(netsvr.V2.BeginFrame(dst, cmd)), start, 0)
	if err != nil {
		return dst[:start]
	}
	return framed
}

// send queues one frame of the gateway's own for the worker, if last is set behind all that waits
// for it; false means that the queue is full.
func (l *link) send(cmd netsvr.Command, last bool, encode func(dst []byte) []byte) (ok bool) {
	frame := func(dst []byte) []byte { return appendFrame(dst, cmd, encode) }
	if last {
		return l.outbox.putLast(frame)
	}
	return l.outbox.put(frame)
}

// sendEvent queues what the worker is told of a client; false means that the queue is full.
func (l *link) sendEvent(client uint64, cmd netsvr.Command, encode func(dst []byte) []byte) (ok bool) {
	return l.outbox.putEvent(client, func(dst []byte) []byte { return appendFrame(dst, cmd, encode) })
}

// sendFor is sendEvent for a frame of about estimate bytes that a client caused: false means that
// the queue is full or the client has its share of it.
func (l *link) sendFor(
	client uint64, estimate int, cmd netsvr.Command, encode func(dst []byte) []byte,
) (ok bool) {
	return l.outbox.putFor(client, estimate, func(dst []byte) []byte { return appendFrame(dst, cmd, encode) })
}

// hasRoom reports whether a frame sent now would be queued.
func (l *link) hasRoom() bool { return l.outbox.room() }

// warnCongested logs that the worker does not keep up.
func (l *link) warnCongested(cmd netsvr.Command) {
	l.hub.log.Warn("a worker does not keep up: messages dropped",
		"peer", l.peer, "command", cmd.String())
}
