package notsent

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLimit: of what a peer does not read, so many bytes wait to be sent and not more.
func TestLimit(t *testing.T) {
	const limit, chunk = 64 << 10, 4 << 10
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, limited := range []bool{false, true} {
		ours, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		theirs, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		_ = theirs.(*net.TCPConn).SetReadBuffer(16 << 10)
		if limited {
			Limit(ours, limit)
		}
		_ = ours.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for err = nil; err == nil; {
			_, err = ours.Write(make([]byte, chunk))
		}
		if !os.IsTimeout(err) {
			t.Fatal(err)
		}
		raw, err := ours.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		waits := 0
		if e := raw.Control(func(fd uintptr) { waits, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		// The kernel looks before each segment that it makes of a write, which has up to 64 KiB.
		if within := waits <= limit+64<<10; within != limited {
			t.Errorf("limited %v: %d bytes wait to be sent, of a limit of %d", limited, waits, limit)
		}
	}
	Limit(nil, limit) // which is no TCP connection
}
