package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

const (
	readBuffer = 64 << 10
	keepBuffer = 1 << 20 // what a reader keeps after a long frame

	// writeChunk is what one write carries at most: callers that wait for room go on after each.
	writeChunk = 256 << 10
)

// A conn is one life of a Link: from a successful dial to the first error.
type conn struct {
	link    *Link
	nc      net.Conn
	out     outbox
	waiting waiting
	wg      sync.WaitGroup // reader and writer
	ended   chan struct{}  // the reader has met the end

	once sync.Once
	done chan struct{} // closed when lost
	err  error         // why; to be read after done
}

func newConn(l *Link, nc net.Conn) *conn {
	c := &conn{link: l, nc: nc, done: make(chan struct{}), ended: make(chan struct{})}
	c.out.init(l.worker.config.Outbox)
	c.wg.Go(c.read)
	c.wg.Go(c.write)
	return c
}

// close ends c because of err; only the first call counts.
func (c *conn) close(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		c.nc.Close()
		c.out.close(ErrLinkLost)
		c.waiting.fail(ErrLinkLost)
		c.link.inbox.wake()
	})
}

func (c *conn) lost() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// read runs on the reader's goroutine.
func (c *conn) read() {
	err := c.readFrames()
	close(c.ended)
	c.close(err)
}

func (c *conn) readFrames() error {
	config := &c.link.worker.config
	var dec decoder
	buf, have := make([]byte, readBuffer), 0
	for {
		if err := c.nc.SetReadDeadline(time.Now().Add(3 * config.Heartbeat)); err != nil {
			return err
		}
		n, err := c.nc.Read(buf[have:])
		have += n
		if err != nil && n == 0 {
			return err
		}
		used, frame := 0, []byte(nil)
		for {
			frame, n, err = netsvr.ParseFrame(buf[used:have], config.MaxAnswer)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrProtocol, err)
			}
			if n == 0 {
				break
			}
			used += n
			if err := c.receive(&dec, frame); err != nil {
				return err
			}
		}
		have = copy(buf, buf[used:have])
		buf = resize(buf, have, config.MaxAnswer)
	}
}

// resize makes room behind the beginning of a frame. It doubles as bytes arrive: a length alone
// makes nobody allocate.
func resize(buf []byte, have, limit int) []byte {
	switch {
	case have == len(buf):
		size, _ := netsvr.FrameSize(buf, limit) // was good a moment ago
		longer := make([]byte, max(min(2*len(buf), size), readBuffer))
		copy(longer, buf)
		return longer
	case have == 0 && len(buf) > keepBuffer:
		return make([]byte, readBuffer)
	}
	return buf
}

// receive takes one frame, which is the reader's again when it returns. An error ends the link.
func (c *conn) receive(dec *decoder, frame []byte) error {
	w := c.link.worker
	cmd, payload := netsvr.V2.Split(frame)
	switch {
	case cmd.Class() == netsvr.ClassHeartbeat:
		return nil
	case cmd == netsvr.CmdProbe:
		c.ping()
		return nil
	case cmd.Class() == netsvr.ClassQuery:
		asked, err := c.waiting.answer(cmd, payload)
		if !asked {
			if err := unasked(cmd, payload); err != nil {
				return err
			}
			return fmt.Errorf("%w: answer to %v, which nobody asked", ErrProtocol, cmd)
		}
		if err != nil {
			w.stats.malformed.Add(1)
		}
		return nil
	case cmd.Class() != netsvr.ClassEvent:
		return fmt.Errorf("%w: command %v", ErrProtocol, cmd)
	}
	e, uniqID, err := dec.event(c, cmd, payload)
	if err != nil {
		w.stats.malformed.Add(1)
		w.log.Warn("unreadable frame", "gateway", c.link.gateway.addr, "error", err)
		return nil
	}
	if e == nil {
		return nil
	}
	t := task{event: e, inbox: &c.link.inbox, cost: len(frame) + eventCost}
	if !t.inbox.admit(t.cost, c) {
		t.inbox.release(t.cost)
		return ErrLinkLost
	}
	if !w.lanes.push(uniqID, t) {
		t.inbox.release(t.cost)
		w.stats.refused.Add(1)
		if r, ok := e.(*Request); ok {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			r.reply(ctx, nil, errStopping)
		}
	}
	return nil
}

