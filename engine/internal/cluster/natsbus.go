package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// busRoom is how many messages may have arrived and wait to be taken, for all subscriptions.
const busRoom = 65_536

var errNotStarted = errors.New("cluster: not connected yet")

// A natsBus is a Bus on nats.go.
type natsBus struct {
	config   *NATSConfig
	role     string
	log      *slog.Logger
	messages chan *nats.Msg
	conn     atomic.Pointer[nats.Conn] // nil before start

	connected atomic.Bool
	ups       atomic.Uint64 // how often it has been confirmed that the connection is there
	reports   busReports
	changes   chan struct{} // a token: connected or ups have changed
	done      chan struct{} // closed by Close
	tells     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	subs     map[string]*nats.Subscription
	slow     map[*nats.Subscription]bool // that have dropped messages
	dropped  uint64                      // by subscriptions that are gone
	onChange func(bool)
	denied   error // the last thing that the server did not allow
	last     error // what the last attempt to connect came to, nil once there is a connection
	told     string
	since    time.Time // of the last change of connected
	closed   bool
}

// busReports count what becomes of a connection.
type busReports struct{ disconnects, reconnects, errors, denied atomic.Uint64 }

func (b *natsBus) counts() ConnStats {
	r := &b.reports
	return ConnStats{
		Disconnects: r.disconnects.Load(), Reconnects: r.reconnects.Load(), Errors: r.errors.Load(),
		Denied: r.denied.Load(),
	}
}

func newNATSBus(config *NATSConfig, role string) *natsBus {
	return &natsBus{
		config: config, role: role, log: config.Logger.With("connection", role),
		messages: make(chan *nats.Msg, busRoom), changes: make(chan struct{}, 1), done: make(chan struct{}),
		subs: make(map[string]*nats.Subscription), slow: make(map[*nats.Subscription]bool),
		since: time.Now(),
	}
}

// start begins to connect. It returns after the first attempt with each server.
func (b *natsBus) start() error {
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.tells.Go(b.tell)
	}
	b.mu.Unlock()
	if closed {
		return nats.ErrConnectionClosed
	}
	return b.dial()
}

// dial makes a connection, which has the subscriptions that there are.
func (b *natsBus) dial() error {
	options, err := b.config.options(b)
	if err != nil {
		return err
	}
	conn, err := nats.Connect(strings.Join(b.config.URLs, ","), options...)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		conn.Close()
		return nats.ErrConnectionClosed
	}
	for subject := range maps.Clone(b.subs) {
		sub, err := conn.ChanSubscribe(subject, b.messages)
		if err != nil {
			conn.Close()
			return err
		}
		b.subs[subject] = sub
	}
	b.conn.Store(conn)
	if conn.IsClosed() {
		b.redial()
	}
	return nil
}

// besides runs f on a goroutine, which Close waits for. It reports false when the bus is closed.
func (b *natsBus) besides(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.tells.Go(f)
	}
	return !b.closed
}

// await waits until the connection is there.
func (b *natsBus) await(ctx context.Context) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for !b.connected.Load() {
		if err := b.trouble(); err != nil && isRefusal(err) {
			return &RefusedError{err}
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			if err := b.trouble(); err != nil {
				return fmt.Errorf("cluster: no connection to NATS: %w", err)
			}
			return fmt.Errorf("cluster: no connection to NATS: %w", ctx.Err())
		}
	}
	return nil
}

// probe subscribes to and publishes on subjects, and asks what came of it.
func (b *natsBus) probe(hears, speaks []string) error {
	conn := b.conn.Load()
	heard := make(chan *nats.Msg, len(speaks)) // nobody looks at it
	for _, subject := range hears {
		sub, err := conn.ChanSubscribe(subject, heard)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	for _, subject := range speaks {
		if err := conn.Publish(subject, nil); err != nil {
			return err
		}
	}
	if err := conn.FlushTimeout(natsTimeout); err != nil {
		return err
	}
	if err := conn.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return &RefusedError{err}
	}
	return nil
}

// trouble is what the last attempt to connect came to, nil while there is a connection.
func (b *natsBus) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// denial is the last thing that the server did not allow, nil: everything was.
func (b *natsBus) denial() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.denied
}

// status is a line for people.
func (b *natsBus) status() string {
	conn := b.conn.Load()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.connected.Load() && conn != nil:
		return "connected to " + conn.ConnectedUrlRedacted()
	case b.last != nil:
		return fmt.Sprintf("not connected for %v: %v", time.Since(b.since).Round(time.Second), b.last)
	}
	return fmt.Sprintf("not connected for %v", time.Since(b.since).Round(time.Second))
}

// up is called when nats.go has a connection. It counts once an answer has come over it: with expired
// credentials the server takes a connection and closes it again.
func (b *natsBus) up(conn *nats.Conn) {
	for conn.FlushTimeout(natsTimeout) != nil {
		if !conn.IsConnected() {
			return
		}
	}
	if b.ups.Add(1) > 1 {
		b.reports.reconnects.Add(1)
	}
	b.mu.Lock()
	b.last, b.told, b.since = nil, "", time.Now()
	b.mu.Unlock()
	b.connected.Store(true)
	b.log.Info("connected to NATS", "server", conn.ConnectedUrlRedacted(), "version", conn.ConnectedServerVersion())
	b.changed()
}

