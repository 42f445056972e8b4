package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
)

// A link is one worker's connection.
type link struct {
	hub       *Hub
	conn      net.Conn
	peer      string
	outbox    *outbox
	publisher *engine.Publisher // the reader's
	requests  inflight
	replies   replies // gathered by the reader

	// Set by the reader when the link registers; registerID and takesRequests are read by others
	// only once the link is in its group.
	registerID    string
	workerID      int
	registered    bool // has been, which is for once
	takesRequests bool

	// unsettled is set while commands that change clients may not have reached their loops.
	unsettled bool
	renamed   bool         // and one of them may have changed ids
	said      atomic.Bool  // everything is written, and the worker was told that nothing follows
	lastSay   atomic.Int64 // when complain last logged, in unix seconds
	decoded   decoded
	refs      []engine.Ref // of the present multicast
}

func newLink(h *Hub, conn net.Conn, id uint32) *link {
	l := &link{
		hub:       h,
		conn:      conn,
		peer:      conn.RemoteAddr().String(),
		outbox:    newOutbox(h.config.Queue),
		publisher: h.gateway.Engine().NewPublisher(),
	}
	l.registerID = fmt.Sprintf("%08x%s", id, l.peer)
	l.requests.init(h)
	return l
}

// run serves the link until it ends.
func (l *link) run() {
	defer l.hub.readers.Done()
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		l.write()
	}()
	err := l.read()
	l.hub.forget(l)
	_ = l.flushReplies() // an error means that the gateway is stopping
	l.publisher.Flush()
	l.outbox.close()
	lost := l.requests.fail()
	l.hub.stats.lostReplies.Add(uint64(lost))
	// The answers to what the worker asked before are still written, if it takes them soon.
	cut := time.AfterFunc(lastWords, func() { l.conn.Close() })
	writer.Wait()
	l.discard()
	cut.Stop()
	l.conn.Close()
	l.hub.mu.Lock()
	delete(l.hub.links, l)
	l.hub.mu.Unlock()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || l.said.Load() {
		err = nil
	}
	l.hub.log.Info("worker link ended", "peer", l.peer, "workerId", l.workerID, "lost requests", lost, "err", err)
}

// write is the writer goroutine: it ends when the outbox is closed and empty, or the worker takes
// nothing.
func (l *link) write() {
	err := l.outbox.write(l.conn, l.hub.config.WriteTimeout, func(bytes int) {
		l.hub.stats.writeDrops.Add(uint64(bytes))
		l.hub.log.Warn("a worker takes nothing: messages dropped", "peer", l.peer, "bytes", bytes)
	})
	if err != nil {
		l.hub.log.Info("writing to a worker", "peer", l.peer, "err", err)
		l.outbox.close()
		l.conn.Close() // the reader ends too
		return
	}
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	// The worker hears of the end. What it has sent by then is worked off, and it has a while to
	// close its side: a socket closed with input unread would take what the worker has not read
	// yet with it.
	l.said.Store(true)
	_ = l.conn.SetReadDeadline(time.Now().Add(farewell))
}

// discard reads what a worker still says to a link that is over.
func (l *link) discard() {
	if l.conn.SetReadDeadline(time.Now().Add(farewell)) == nil {
		_, _ = io.Copy(io.Discard, l.conn)
	}
}

// drain ends the link when what waits for the worker is written.
func (l *link) drain() {
	l.hub.forget(l)
	l.outbox.close()
}

const (
	// farewell is how long a worker may be silent, and leave its side open, when the gateway has
	// ended the link.
	farewell = 200 * time.Millisecond
	// lastWords is how long a worker that has ended the link, or broken the protocol, may take to
	// read what waits for it.
	lastWords = time.Second
)

const (
	readBuffer = 64 << 10
	// keepBuffer is how big a read buffer may stay after a big frame.
	keepBuffer = 1 << 20
)

