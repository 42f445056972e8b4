package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/sluicenet/sluice/engine/internal/unixsock"
)

// Unix sockets are named unix:///PATH, or unix:@NAME for one of Linux's abstract namespace. What
// travels over HTTP alone is served on ws+unix.
const (
	unixScheme   = "unix"
	unixWSScheme = "ws+unix"
)

// Unix reports whether a listener is on a unix socket, whose path is then Address.
func (l Listen) Unix() bool { return l.Scheme == unixScheme || l.Scheme == unixWSScheme }

// unixPath returns the path that a URL names.
func unixPath(u *url.URL) (string, error) {
	switch {
	case u.Fragment != "":
	case u.Opaque != "" && unixsock.Abstract(u.Opaque):
		return u.Opaque, nil
	case u.User != nil && u.User.String() == "" && u.Host != "" && u.Path == "": // unix://@NAME
		return "@" + u.Host, nil
	case u.User == nil && u.Host == "" && u.Opaque == "" && u.Path != "":
		return u.Path, nil
	}
	return "", fmt.Errorf("want %s:///PATH, or %s:@NAME on Linux", u.Scheme, u.Scheme)
}

// checkUnix refuses what does not go together with a unix socket, or without one.
func (l Listen) checkUnix() error {
	switch {
	case !l.Unix() && (l.Mode != 0 || l.Owner != ""):
		return errors.New("mode and owner are for unix sockets")
	case l.Unix() && (l.TLSAuto || l.ClientCert != ""):
		return errors.New("unix sockets have no TLS")
	case l.Unix():
		return unixsock.Check(l.Address, unixsock.Options{Mode: l.Mode, Owner: l.Owner})
	}
	return nil
}

// parseUnix reads the URL of a unix socket for operators.
func parseUnix(u *url.URL) (l Listen, err error) {
	l.Scheme = unixScheme
	if l.Address, err = unixPath(u); err != nil {
		return l, err
	}
	if err := l.options(u.RawQuery, "mode", "owner"); err != nil {
		return l, err
	}
	return l, l.checkUnix()
}

// isUnix reports whether a text names a unix socket.
func isUnix(text string) bool { return strings.HasPrefix(text, unixScheme+":") }

// urlOf is a listener's real address as a URL.
func urlOf(scheme string, addr net.Addr) string {
	text := addr.String()
	if addr.Network() == unixScheme && !unixsock.Abstract(text) {
		text = (&url.URL{Path: text}).EscapedPath()
	}
	return scheme + "://" + text
}

// listenUnix opens the socket of a listener for workers.
func listenUnix(l Listen) (net.Listener, error) {
	return unixsock.Listen(l.Address, unixsock.Options{Mode: l.Mode, Owner: l.Owner})
}
