package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"

	"github.com/sluicenet/sluice/engine/login"
)

// A secureConn is a link's connection with TLS. A write that times out has ended it: the record may be
// half written.
type secureConn struct {
	*tls.Conn
}

// Close closes at once. Who wants to take leave calls CloseWrite first.
func (c secureConn) Close() error { return c.NetConn().Close() }

// socketOf is the socket beneath a link's connection.
func socketOf(conn net.Conn) net.Conn {
	if c, ok := conn.(secureConn); ok {
		return c.NetConn()
	}
	return conn
}

// isSecure reports whether a connection has TLS.
func isSecure(conn net.Conn) bool {
	_, ok := conn.(secureConn)
	return ok
}

// handshake has u speak TLS, within the time that u has to prove itself.
func (u *unproven) handshake() error {
	ctx, cancel := context.WithDeadline(context.Background(), u.begun.Add(u.hub.live.Load().proofTimeout))
	defer cancel()
	c := tls.Server(u.conn, u.hub.config.TLS)
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	u.stream = secureConn{c}
	return nil
}

// certificateOf is the certificate by which a worker is known, nil if there is none.
func certificateOf(conn net.Conn) *x509.Certificate {
	c, ok := conn.(secureConn)
	if !ok {
		return nil
	}
	chains := c.ConnectionState().VerifiedChains
	if len(chains) == 0 {
		return nil
	}
	return chains[0][0]
}

// certificateName is what the log calls it, empty if there is none.
func certificateName(conn net.Conn) string {
	cert := certificateOf(conn)
	if cert == nil {
		return ""
	}
	name, err := login.CertUser(cert)
	if err != nil {
		return cert.SerialNumber.Text(16)
	}
	return name
}
