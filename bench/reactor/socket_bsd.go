//go:build darwin || freebsd

package reactor

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// sleepExactly does nothing: these systems have no such setting for a thread.
func sleepExactly() {}

func streamSocket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// bindAddressAlone does nothing: bind chooses a port that no other connection of the address has,
// and a source address has as many connections as ports.
func bindAddressAlone(int) {}

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.Read(fd, b)
	errno, _ := err.(syscall.Errno)
	return n, errno
}

// rawSend sends without flags: the Go runtime ignores the SIGPIPE of a broken socket.
func rawSend(fd int, b []byte) (int, syscall.Errno) {
	n, err := unix.Write(fd, b)
	errno, _ := err.(syscall.Errno)
	return n, errno
}
