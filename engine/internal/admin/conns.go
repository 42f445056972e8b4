package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine/internal/unixsock"
)

// DefaultMaxConnections is the zero Config.MaxConnections.
const DefaultMaxConnections = 64

// conns are the connections of operators. There are at most limit of them: when another comes, the
// one goes that has been without a request of somebody with a role for longest, so that connections
// left open, bodies that do not come and answers that are not read keep nobody out who wants to look.
type conns struct {
	limit    int
	log      *slog.Logger
	refused  atomic.Uint64 // closed to make room, or for want of it
	retries  atomic.Uint64 // errors of accept that passed
	unshaken atomic.Uint64 // ended before their TLS handshake was done
	logged   atomic.Int64  // second of the last line about those, unix

	mu   sync.Mutex
	open map[net.Conn]operator
}

// An operator is what is known of one connection.
type operator struct {
	asking bool // a request of somebody with a role is being answered
	since  time.Time
}

func newConns(limit int, log *slog.Logger) *conns {
	return &conns{limit: limit, log: log, open: make(map[net.Conn]operator)}
}

// changed is http.Server.ConnState.
func (c *conns) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(c.open) >= c.limit {
			c.makeRoom(conn)
			return
		}
		c.open[conn] = operator{since: time.Now()}
	case http.StateActive, http.StateIdle:
		if _, ok := c.open[conn]; ok {
			c.open[conn] = operator{since: time.Now()}
		}
	case http.StateClosed, http.StateHijacked:
		why := "closed"
		if secure, ok := conn.(*tls.Conn); ok && !secure.ConnectionState().HandshakeComplete {
			c.unshaken.Add(1)
			why = "tls-handshake"
		}
		if _, ok := c.open[conn]; ok {
			c.ended(conn, why)
		}
	}
}

// connKey is the connection of a request in its context.
type connKey struct{}

// ofConn is http.Server.ConnContext.
func ofConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// answer has h answer a request of somebody with a role. Its connection is not closed meanwhile to
// make room for another.
func (c *conns) answer(h http.Handler, w http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	c.asks(conn, true)
	defer c.asks(conn, false)
	h.ServeHTTP(w, r)
}

func (c *conns) asks(conn net.Conn, asking bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[conn]; ok {
		c.open[conn] = operator{asking: asking, since: time.Now()}
	}
}

// makeRoom closes the connection that has asked for nothing for longest, or newcomer itself when all
// others are being answered.
func (c *conns) makeRoom(newcomer net.Conn) {
	var oldest net.Conn
	for conn, o := range c.open {
		if !o.asking && (oldest == nil || o.since.Before(c.open[oldest].since)) {
			oldest = conn
		}
	}
	c.refused.Add(1)
	c.warn("too many connections of operators: one is closed", "limit", c.limit)
	if oldest == nil {
		c.ended(newcomer, "too-many-connections")
		closeNow(newcomer)
		return
	}
	c.ended(oldest, "too-many-connections")
	closeNow(oldest)
	c.open[newcomer] = operator{since: time.Now()}
}

// closeNow closes conn without a word: TLS would wait for who does not read it.
func closeNow(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	_ = conn.Close()
}

func (c *conns) ended(conn net.Conn, why string) {
	delete(c.open, conn)
	c.log.Debug("connection ended", "protocol", "admin", "peer", connName(conn), "reason", why)
}

// connName is what the log calls who is at the other end: an address, or the process of a unix socket.
func connName(conn net.Conn) string {
	addr := conn.RemoteAddr()
	if addr.Network() != "unix" {
		return addr.String()
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	return unixsock.Name(conn)
}

// loggedPeer is connName of the connection of a request.
func loggedPeer(r *http.Request) string {
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		return connName(conn)
	}
	return r.RemoteAddr
}

// warn logs a line, once a second at most.
func (c *conns) warn(text string, args ...any) {
	now := time.Now().Unix()
	if last := c.logged.Load(); last != now && c.logged.CompareAndSwap(last, now) {
		c.log.Warn(text, args...)
	}
}

// A listener counts and logs what keeps it from accepting, and tries again. http.Server would give up
// for most of it, such as memory that the kernel has not.
type listener struct {
	net.Listener
	conns *conns
	done  <-chan struct{} // closed when nothing is to be accepted any more
}

// How long nothing is accepted after a failure, and at most after several.
const (
	acceptPause     = 5 * time.Millisecond
	acceptPauseMost = 50 * time.Millisecond
)

func (l listener) Accept() (net.Conn, error) {
	for pause := acceptPause; ; pause = min(2*pause, acceptPauseMost) {
		conn, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		l.conns.retries.Add(1)
		l.conns.warn("accepting an operator", "err", err)
		select {
		case <-time.After(pause):
		case <-l.done:
			return nil, http.ErrServerClosed
		}
	}
}
