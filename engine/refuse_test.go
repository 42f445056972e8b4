package engine

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Who is refused hears so, though the engine stops meanwhile: on a goroutine, on a loop, and by TLS.
func TestRefusedAtAStop(t *testing.T) {
	plainOnly(t)
	for name, tc := range map[string]struct {
		config Config
		lc     ListenConfig
		head   string // of the PROXY protocol
		why    Reason
	}{
		"before a loop": {Config{MaxConnections: 1}, ListenConfig{}, "", ReasonTooManyClients},
		"on a loop": {Config{MaxPerAddress: 1, ConnectRatePerAddress: -1, ProxyTrust: thisMachine}, ListenConfig{Proxy: true},
			header(1, "192.0.2.1:1"), ReasonAddressLimit},
		"by TLS": {Config{MaxConnections: 1}, ListenConfig{TLS: serverTLS()}, "", ReasonTooManyClients},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.lc.Protocols = []Protocol{refusingLine{}}
			e, addr := startLine(t, tc.config, tc.lc)
			dial := func() *lineClient {
				c := dialLine(t, addr)
				c.write(tc.head)
				return c
			}
			first := dial()
			if tc.lc.TLS != nil {
				first = overTLS(t, first.Conn, clientTLS(0))
			}
			first.send("ECHO x")
			first.expect("x")
			refused := dial()
			waitFor(t, "the refusal", func() bool { return e.Stats().Refused[tc.why] == 1 })
			stopped := make(chan error)
			go func() { stopped <- stopWithin(e, patience) }()
			first.expect("BYE shutdown")
			if tc.lc.TLS != nil {
				err := tls.Client(refused.Conn, clientTLS(0)).Handshake()
				if err == nil || !strings.Contains(err.Error(), "internal error") {
					t.Errorf("the client hears %v", err)
				}
			} else {
				refused.send("ECHO y")
				refused.expect(fmt.Sprint("NO ", tc.why))
			}
			refused.expectEOF()
			first.Close()
			refused.Close()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
		})
	}
}

// Those who are refused and say nothing, or stay, keep a stop for refuseTime at most, not past its time,
// and are no failure.
func TestStopBesideRefused(t *testing.T) {
	plainOnly(t)
	for _, onLoop := range []bool{false, true} {
		for within, most := range map[time.Duration]time.Duration{
			300 * time.Millisecond: 300 * time.Millisecond,
			patience:               refuseTime,
		} {
			t.Run(fmt.Sprintf("on a loop %v, within %v", onLoop, within), func(t *testing.T) {
				t.Parallel()
				config, lc, head, why := Config{MaxConnections: 1}, ListenConfig{}, "", ReasonTooManyClients
				if onLoop {
					config = Config{MaxPerAddress: 1, ConnectRatePerAddress: -1, ProxyTrust: thisMachine, Linger: time.Minute}
					lc.Proxy, head, why = true, header(1, "192.0.2.1:1"), ReasonAddressLimit
				}
				lc.Protocols = []Protocol{refusingLine{}}
				e, addr := startLine(t, config, lc)
				dial := func() *lineClient {
					c := dialLine(t, addr)
					c.write(head)
					return c
				}
				first := dial()
				first.send("ECHO x")
				first.expect("x")
				_, stays := dial(), dial()
				waitFor(t, "the refusals", func() bool { return e.Stats().Refused[why] == 2 })
				stays.send("ECHO y")
				stays.expect(fmt.Sprint("NO ", why))
				first.Close()
				waitFor(t, "its end", func() bool { return e.Stats().Closed[ReasonPeerClosed] == 1 })
				ctx, cancel := context.WithTimeout(context.Background(), within)
				defer cancel()
				begun := time.Now()
				if err := e.Stop(ctx); err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > most+stopGrace+time.Second {
					t.Errorf("it took %v", took)
				}
				if n := e.Connections(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
			})
		}
	}
}
