package engine

import (
	"bufio"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
)

// Who was connected when the listener is closed is served, though nobody had accepted them yet, and so
// is who is accepted meanwhile: what they say then gets its answer, and they are told of the end.
func TestStopListeningServesWhoIsConnected(t *testing.T) {
	plainOnly(t) // a handshake would wait to be accepted
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			release := make(chan struct{})
			e, addr := startLine(t, Config{Admit: func(netip.Addr) (Reason, bool) {
				<-release
				return 0, true
			}}, ListenConfig{})
			if network == "unix" {
				a, err := e.Listen(ListenConfig{Network: network, Address: filepath.Join(t.TempDir(), "s"), Protocols: []Protocol{lineProtocol{}}})
				if err != nil {
					t.Fatal(err)
				}
				addr = a.String()
			}
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