// read works off frames until the link ends.
func (l *link) read() error {
	buf := make([]byte, 0, readBuffer)
	start := 0
	for {
		// Everything whole that is there, then what it amounted to goes out.
		for {
			body, n, err := netsvr.ParseFrame(buf[start:], l.hub.config.MaxPacket)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if err := l.handle(body); err != nil {
				return err
			}
			start += n
		}
		if err := l.flushReplies(); err != nil {
			return err
		}
		l.publisher.Flush()

		switch rest := buf[start:]; {
		case len(rest) == 0:
			if buf = buf[:0]; cap(buf) > keepBuffer {
				buf = make([]byte, 0, readBuffer)
			}
			start = 0
		case start > 0 && cap(buf)-len(buf) < readBuffer/2:
			buf = buf[:copy(buf[:cap(buf)], rest)]
			start = 0
		}
		if want, _ := netsvr.FrameSize(buf[start:], l.hub.config.MaxPacket); cap(buf)-start < want || len(buf) == cap(buf) {
			// Grown as the frame arrives, not as it is announced.
			size := min(max(want, readBuffer), 2*(len(buf)-start)+readBuffer)
			grown := make([]byte, len(buf)-start, size)
			copy(grown, buf[start:])
			buf, start = grown, 0
		}
		if err := l.conn.SetReadDeadline(time.Now().Add(l.hub.config.Idle)); err != nil {
			return err
		}
		if l.said.Load() { // after the deadline above, which may have replaced the writer's
			if err := l.conn.SetReadDeadline(time.Now().Add(farewell)); err != nil {
				return err
			}
		}
		n, err := l.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("silent for %v: %w", l.hub.config.Idle, err)
			}
			return err
		}
	}
}

// handle carries out one frame. An error ends the link.
func (l *link) handle(body []byte) (err error) {
	l.hub.stats.commands.Add(1)
	defer func() {
		if r := recover(); r != nil {
			l.hub.log.Error("panic in a worker's command", "panic", r, "stack", string(debug.Stack()))
			err = errors.New("internal error")
		}
	}()
	cmd, payload := netsvr.V2.Split(body)
	if cmd != netsvr.CmdReply {
		if err := l.flushReplies(); err != nil {
			return err
		}
	}
	switch cmd.Class() {
	case netsvr.ClassHeartbeat:
		if cmd == netsvr.CmdPing {
			l.outbox.put(netsvr.V2.AppendPong)
		}
		return nil
	case netsvr.ClassOneWay:
		err = l.command(cmd, payload)
	case netsvr.ClassQuery:
		err = l.query(cmd, payload)
	default:
		l.hub.stats.unknown.Add(1)
		return fmt.Errorf("unknown command %v", cmd)
	}
	if errors.Is(err, netsvr.ErrMalformed) {
		// The link stays: one-way commands are ignored, queries are not answered.
		l.hub.stats.malformed.Add(1)
		l.hub.log.Warn("undecodable command", "peer", l.peer, "command", cmd.String(), "err", err)
		return nil
	}
	return err
}

// send queues one frame for the worker and returns its size in bytes; false means that the queue
// is full.
func (l *link) send(cmd netsvr.Command, encode func(dst []byte) []byte) (size int, ok bool) {
	ok = l.outbox.put(func(dst []byte) []byte {
		start := len(dst)
		framed, err := netsvr.EndFrame(encode(netsvr.V2.BeginFrame(dst, cmd)), start, 0)
		if err != nil {
			return dst[:start]
		}
		size = len(framed) - start
		return framed
	})
	return size, ok
}

// answer queues the answer to a query. It must not be lost, so the reader waits for room, which
// also keeps a worker that asks without reading from asking more.
func (l *link) answer(cmd netsvr.Command, encode func(dst []byte) []byte) error {
	// Encoded before the outbox is locked: lists can be long, and loops use the outbox too.
	return l.answerThen(cmd, encode(nil), func() {})
}

// answerThen is answer with a message that is encoded. It calls then when the answer is queued and
// before the worker can have it, or anything be queued behind it.
func (l *link) answerThen(cmd netsvr.Command, message []byte, then func()) error {
	encode := func(dst []byte) []byte {
		then()
		return append(dst, message...)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if _, ok := l.send(cmd, encode); ok {
			return nil
		}
		if l.outbox.isClosed() {
			return nil // the gateway is ending the link: nobody waits for answers any more
		}
		time.Sleep(pause)
	}
}

// hasRoom reports whether a frame sent now would be queued.
func (l *link) hasRoom() bool { return l.outbox.room() }

// complain logs that the worker does not keep up, once a second at most.
func (l *link) complain(cmd netsvr.Command) {
	now := time.Now().Unix()
	if last := l.lastSay.Load(); last != now && l.lastSay.CompareAndSwap(last, now) {
		l.hub.log.Warn("a worker does not keep up: messages dropped", "peer", l.peer, "command", cmd.String())
	}
}
