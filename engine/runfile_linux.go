//go:build !portable

package engine

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileName is what /proc shows of such files.
var fileName = []byte("sluice-run\x00")

// fileFlags are memfd_create's: kernels before 6.3 do not know MFD_NOEXEC_SEAL, later ones may want it.
var fileFlags atomic.Uint32

func init() { fileFlags.Store(unix.MFD_CLOEXEC | unix.MFD_NOEXEC_SEAL) }

// newFile makes a file of memory that has no name and holds p (memfd_create(2)).
func newFile(p []byte) (int32, bool) {
	flags := fileFlags.Load()
	fd, _, errno := syscall.Syscall(unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(&fileName[0])), uintptr(flags), 0)
	if errno == unix.EINVAL && flags != unix.MFD_CLOEXEC {
		fileFlags.Store(unix.MFD_CLOEXEC)
		fd, _, errno = syscall.Syscall(unix.SYS_MEMFD_CREATE, uintptr(unsafe.Pointer(&fileName[0])), unix.MFD_CLOEXEC, 0)
	}
	if errno != 0 {
		return -1, false
	}
	// A file that may not be so long (setrlimit(2), RLIMIT_FSIZE) takes less, without a signal.
	if n, err := unix.Write(int(fd), p); err != nil || n < len(p) {
		unix.Close(int(fd))
		return -1, false
	}
	return int32(fd), true
}

// sendFile sends n bytes of a file from off on to a non-blocking socket, which takes the file's pages
// (sendfile(2)). The Go runtime ignores the SIGPIPE of a broken socket.
func sendFile(fd, file int32, off int64, n int) (int, syscall.Errno) {
	for {
		at := off
		var sent uintptr
		var errno syscall.Errno
		if n <= rawBelow {
			sent, _, errno = syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&at)), uintptr(n), 0, 0)
		} else {
			sent, _, errno = syscall.Syscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&at)), uintptr(n), 0, 0)
		}
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(sent), 0
	}
}
