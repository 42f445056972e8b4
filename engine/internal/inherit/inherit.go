// Package inherit finds the listening sockets that this process was handed at its start, by systemd
// (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES) or by another parent that has left
// them open. Who holds such a socket keeps it open over a restart: those who connect meanwhile wait
// in its queue, and nobody is refused.
package inherit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// First is the number of the first descriptor that may be handed over: those below are standard
// ones.
const First = 3

// maxSockets bounds LISTEN_FDS.
const maxSockets = 256

// A Set is what was handed over and has been told of in the environment.
type Set struct {
	sockets []socket
}

type socket struct {
	fd   int
	name string
}

// ErrNone is the error for a name when nothing was handed over: the process was not started by
// systemd's socket, as when somebody tries out its flags.
var ErrNone = errors.New("no socket was handed over: LISTEN_FDS is not set for this process")

// Own is what this process was handed.
var Own = sync.OnceValue(func() *Set {
	s := Parse(os.Getenv, os.Getpid())
	for _, k := range s.sockets {
		unix.CloseOnExec(k.fd)
	}
	return s
})

// Parse reads the environment of a process with an id. Variables that are for another process,
// which has passed them on, say nothing.
func Parse(getenv func(name string) string, pid int) *Set {
	s := new(Set)
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if id, perr := strconv.Atoi(getenv("LISTEN_PID")); err != nil || perr != nil || id != pid || n < 1 || n > maxSockets {
		return s
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	for i := range n {
		k := socket{fd: First + i}
		if i < len(names) {
			k.name = names[i]
		}
		s.sockets = append(s.sockets, k)
	}
	return s
}

// Find returns the descriptors of a name, in their order, or the one whose number it is. A number
// may be of a descriptor that LISTEN_FDS does not tell of.
func (s *Set) Find(name string) ([]int, error) {
	if fd, err := strconv.Atoi(name); err == nil {
		if fd < First || fd > 1<<20 {
			return nil, fmt.Errorf("descriptor %s, want a number from %d on", name, First)
		}
		return []int{fd}, nil
	}
	var list []int
	var names []string
	for _, k := range s.sockets {
		if k.name == name {
			list = append(list, k.fd)
		}
		names = append(names, fmt.Sprintf("%s (%d)", k.name, k.fd))
	}
	switch {
	case len(s.sockets) == 0:
		return nil, ErrNone
	case len(list) == 0:
		return nil, fmt.Errorf("no socket %q was handed over, but %s", name, strings.Join(names, ", "))
	}
	return list, nil
}

// Told reports whether the environment tells of sockets.
func (s *Set) Told() bool { return len(s.sockets) > 0 }

// Unused names the sockets that the environment tells of and used does not have.
func (s *Set) Unused(used map[int]bool) (names []string) {
	for _, k := range s.sockets {
		if !used[k.fd] {
			names = append(names, fmt.Sprintf("%s (%d)", k.name, k.fd))
		}
	}
	return names
}

// Addr returns the address of the listening socket that fd is.
func Addr(fd int) (net.Addr, error) {
	if err := check(fd); err != nil {
		return nil, err
	}
	name, err := unix.Getsockname(fd) // no listener of its own: making one would have the socket block for a moment
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: name.Addr[:], Port: name.Port}, nil
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: name.Addr[:], Port: name.Port}, nil
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Net: "unix", Name: name.Name}, nil
	}
	return nil, fmt.Errorf("descriptor %d is neither a tcp nor a unix socket", fd)
}

// check says why fd is no socket that can be served.
func check(fd int) error {
	accepts, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return fmt.Errorf("descriptor %d is no socket: %w", fd, err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM || accepts == 0 {
		return fmt.Errorf("descriptor %d is no stream socket that listens (ListenStream=, Accept=no)", fd)
	}
	return nil
}

// Listen makes a listener of fd, which stays open and is not looked at any more: closing the
// listener ends nothing for whoever holds the socket, too.
func Listen(fd int) (net.Listener, error) {
	if err := check(fd); err != nil {
		return nil, err
	}
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, First)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(copied), fmt.Sprintf("fd %d", fd))
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	if n := ln.Addr().Network(); n != "tcp" && n != "unix" {
		_ = ln.Close()
		return nil, fmt.Errorf("descriptor %d is a %s socket, want tcp or unix", fd, n)
	}
	return ln, nil
}
