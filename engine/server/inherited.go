package server

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/sluicenet/sluice/engine/internal/inherit"
	"github.com/sluicenet/sluice/internal/loopback"
)

// inherited are the schemes of listeners on sockets that the process was handed, and the schemes of
// what is spoken there. On a unix socket tcp is unix, and ws is ws+unix.
var inherited = map[string]string{
	"fd": "tcp", "tls+fd": "tls", "ws+fd": "ws", "wss+fd": "wss", "https+fd": "https",
}

// handed reads the name of a socket that was handed over: fd://NAME, or its number.
func (l *Listen) handed(u *url.URL) error {
	if u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.Fragment != "" || u.Opaque != "" {
		return fmt.Errorf("want %s://NAME, as systemd's FileDescriptorName= has it, or the number of the descriptor", u.Scheme)
	}
	if n, err := strconv.Atoi(u.Host); err == nil && n < inherit.First {
		return fmt.Errorf("descriptor %d, want a number from %d on", n, inherit.First)
	}
	l.Descriptor, l.Address = u.Host, "fd:"+u.Host
	return nil
}

// sockets returns what is to be served for l, which names sockets that were handed over: several
// may have one name. Where the environment tells of none, as when somebody checks a configuration,
// it is one that cannot be opened.
func (l Listen) sockets() (list []endpoint, err error) {
	fds, err := inherit.Own().Find(l.Descriptor)
	if errors.Is(err, inherit.ErrNone) {
		return []endpoint{{Listen: l}}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		e := endpoint{Listen: l, fd: fd}
		switch addr, err := inherit.Addr(fd); {
		case err != nil && inherit.Own().Told():
			return nil, err
		case err != nil: // nor can this one be
		case addr.Network() == unixScheme:
			if e.Scheme, err = onUnix(l); err != nil {
				return nil, fmt.Errorf("%s: %w", addr, err)
			}
			e.Address = addr.String()
		default:
			e.Address = addr.String()
		}
		list = append(list, e)
	}
	return list, nil
}

// onUnix is the scheme of l when its socket is of unix.
func onUnix(l Listen) (string, error) {
	switch {
	case l.Secure() || l.Scheme == "https" || l.ClientCert != "":
		return "", errors.New("unix sockets have no TLS")
	case l.Scheme == "ws":
		return unixWSScheme, nil
	}
	return unixScheme, nil
}

// socket is sockets for who serves one alone.
func (l Listen) socket() (endpoint, error) {
	list, err := l.sockets()
	if err != nil {
		return endpoint{}, err
	}
	if len(list) > 1 {
		return endpoint{}, fmt.Errorf("%d sockets have the name %s, want one: its number does, as fd://%d", len(list), l.Descriptor, list[0].fd)
	}
	return list[0], nil
}

// Local reports whether a listener is reached from this machine alone, as far as can be told: a
// socket that is yet to be handed over may be any.
func (l Listen) Local() bool {
	if l.Unix() {
		return true
	}
	if l.Descriptor == "" {
		return loopback.HostPort(l.Address)
	}
	list, err := l.sockets()
	for _, e := range list {
		if e.Address != l.Address && !e.Unix() && !loopback.HostPort(e.Address) {
			return false
		}
	}
	return err == nil
}

// inherit makes a listener of a socket that was handed over.
func (s *Server) inherit(e endpoint) (net.Listener, error) {
	if e.fd == 0 {
		return nil, inherit.ErrNone
	}
	ln, err := inherit.Listen(e.fd)
	if err == nil {
		s.inherited[e.fd] = true
	}
	return ln, err
}

// tellUnused logs the sockets that were handed over and that no listener has: who connects there
// waits for nothing.
func (s *Server) tellUnused() {
	if names := inherit.Own().Unused(s.inherited); len(names) > 0 {
		s.gateway.Log().Warn("sockets that were handed over are not served: no --listen, --worker or --admin names them", "sockets", names)
	}
}