// unasked returns the refusal that a gateway sends to who has shown no token and asks for something
// else than to be registered, before it closes the connection. It returns nil for any other answer.
func unasked(cmd netsvr.Command, payload []byte) error {
	var resp netsvrpb.RegisterResp
	if cmd != netsvr.CmdRegister || netsvr.Unmarshal(payload, &resp) != nil || resp.GetCode() != netsvrpb.RegisterResp_TokenMissing {
		return nil
	}
	return registerError(&resp)
}

// write runs on the writer's goroutine.
func (c *conn) write() {
	var batch []byte
	for {
		var err error
		if batch, err = c.out.take(batch); err != nil {
			return
		}
		for rest := batch; len(rest) > 0; {
			n, err := c.writeSome(rest[:min(len(rest), writeChunk)])
			c.out.wrote(n)
			if err != nil {
				c.close(fmt.Errorf("write: %w", err))
				return
			}
			rest = rest[n:]
		}
	}
}

// writeSome writes b or, if the gateway is slow, a part of it. A gateway that takes nothing at all
// within WriteTimeout is an error.
func (c *conn) writeSome(b []byte) (int, error) {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.link.worker.config.WriteTimeout)); err != nil {
		return 0, err
	}
	n, err := c.nc.Write(b)
	if n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// ping never waits: a full outbox is going to be written, which says as much.
func (c *conn) ping() {
	c.out.mu.Lock()
	if c.out.err != nil {
		c.out.mu.Unlock()
		return
	}
	c.out.unlock(netsvr.V2.AppendPing(c.out.buf))
}

// reply answers r.
func (c *conn) reply(ctx context.Context, r *Request, status int32, payload []byte, message string) error {
	b, err := c.out.lock(ctx, &c.link.inbox)
	if err != nil {
		return err
	}
	start := len(b)
	m := netsvr.Reply{UniqID: []byte(r.UniqID), ID: r.id, Status: status, Payload: payload, Message: []byte(message)}
	b = m.Append(netsvr.V2.BeginFrame(b, netsvr.CmdReply))
	b, err = netsvr.EndFrame(b, start, c.link.worker.config.MaxFrame)
	c.out.unlock(b)
	return err
}

// send queues a command with a message that is not worth a method of its own.
func (c *conn) send(ctx context.Context, cmd netsvr.Command, m proto.Message) error {
	b, err := c.out.lock(ctx, &c.link.inbox)
	if err != nil {
		return err
	}
	b, err = c.frame(b, cmd, m)
	c.out.unlock(b)
	return err
}

// frame appends a frame, or on an error nothing.
func (c *conn) frame(b []byte, cmd netsvr.Command, m proto.Message) ([]byte, error) {
	start := len(b)
	b = netsvr.V2.BeginFrame(b, cmd)
	if m != nil {
		var err error
		if b, err = netsvr.AppendMessage(b, m); err != nil {
			return b[:start], err
		}
	}
	return netsvr.EndFrame(b, start, c.link.worker.config.MaxFrame)
}

// ask sends a query and waits for its answer.
func (c *conn) ask(ctx context.Context, cmd netsvr.Command, question, answer proto.Message) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.link.worker.config.QueryTimeout)
		defer cancel()
	}
	b, err := c.out.lock(ctx, &c.link.inbox)
	if err != nil {
		return err
	}
	start := len(b)
	q := &call{cmd: cmd, answer: answer, done: make(chan error, 1)}
	if b, err = c.frame(b, cmd, question); err == nil {
		if err = c.waiting.add(q); err != nil {
			b = b[:start]
		}
	}
	c.out.unlock(b)
	if err != nil {
		return err
	}
	c.link.inbox.urge()
	defer c.link.inbox.calm()
	select {
	case err := <-q.done:
		return err
	case <-ctx.Done():
		c.waiting.leave(q, time.Now())
		return ctx.Err()
	}
}
