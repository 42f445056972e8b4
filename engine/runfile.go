package engine

import (
	"os"
	"syscall"
)

// A long run for many connections is the same bytes over and over: to copy them into each socket is
// most of what a delivery costs. Where the system can do it, the loop puts them into a file of memory
// once, and sockets take the file's pages instead of a copy.
//
// Such a file is written before the first socket takes of it, and never again: pages are with a
// socket until the peer has read them, long after all was sent, and nobody tells when that is. It is
// closed when nothing is queued of it any more; what sockets have is theirs.

const (
	// fileFrom is the least of an entry, in bytes, that goes by pages: a page has a price of its own,
	// and of 8 KiB it is that of the copy.
	fileFrom = 16 << 10
	// fileMost bounds a file, in bytes. Messages that are longer are copied: a socket takes them in
	// several goes anyway.
	fileMost = 256 << 10
	// fileFor is how many connections must have yet to send a run for a file to be made of it: to make
	// one costs about as much as five copies.
	fileFor = 16
	// runFiles is how many files a loop has at most. Nearly all receivers that keep up are fewer runs
	// behind the latest; for those that are further, the oldest file is closed, and the rest of its run
	// copied.
	runFiles = 4
	// fileRetry is for how long, in ms, none is made when the system has refused one.
	fileRetry = 1000
)

// fileRules say which entries go by files, in the units of the constants: the simulation's runs are
// shorter.
type fileRules struct{ from, receivers int }

// files are a loop's.
type files struct {
	of   [runFiles]runFile
	next int // the place of the next, which is the oldest's
	// retry is when one may be made again, in ms.
	retry int64
}

// A runFile holds the bytes of a blockRef's block. Without one it is nobody's.
type runFile struct {
	ref  *blockRef
	fd   int32
	size int64 // bytes, in whole pages
}

// fileOver is blockRef.file when its file is closed, or was refused, while connections have yet to
// send some of it.
const fileOver = -1

// transmit sends p, the beginning of c's queue, to its socket. more says that a FIN follows.
func (l *Loop) transmit(c *Conn, p []byte, more bool) (int, syscall.Errno) {
	e := &c.first
	// What was gathered of several entries is as long as none of them.
	if n := e.end - e.off; int(n) >= l.engine.files.from && int(n) == len(p) && !more {
		if f := l.fileOf(e.ref); f != nil {
			return l.sendFile(c, f, e.off, p)
		}
	}
	return l.engine.system.send(c.fd, p, more)
}

// sendFile sends p, which is what f has from off on.
func (l *Loop) sendFile(c *Conn, f *runFile, off uint32, p []byte) (int, syscall.Errno) {
	n, errno := l.engine.system.sendFile(c.fd, f.fd, int64(off), len(p))
	switch errno {
	case syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.EPERM: // not to this socket
		l.closeFile(f.ref)
		l.files.retry = l.now + fileRetry
		return l.engine.system.send(c.fd, p, false)
	}
	return n, errno
}

// fileOf returns the file with r's bytes. It makes one where that is worth it; else it returns nil.
func (l *Loop) fileOf(r *blockRef) *runFile {
	s := &l.files
	switch {
	case r.file > 0:
		return &s.of[r.file-1]
	case r.file == fileOver, int(r.refs) < l.engine.files.receivers, l.now < s.retry:
		return nil
	case r.growing, len(r.block.data) > fileMost:
		return nil
	}
	fd, ok := l.engine.system.newFile(r.block.data)
	if !ok {
		s.retry = l.now + fileRetry
		return nil
	}
	i := s.next
	s.next = (i + 1) % runFiles
	f := &s.of[i]
	if f.ref != nil {
		l.closeFile(f.ref)
	}
	*f = runFile{ref: r, fd: fd, size: wholePages(len(r.block.data))}
	r.file = int8(i + 1)
	l.accounts.add(KindShared, f.size)
	return f
}

// closeFile closes r's file, if there is one. What r's connections have yet to send is copied.
func (l *Loop) closeFile(r *blockRef) {
	if r.file <= 0 {
		return
	}
	f := &l.files.of[r.file-1]
	l.engine.system.closeFile(f.fd)
	l.accounts.add(KindShared, -f.size)
	*f = runFile{}
	r.file = fileOver
}

// pageSize is what files take memory in, in bytes.
var pageSize = int64(os.Getpagesize())

func wholePages(n int) int64 { return (int64(n) + pageSize - 1) &^ (pageSize - 1) }
