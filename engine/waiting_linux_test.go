package engine

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where descriptors are used up when listening stops, who waits to be accepted is refused in words, not
// reset, and those before go on.
func TestStopListeningWithoutDescriptors(t *testing.T) {
	plainOnly(t) // a handshake would wait to be accepted
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Skip(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			e, addr, release := startGated(t, network, refusingLine{})
			dial := func() *lineClient {
				c, err := net.Dial(network, addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				return &lineClient{t, c, bufio.NewReader(c)}
			}
			var accepted, talkers, silent []*lineClient
			for range acceptors {
				accepted = append(accepted, dial())
			}
			waitFor(t, "acceptors that are busy", func() bool { return e.Connections() == acceptors })
			for range 20 {
				c := dial()
				c.send("ECHO hello")
				talkers = append(talkers, c)
				silent = append(silent, dial())
			}
			stopped := make(chan struct{})
			restrict(t, lim, 0)
			go func() {
				defer close(stopped)
				e.StopListening()
			}()
			waiting := uint64(len(talkers) + len(silent))
			refused := func() bool { return e.Stats().Refused[ReasonTooManyClients] == waiting }
			for begun := time.Now(); !refused() && time.Since(begun) < patience; {
				runtime.Gosched()
			}
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
				t.Fatal(err)
			}
			close(release)
			<-stopped
			if n := e.Stats().Refused[ReasonTooManyClients]; n != waiting {
				t.Errorf("%d are refused, want %d", n, waiting)
			}
			for _, c := range talkers {
				c.expect("NO too-many-clients")
				c.expectEOF()
			}
			for _, c := range silent {
				c.expectEOF()
			}
			for _, c := range accepted {
				c.send("ECHO hello")
				c.expect("hello")
			}
		})
	}
}

// Who is accepted with the last descriptor is refused in words: gnet wants a second one for a moment.
func TestAcceptWithTheLastDescriptor(t *testing.T) {
	plainOnly(t) // a handshake would wait for its turn
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		t.Skip(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			e, addr, release := startGated(t, network, refusingLine{})
			e.scarceFrom = 0 // before anybody is accepted
			var clients []*lineClient
			for range acceptors {
				c, err := net.Dial(network, addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				clients = append(clients, &lineClient{t, c, bufio.NewReader(c)})
				clients[len(clients)-1].send("ECHO hello")
			}
			waitFor(t, "acceptors that are busy", func() bool { return e.Connections() == acceptors })
			restrict(t, lim, 0)
			close(release)
			waitFor(t, "the refusals", func() bool { return e.Stats().Refused[ReasonTooManyClients]+e.Stats().Accepted == acceptors })
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
				t.Fatal(err)
			}
			refused := uint64(0)
			for _, c := range clients {
				_ = c.SetReadDeadline(time.Now().Add(patience))
				switch got, err := c.r.ReadString('\n'); {
				case err == nil && got == "NO too-many-clients\n":
					refused++
				case err != nil || got != "hello\n":
					t.Errorf("got %q, %v", got, err)
				}
			}
			if n := e.Stats().Refused[ReasonTooManyClients]; n != refused || n == 0 {
				t.Errorf("%d are refused, and %d hear of it", n, refused)
			}
		})
	}
}

// All are taken that wait when listening stops, as many as the kernel keeps, which is one more than it
// is told.
func TestStopListeningWithAFullQueue(t *testing.T) {
	plainOnly(t)
	const most = 6000
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur < 2*most+1000 {
		t.Skipf("it takes %d descriptors: %d, %v", 2*most+1000, lim.Cur, err)
	}
	e, addr, release := startGated(t, "unix", refusingLine{})
	var there uint64
	dial := func() bool {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: addr}); err {
		case nil:
			there++
			return true
		case unix.EAGAIN: // the queue is full
		default:
			t.Error(err)
		}
		return false
	}
	for range acceptors {
		dial()
	}
	waitFor(t, "acceptors that are busy", func() bool { return e.Connections() == acceptors })
	for dial() {
		if there == most {
			t.Skip("the queue is longer here")
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.StopListening()
	}()
	close(release)
	<-stopped
	if n := e.Stats().Accepted; n != there {
		t.Errorf("%d are taken of %d", n, there)
	}
}

// Whoever has connected to a unix socket when the listener closes is taken. One without a file can be found
// until it is closed.
func TestStopListeningWhileOthersConnect(t *testing.T) {
	for range 30 {
		e, _ := plainEngine(t, Config{})
		addr, err := e.Listen(ListenConfig{Network: "unix", Address: fmt.Sprintf("@sluice-test-%d", os.Getpid()), Protocols: []Protocol{lineProtocol{}}})
		if err != nil {
			t.Fatal(err)
		}
		var clients sync.WaitGroup
		var connected atomic.Uint64
		for range 4 {
			clients.Go(func() {
				for {
					c, err := net.Dial("unix", addr.String())
					if err != nil {
						return
					}
					connected.Add(1)
					defer c.Close()
				}
			})
		}
		time.Sleep(time.Millisecond)
		e.StopListening()
		clients.Wait()
		if n := e.Stats().Accepted; n != connected.Load() {
			t.Errorf("%d have connected, %d are taken", connected.Load(), n)
		}
		if err := stopWithin(e, patience); err != nil {
			t.Error(err)
		}
	}
}
