package engine

import (
	"bufio"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
)

// startGated starts an engine that listens on one socket, of TCP or unix, and whose acceptors wait, each
// with a connection, until release is closed.
func startGated(t *testing.T, network string, p Protocol) (e *Engine, addr string, release chan struct{}) {
	t.Helper()
	release = make(chan struct{})
	e, addr = startLine(t, Config{Admit: func(netip.Addr) (Reason, bool) {
		<-release
		return 0, true
	}}, ListenConfig{Protocols: []Protocol{p}})
	if network == "unix" {
		e.StopListening()
		a, err := e.Listen(ListenConfig{Network: network, Address: filepath.Join(t.TempDir(), "s"), Protocols: []Protocol{p}})
		if err != nil {
			t.Fatal(err)
		}
		addr = a.String()
	}
	return e, addr, release
}

// Who was connected when the listener is closed is served, though nobody had accepted them yet, and so
// is who is accepted meanwhile: what they say then gets its answer, and they are told of the end.
func TestStopListeningServesWhoIsConnected(t *testing.T) {
	plainOnly(t) // a handshake would wait to be accepted
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			e, addr, release := startGated(t, network, lineProtocol{})
			var clients []*lineClient
			for range acceptors + 50 { // who accept are busy with the first
				c, err := net.Dial(network, addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				clients = append(clients, &lineClient{t, c, bufio.NewReader(c)})
			}
			done := make(chan struct{})
			go func() {
				e.StopListening()
				close(done)
			}()
			all := *e.listeners.Load()
			for !all[len(all)-1].closed.Load() { // where the clients are
				runtime.Gosched()
			}
			close(release)
			<-done
			if c, err := net.Dial(network, addr); err == nil {
				c.Close()
				t.Error("it still listens")
			}
			for _, c := range clients {
				c.send("ECHO hello")
				c.expect("hello")
			}
			e.CloseAll(ReasonShutdown)
			for _, c := range clients {
				c.expect("BYE shutdown")
				c.expectEOF()
			}
		})
	}
}

// Who waited to be accepted when the listener is closed, and has gone by then, is in nobody's way.
func TestStopListeningWhoHasGone(t *testing.T) {
	plainOnly(t) // a handshake would wait to be accepted
	for _, network := range []string{"tcp", "unix"} {
		for _, gone := range []string{"reset", "closed"} {
			t.Run(network+" "+gone, func(t *testing.T) {
				e, addr, release := startGated(t, network, lineProtocol{})
				connect := func() net.Conn {
					c, err := net.Dial(network, addr)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				for range acceptors { // who accept are busy with these
					defer connect().Close()
				}
				for range 50 {
					c := connect()
					if tcp, ok := c.(*net.TCPConn); ok && gone == "reset" {
						_ = tcp.SetLinger(0)
					}
					c.Close()
				}
				last := connect()
				defer last.Close()
				done := make(chan struct{})
				go func() {
					e.StopListening()
					close(done)
				}()
				all := *e.listeners.Load()
				for !all[len(all)-1].closed.Load() {
					runtime.Gosched()
				}
				close(release)
				<-done
				c := &lineClient{t, last, bufio.NewReader(last)}
				c.send("ECHO hello")
				c.expect("hello")
			})
		}
	}
}
