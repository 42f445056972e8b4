package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine/internal/notsent"
)

// clientTLS is the Config for one gateway's address.
func clientTLS(given *tls.Config, addr string) *tls.Config {
	c := new(tls.Config)
	if given != nil {
		c = given.Clone()
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS12
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(addr) // was good before
	}
	return c
}

// keepInKernel is how many bytes a link leaves to the kernel to be sent next. The rest is in the outbox,
// whose limit is then what a command waits behind.
const keepInKernel = 128 << 10

// dial opens a connection to g, with TLS if it is to have that.
func (g *Gateway) dial(ctx context.Context, config *Config) (net.Conn, error) {
	network := "tcp"
	if g.addr[0] == '/' || g.addr[0] == '@' {
		network = "unix"
	}
	nc, err := config.Dial(ctx, network, g.addr)
	if err != nil {
		return nil, err
	}
	notsent.Limit(nc, keepInKernel)
	if g.tls == nil {
		return nc, nil
	}
	steady := &steadyWriter{Conn: nc, timeout: config.WriteTimeout}
	c := tls.Client(steady, g.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secureConn{c, steady}, nil
}

// A secureConn is a TLS connection whose writes time out as a plain one's do: a record of which a
// part is written must be written whole, so only a gateway that takes nothing at all is late.
type secureConn struct {
	*tls.Conn
	steady *steadyWriter
}

// SetWriteDeadline does nothing: steady has one of its own for each write.
func (c secureConn) SetWriteDeadline(time.Time) error { return nil }

// Close closes at once. Who wants to take leave calls CloseWrite first.
func (c secureConn) Close() error { return c.steady.Conn.Close() }

// A steadyWriter goes on with a write while some of it is taken within timeout.
type steadyWriter struct {
	net.Conn
	timeout time.Duration
	last    atomic.Pointer[time.Time] // no write may take longer
}

// SetWriteDeadline is called by tls.Conn before it writes its last alert.
func (w *steadyWriter) SetWriteDeadline(t time.Time) error {
	w.last.Store(&t)
	return w.Conn.SetWriteDeadline(t)
}

func (w *steadyWriter) Write(b []byte) (n int, err error) {
	for {
		deadline := time.Now().Add(w.timeout)
		if last := w.last.Load(); last != nil && last.Before(deadline) {
			deadline = *last
		}
		if err := w.Conn.SetWriteDeadline(deadline); err != nil {
			return n, err
		}
		m, err := w.Conn.Write(b[n:])
		n += m
		if err == nil || m == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
}
