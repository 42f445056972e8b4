package engine

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tcpPair is a connection whose ends are non-blocking: what l sends on, and the peer's.
func tcpPair(t *testing.T, l *Loop) (*Conn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := accepted.(*net.TCPConn).File()
	accepted.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close(); f.Close() })
	fd := int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	c := bareConn(t, l, 0)
	c.fd = int32(fd)
	return c, peer
}

// queueRun queues a run of size bytes for conns.
func queueRun(l *Loop, size int, conns ...*Conn) *block {
	b := newBlock(size)
	for i := range size {
		b.data = append(b.data, byte(i>>8^i))
	}
	l.accounts.add(KindShared, int64(cap(b.data)))
	r := l.newRef(b, KindShared)
	for _, c := range conns {
		l.enqueue(c, entry{ref: r, end: uint32(size), messages: 1, kind: entryShared})
	}
	l.releaseRef(r)
	return b
}

func (s *files) open() (n int) {
	for i := range s.of {
		if s.of[i].ref != nil {
			n++
		}
	}
	return n
}

func fileLoop(t *testing.T) *Loop {
	l := bareLoop(t, Config{})
	file, ok := l.engine.system.newFile([]byte("x"))
	if !ok {
		t.Skip("sockets take no pages of files here")
	}
	l.engine.system.closeFile(file)
	poller, err := newWritePoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poller.abandon)
	l.engine.kernel.poller = poller
	return l
}

func read(t *testing.T, peer net.Conn, n int) []byte {
	t.Helper()
	_ = peer.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, n)
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	return got
}

// flushAll flushes c until nothing is queued. It reads what a full socket needs to be read, and
// returns that.
func flushAll(t *testing.T, l *Loop, c *Conn, peer net.Conn) (got []byte) {
	t.Helper()
	for deadline := time.Now().Add(patience); c.first.ref != nil; {
		before := c.unsent()
		c.flags &^= flagBlocked
		if l.flush(c); c.unsent() == before {
			got = append(got, read(t, peer, 1000)...)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are left", c.unsent())
		}
	}
	return got
}

// What sockets have of a run stays as it is when the run's memory is used for something else.
func TestRunFile(t *testing.T) {
	for _, size := range []int{fileFrom, 46_001, maxRun, fileMost} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			l := fileLoop(t)
			var conns []*Conn
			var peers []net.Conn
			for range fileFor {
				c, peer := tcpPair(t, l)
				conns, peers = append(conns, c), append(peers, peer)
			}
			b := queueRun(l, size, conns...)
			want, memory := bytes.Clone(b.data), b.data[:cap(b.data)]
			l.flush(conns[0])
			if got := l.files.open(); got != 1 {
				t.Fatalf("%d files are open, want 1", got)
			}
			if got, want := l.accounts.now[KindShared], int64(cap(b.data))+wholePages(size); got != want {
				t.Errorf("%d bytes are counted, want %d", got, want)
			}
			got := make([][]byte, len(conns))
			for i, c := range conns {
				got[i] = flushAll(t, l, c, peers[i])
			}
			if n, kept := l.files.open(), l.accounts.now[KindShared]; n != 0 || kept != 0 {
				t.Errorf("%d files are open and %d bytes counted when all is sent", n, kept)
			}
			for i := range memory {
				memory[i] = '!'
			}
			for i, peer := range peers {
				got[i] = append(got[i], read(t, peer, size-len(got[i]))...)
				if !bytes.Equal(got[i], want) {
					t.Errorf("connection %d received something else than it was sent", i)
				}
			}
		})
	}
}

// Files are for long runs that many have yet to send, and there are few at a time: of more, the oldest
// is closed, and who has yet to send it gets it all the same.
func TestRunFilesAreFew(t *testing.T) {
	l := fileLoop(t)
	var conns []*Conn
	var peers []net.Conn
	for range fileFor {
		c, peer := tcpPair(t, l)
		conns, peers = append(conns, c), append(peers, peer)
	}
	slow, quick := conns[0], conns[1:]
	for _, tt := range []struct {
		what string
		size int
		to   []*Conn
	}{
		{"a run for few", maxRun, quick},
		{"a short run", fileFrom - 1, conns},
		{"a very long run", fileMost + 1, conns},
	} {
		queueRun(l, tt.size, tt.to...)
		l.flush(tt.to[0])
		if n := l.files.open(); n != 0 {
			t.Errorf("%s has a file", tt.what)
		}
		for i, c := range tt.to {
			peer := peers[len(peers)-len(tt.to)+i]
			read(t, peer, tt.size-len(flushAll(t, l, c, peer)))
		}
	}

	const size, runs = fileFrom + 1, 2 * runFiles
	var want []byte
	for range runs {
		b := queueRun(l, size, conns...)
		want = append(want, b.data...)
		l.flush(quick[0])
	}
	if n := l.files.open(); n != runFiles {
		t.Errorf("%d files are open, want %d", n, runFiles)
	}
	for i, c := range quick {
		got := flushAll(t, l, c, peers[i+1])
		if got = append(got, read(t, peers[i+1], len(want)-len(got))...); !bytes.Equal(got, want) {
			t.Errorf("connection %d received something else than it was sent", i+1)
		}
	}
	got := flushAll(t, l, slow, peers[0])
	if got = append(got, read(t, peers[0], len(want)-len(got))...); !bytes.Equal(got, want) {
		t.Error("the slowest received something else than it was sent")
	}
	if n, kept := l.files.open(), l.accounts.now[KindShared]; n != 0 || kept != 0 {
		t.Errorf("%d files are open and %d bytes counted when all is sent", n, kept)
	}
}

// A system that has no file to give, or a socket that takes none, costs copies and nothing else.
func TestRunFileRefused(t *testing.T) {
	for _, tt := range []struct {
		what string
		sys  refusingSystem
	}{
		{"no file", refusingSystem{file: true}},
		{"no socket takes it", refusingSystem{sendErr: unix.EINVAL}},
	} {
		l := fileLoop(t)
		sys := tt.sys
		sys.system = l.engine.system
		l.engine.system = &sys
		var conns []*Conn
		var peers []net.Conn
		for range fileFor {
			c, peer := tcpPair(t, l)
			conns, peers = append(conns, c), append(peers, peer)
		}
		var want []byte
		for range 2 {
			want = append(want, queueRun(l, maxRun, conns...).data...)
		}
		for i, c := range conns {
			got := flushAll(t, l, c, peers[i])
			if got = append(got, read(t, peers[i], len(want)-len(got))...); !bytes.Equal(got, want) {
				t.Errorf("%s: connection %d received something else than it was sent", tt.what, i)
			}
		}
		if sys.asked != 1 {
			t.Errorf("%s: the system was asked %d times within a second, want once", tt.what, sys.asked)
		}
		if n, kept := l.files.open(), l.accounts.now[KindShared]; n != 0 || kept != 0 {
			t.Errorf("%s: %d files are open and %d bytes counted when all is sent", tt.what, n, kept)
		}
	}
}

// A refusingSystem refuses to make files, or to send them.
type refusingSystem struct {
	system
	file    bool
	sendErr syscall.Errno
	asked   int
}

func (s *refusingSystem) newFile(p []byte) (int32, bool) {
	if s.asked++; s.file {
		return -1, false
	}
	return s.system.newFile(p)
}

func (s *refusingSystem) sendFile(int32, int32, int64, int) (int, syscall.Errno) { return 0, s.sendErr }
