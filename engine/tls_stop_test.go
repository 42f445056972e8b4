package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dribble writes n bytes at a time, with pauses.
type dribble struct {
	net.Conn
	n     int
	pause time.Duration
}

func (d dribble) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := d.Conn.Write(p[n:min(len(p), n+d.n)])
		if n += m; err != nil {
			return n, err
		}
		time.Sleep(d.pause)
	}
	return n, nil
}

// talk makes a handshake, asks for an echo, and says what the client got up to the end.
func talk(conn net.Conn, version uint16) string {
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := tls.Client(conn, clientTLS(version))
	if err := c.Handshake(); err != nil {
		return "in its handshake: " + endOf(err)
	}
	if _, err := c.Write([]byte("ECHO x\n")); err != nil {
		return "asking: " + endOf(err)
	}
	b, err := io.ReadAll(c)
	return fmt.Sprintf("%q, %s", b, endOf(err))
}

func endOf(err error) string {
	switch {
	case err == nil:
		return "close_notify"
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "FIN"
	case strings.Contains(err.Error(), "tls: internal error"):
		return "alert"
	}
	return err.Error()
}

// However far a client is when the gateway stops, it is told: by its protocol or, before its handshake
// has begun, by an alert. No client that was accepted is reset.
func TestTLSStopAtAnyMoment(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	var mu sync.Mutex
	ends := make(map[string]int)
	for range rounds {
		e, _ := plainEngine(t, Config{Linger: patience, HandshakeTimeout: patience})
		addr, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []Protocol{refusingLine{}}, TLS: serverTLS()})
		if err != nil {
			t.Fatal(err)
		}
		var clients sync.WaitGroup
		var connected, reset atomic.Int64
		for i := range 12 {
			clients.Go(func() {
				time.Sleep(rand.N(4 * time.Millisecond))
				raw, err := net.Dial("tcp", addr.String())
				if err != nil {
					return
				}
				defer raw.Close()
				connected.Add(1)
				end := talk(dribble{raw, 8 + rand.IntN(300), rand.N(200 * time.Microsecond)}, tls.VersionTLS12+uint16(i%2))
				if strings.HasSuffix(end, "reset") {
					reset.Add(1)
					return
				}
				mu.Lock()
				ends[end]++
				mu.Unlock()
			})
		}
		time.Sleep(rand.N(8 * time.Millisecond))
		if err := stopWithin(e, 3*patience); err != nil {
			t.Error(err)
		}
		clients.Wait()
		// A client may have connected when the listener closed, and then the kernel resets it.
		if n, missed := reset.Load(), connected.Load()-int64(e.Stats().Accepted); n > missed {
			t.Errorf("%d clients are reset, and %d have not been accepted", n, missed)
		}
	}
	for end, n := range ends {
		switch end {
		case "in its handshake: alert", `"NO shutdown\n", close_notify`, `"x\nBYE shutdown\n", close_notify`, `"", close_notify`:
		default:
			t.Errorf("%d clients: %s", n, end)
		}
	}
}

// What is left when a stop gives a handshake no more time.
func TestTLSStopEndsHandshakes(t *testing.T) {
	hello := string(helloBytes(t, clientTLS(tls.VersionTLS13)))
	for name, tc := range map[string]struct {
		config  Config
		lc      ListenConfig
		blocked bool // the certificate does not come
		first   string
		begun   int // handshakes
		waiting int
		alert   bool // and nothing else
		flight  bool // of the server's, which nothing follows
	}{
		"silent":                         {alert: true},
		"silent, plain ones are served":  {lc: ListenConfig{TLSAuto: true}},
		"one byte, plain ones are, too":  {lc: ListenConfig{TLSAuto: true}, first: hello[:1], alert: true},
		"half a ClientHello":             {first: hello[:100], alert: true},
		"before the PROXY header":        {config: Config{ProxyTrust: thisMachine}, lc: ListenConfig{Proxy: true}, first: "PROXY", alert: true},
		"a certificate that is awaited":  {blocked: true, first: hello, begun: 1, alert: true},
		"a turn that is awaited":         {config: Config{MaxHandshakes: 1}, blocked: true, first: hello, begun: 1, waiting: 1, alert: true},
		"the client's Finished":          {first: hello, begun: 1, flight: true},
		"a record of it that is cut off": {first: hello + "\x17\x03\x03\x00\x40cut", begun: 1, flight: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.config.Linger = 200 * time.Millisecond
			tc.config.HandshakeTimeout = patience
			e, _ := plainEngine(t, tc.config)
			tc.lc.TLS = serverTLS()
			if tc.blocked {
				tc.lc.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
					<-h.Context().Done()
					return nil, h.Context().Err()
				}}
			}
			tc.lc.Network, tc.lc.Address, tc.lc.Protocols = "tcp", "127.0.0.1:0", []Protocol{refusingLine{}}
			addr, err := e.Listen(tc.lc)
			if err != nil {
				t.Fatal(err)
			}
			var clients []net.Conn
			for range max(1, tc.begun+tc.waiting) {
				raw, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				if _, err := io.WriteString(raw, tc.first); err != nil {
					t.Fatal(err)
				}
				clients = append(clients, raw)
			}
			waitFor(t, "the clients", func() bool {
				s := e.Stats()
				return int(s.Connections) == len(clients) && s.BytesIn == uint64(len(clients)*len(tc.first)) && (s.BytesOut > 0) == tc.flight &&
					s.Handshakes.Running == tc.begun && s.Handshakes.Waiting == tc.waiting
			})
			var group sync.WaitGroup
			for _, raw := range clients {
				group.Go(func() {
					_ = raw.SetReadDeadline(time.Now().Add(patience))
					b, err := io.ReadAll(raw)
					_ = raw.Close()
					alert := string(alertRecord(alertInternalError))
					switch {
					case err != nil:
						t.Error(err)
					case !tc.flight && tc.alert != (string(b) == alert), tc.flight && (len(b) < 500 || strings.HasSuffix(string(b), alert)):
						t.Errorf("got %q", b)
					}
				})
			}
			if err := stopWithin(e, patience); err != nil {
				t.Error(err)
			}
			group.Wait()
			if s := e.Stats(); s.Closed[ReasonShutdown] != uint64(len(clients)) || s.Handshakes.TimedOut != 0 || s.Total != 0 {
				t.Errorf("closed %v, %+v, %d bytes", s.Closed, s.Handshakes, s.Total)
			}
		})
	}
}

// A handshake keeps a stop no longer than that may take, and its own time still ends it.
func TestTLSStopHasLittleTime(t *testing.T) {
	hello := helloBytes(t, clientTLS(tls.VersionTLS13))
	for name, tc := range map[string]struct {
		config Config
		stop   time.Duration
	}{
		"the stop's":      {Config{Linger: 2 * patience, HandshakeTimeout: 2 * patience}, 400 * time.Millisecond},
		"the handshake's": {Config{Linger: 2 * patience, HandshakeTimeout: 400 * time.Millisecond}, 2 * patience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, _ := plainEngine(t, tc.config)
			addr, err := e.Listen(ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []Protocol{lineProtocol{}}, TLS: serverTLS()})
			if err != nil {
				t.Fatal(err)
			}
			raw, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			if _, err := raw.Write(hello); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the server's flight", func() bool { return e.Stats().BytesOut > 0 })
			ended := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, raw)
				_ = raw.Close()
				ended <- err
			}()
			ctx, cancel := context.WithTimeout(context.Background(), tc.stop)
			defer cancel()
			begun := time.Now()
			if err := e.Stop(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > patience {
				t.Errorf("stopped after %v", took)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
