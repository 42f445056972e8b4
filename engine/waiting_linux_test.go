package engine

import (
	"bufio"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
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
			release := make(chan struct{})
			e, addr := startLine(t, Config{Admit: func(netip.Addr) (Reason, bool) {
				<-release
				return 0, true
			}}, ListenConfig{Protocols: []Protocol{refusingLine{}}})
			if network == "unix" {
				e.StopListening()
				a, err := e.Listen(ListenConfig{Network: network, Address: filepath.Join(t.TempDir(), "s"), Protocols: []Protocol{refusingLine{}}})
				if err != nil {
					t.Fatal(err)
				}
				addr = a.String()
			}
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