func (b *natsBus) down(_ *nats.Conn, err error) {
	b.mu.Lock()
	b.last = err
	if b.connected.Swap(false) {
		b.since = time.Now()
		b.reports.disconnects.Add(1)
	}
	closed := b.closed
	b.mu.Unlock()
	if !closed {
		b.log.Warn("the connection to NATS is lost", "err", err)
	}
	b.changed()
}

// failed is called after each attempt to connect in vain.
func (b *natsBus) failed(_ *nats.Conn, err error) {
	if err == nil {
		return
	}
	b.mu.Lock()
	again := b.told == err.Error()
	b.last, b.told = err, err.Error()
	b.mu.Unlock()
	if !again {
		b.log.Warn("NATS cannot be reached", "err", err)
	}
}

// complain is called with errors that belong to no call.
func (b *natsBus) complain(_ *nats.Conn, sub *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer) && sub != nil:
		b.mu.Lock()
		b.slow[sub] = true
		b.mu.Unlock()
		b.log.Error("messages of other nodes were dropped: they have come faster than they were taken",
			"subject", sub.Subject)
		return
	case errors.Is(err, nats.ErrPermissionViolation):
		b.reports.denied.Add(1)
		b.mu.Lock()
		b.denied = err
		b.mu.Unlock()
		b.log.Error("NATS does not allow what the node needs", "err", err)
		return
	case isRefusal(err):
		b.mu.Lock()
		b.last = err
		b.mu.Unlock()
	}
	b.reports.errors.Add(1)
	b.log.Warn("an error of NATS", "err", err)
}

// over is called when nats.go has given up, which it does at errors of the protocol.
func (b *natsBus) over(conn *nats.Conn) {
	b.mu.Lock()
	ours := !b.closed && b.conn.Load() == conn
	if ours {
		b.redial()
	}
	b.mu.Unlock()
	if ours {
		b.log.Error("the connection to NATS was closed for good, a new one is made", "err", conn.LastError())
		b.down(conn, conn.LastError())
	}
}

// redial makes another connection, a while later. b.mu is held.
func (b *natsBus) redial() {
	b.tells.Go(func() {
		for {
			select {
			case <-b.done:
				return
			case <-time.After(natsTimeout):
			}
			if b.dial() == nil {
				return
			}
		}
	})
}

func (b *natsBus) changed() {
	select {
	case b.changes <- struct{}{}:
	default:
	}
}

// tell calls OnChange's function, one change after the other. A connection that was lost and is there
// again is told as both.
func (b *natsBus) tell() {
	connected, ups := false, uint64(0)
	for {
		select {
		case <-b.done:
			return
		case <-b.changes:
		}
		b.mu.Lock()
		f := b.onChange
		b.mu.Unlock()
		if f == nil {
			continue
		}
		n, now := b.ups.Load(), b.connected.Load()
		if connected && (n != ups || !now) {
			connected = false
			f(false)
		}
		if now && !connected {
			connected = true
			f(true)
		}
		ups = n
	}
}

// OnChange implements Bus.
func (b *natsBus) OnChange(f func(connected bool)) {
	b.mu.Lock()
	b.onChange = f
	b.mu.Unlock()
	b.changed()
}

// Publish implements Bus.
func (b *natsBus) Publish(subject string, data []byte) error {
	conn := b.conn.Load()
	if conn == nil {
		return errNotStarted
	}
	return conn.Publish(subject, data)
}

// Subscribe implements Bus.
func (b *natsBus) Subscribe(subject string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nats.ErrConnectionClosed
	}
	if b.subs[subject] != nil {
		return nil
	}
	conn := b.conn.Load()
	if conn == nil {
		return errNotStarted
	}
	sub, err := conn.ChanSubscribe(subject, b.messages)
	if err == nil {
		b.subs[subject] = sub
	}
	return err
}

// Unsubscribe implements Bus.
func (b *natsBus) Unsubscribe(subject string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := b.subs[subject]
	if sub == nil {
		return nil
	}
	delete(b.subs, subject)
	if b.slow[sub] {
		if n, err := sub.Dropped(); err == nil {
			b.dropped += uint64(n)
		}
		delete(b.slow, sub)
	}
	return sub.Unsubscribe()
}

// Flush implements Bus.
func (b *natsBus) Flush() error {
	conn := b.conn.Load()
	if conn == nil || !b.connected.Load() {
		return nats.ErrConnectionReconnecting
	}
	return conn.FlushTimeout(natsTimeout)
}

// Messages implements Bus.
func (b *natsBus) Messages() <-chan *nats.Msg { return b.messages }

// Connected implements Bus.
func (b *natsBus) Connected() bool { return b.connected.Load() }

// Dropped implements Bus.
func (b *natsBus) Dropped() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := b.dropped
	for sub := range b.slow {
		if n, err := sub.Dropped(); err == nil {
			sum += uint64(n)
		}
	}
	return sum
}

// leastPayload is what is assumed of a server before there is one: NATS' default.
const leastPayload = 1 << 20

// MaxPayload implements Bus.
func (b *natsBus) MaxPayload() int {
	if conn := b.conn.Load(); conn != nil {
		if n := conn.MaxPayload(); n > 0 {
			return int(n)
		}
	}
	return leastPayload
}

// Close implements Bus. What was published before is sent, if the server takes it.
func (b *natsBus) Close() {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return
	}
	b.closed = true
	close(b.done)
	conn := b.conn.Load()
	b.mu.Unlock()
	if conn != nil {
		if b.connected.Load() {
			_ = conn.FlushTimeout(natsTimeout)
		}
		conn.Close()
	}
	b.connected.Store(false)
	b.tells.Wait()
	close(b.messages)
}
