// Package unixsock opens listeners on unix stream sockets whose files come and go with them.
//
// A file that another process listens on is left alone, one that nobody listens on any more is
// replaced, and anything else in the place is an error. On Linux the file has never more than its mode.
// Closing takes the file away before the socket closes, and only if it is still the listener's own: a
// process that took the path over keeps it.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say who may connect.
type Options struct {
	// Mode is the file's permissions, 0 to 0777. Zero means DefaultMode.
	Mode fs.FileMode
	// Owner is who the file belongs to: USER, USER:GROUP or :GROUP, as names or numbers. Empty:
	// whoever runs the process.
	Owner string
	// Control is called on the socket before it is bound. Nil does nothing.
	Control func(syscall.RawConn) error
}

// DefaultMode is the mode of a socket's file unless told otherwise: its owner alone may connect.
const DefaultMode fs.FileMode = 0o600

// ErrInUse is the error for a path that somebody listens on.
var ErrInUse = errors.New("somebody listens there already")

// Abstract reports whether a path names a socket of Linux's abstract namespace, which has no file.
func Abstract(path string) bool { return strings.HasPrefix(path, "@") }

// Check says what would keep a path and options from being listened on, as far as can be told without
// touching it.
func Check(path string, o Options) error {
	switch {
	case path == "" || path == "@":
		return errors.New("no path")
	case strings.ContainsRune(path, 0):
		return errors.New("a zero byte in the path")
	case len(path) > maxPath:
		return fmt.Errorf("a path of %d bytes, want at most %d", len(path), maxPath)
	case o.Mode&^fs.ModePerm != 0:
		return fmt.Errorf("mode %#o, want 0 to 0777", uint32(o.Mode))
	case Abstract(path) && !abstractSockets:
		return errors.New("abstract sockets are Linux's alone: want a path")
	case Abstract(path) && (o.Mode != 0 || o.Owner != ""):
		return errors.New("an abstract socket has no file, and so no mode and owner")
	case !Abstract(path) && !filepath.IsAbs(path):
		return errors.New("want an absolute path")
	}
	_, _, err := ids(o.Owner)
	return err
}

// maxPath is how long a path may be, in bytes: what fits into the address, less its end.
const maxPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// A listener is a net.Listener of *net.UnixConn.
type listener struct {
	*net.UnixListener
	path string
	file fs.FileInfo // nil: there is none
	once sync.Once
}

// Listen opens a listener on a path, or an abstract one on @NAME.
func Listen(path string, o Options) (net.Listener, error) {
	if err := Check(path, o); err != nil {
		return nil, fmt.Errorf("unix %s: %w", path, err)
	}
	ln, err := listen(path, o)
	if err != nil {
		return nil, fmt.Errorf("unix %s: %w", path, reason(err))
	}
	return ln, nil
}

// reason takes from an error of net what its caller says anyway.
func reason(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		return op.Err
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}

func listen(path string, o Options) (net.Listener, error) {
	if Abstract(path) {
		ln, err := bind(path, o)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, ErrInUse
		}
		if err != nil {
			return nil, err
		}
		return &listener{UnixListener: ln, path: path}, nil
	}
	unlock := lockDir(filepath.Dir(path)) // or two that start at once would take away each other's
	defer unlock()
	if err := makeRoom(path); err != nil {
		return nil, err
	}
	ln, err := bind(path, o)
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err == nil {
		err = own(path, o)
	}
	l := &listener{UnixListener: ln, path: path, file: file}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// bind opens the socket. Its file has no more than the mode that is wanted at any time.
func bind(path string, o Options) (*net.UnixListener, error) {
	var lc net.ListenConfig
	lc.Control = func(_, _ string, raw syscall.RawConn) error {
		if !Abstract(path) {
			if err := raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode(o)&0o600)) }); err != nil {
				return err
			}
		}
		if o.Control != nil {
			return o.Control(raw)
		}
		return nil
	}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return ln.(*net.UnixListener), nil
}

func mode(o Options) fs.FileMode {
	if o.Mode == 0 {
		return DefaultMode
	}
	return o.Mode
}

// own gives the file its owner and mode, in that order: a change of owner may take bits away.
func own(path string, o Options) error {
	uid, gid, err := ids(o.Owner)
	if err != nil {
		return err
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return fmt.Errorf("owner %s: %w", o.Owner, reason(err))
		}
	}
	return os.Chmod(path, mode(o))
}

// dialTime is how long it may take to see whether somebody listens.
const dialTime = time.Second

// makeRoom clears path: a socket on which nobody listens goes, anything else is an error.
func makeRoom(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if before.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("there is %s already, want nothing or a socket", kind(before.Mode()))
	}
	c, err := net.DialTimeout("unix", path, dialTime)
	switch {
	case err == nil:
		c.Close()
		return ErrInUse
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.EPROTOTYPE):
		return errors.New("there is a socket of another kind already")
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded): // its queue is full
		return ErrInUse
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("there is a socket already: %w", reason(err))
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(before, now) {
		return ErrInUse // by somebody who does not lock
	}
	return os.Remove(path)
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m.IsRegular():
		return "a file"
	}
	return "something else"
}

// An Unlinker is a listener with a file.
type Unlinker interface {
	net.Listener
	// Unlink takes the file away, if it is still this listener's: nobody else connects. Close does it,
	// too. Before Close nobody can have taken the path over: who tries finds somebody listening.
	Unlink()
}

func (l *listener) Unlink() {
	l.once.Do(func() {
		if l.file == nil {
			return
		}
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(l.file, now) {
			_ = os.Remove(l.path)
		}
	})
}

func (l *listener) Close() error {
	l.Unlink()
	return l.UnixListener.Close()
}

// lockTime is how long another may take that is opening a listener in the same directory.
const lockTime = 3 * time.Second

// lockDir keeps others that open listeners in a directory waiting until unlock is called. Where the
// directory cannot be read or locked it does nothing.
func lockDir(dir string) (unlock func()) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}
	}
	for end := time.Now().Add(lockTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
	}
	return func() { f.Close() }
}

// Name is what the log calls the other end of a connection over a unix socket: unix(pid=1,uid=2), or
// unix if the system does not tell.
func Name(conn net.Conn) string {
	if pid, uid, ok := Peer(conn); ok {
		return fmt.Sprintf("unix(pid=%d,uid=%d)", pid, uid)
	}
	return "unix"
}
