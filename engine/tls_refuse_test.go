package engine

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Who is refused before a handshake hears the alert internal_error, and no handshake is made for it.
func TestTLSRefused(t *testing.T) {
	plainOnly(t)
	t.Parallel()
	for name, tc := range map[string]struct {
		config Config
		lc     ListenConfig
		head   string // of the PROXY protocol
		why    Reason
	}{
		"all places taken":       {Config{MaxConnections: 1}, ListenConfig{}, "", ReasonTooManyClients},
		"the address's taken":    {Config{MaxPerAddress: 1}, ListenConfig{}, "", ReasonAddressLimit},
		"plain connections, too": {Config{MaxPerAddress: 1}, ListenConfig{TLSAuto: true}, "", ReasonAddressLimit},
		"by a known client": {Config{MaxPerAddress: 1, ProxyTrust: thisMachine}, ListenConfig{Proxy: true},
			header(1, "192.0.2.1:1"), ReasonAddressLimit},
		"before it is known": {Config{MaxConnections: 1, ProxyTrust: thisMachine}, ListenConfig{Proxy: true},
			header(2, "192.0.2.1:1"), ReasonTooManyClients},
		"no protocol with words": {Config{MaxConnections: 1}, ListenConfig{Protocols: []Protocol{lineProtocol{}}}, "", ReasonTooManyClients},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.config.Loops, tc.config.ConnectRatePerAddress, tc.lc.TLS = 1, -1, serverTLS()
			if tc.lc.Protocols == nil {
				tc.lc.Protocols = []Protocol{refusingLine{}}
			}
			e, addr := startLine(t, tc.config, tc.lc)
			dial := func(size int) net.Conn {
				raw, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { raw.Close() })
				_ = raw.SetDeadline(time.Now().Add(patience))
				return &prefixed{slicer{raw, size}, []byte(tc.head)}
			}
			first := overTLS(t, dial(1<<20), clientTLS(0))
			first.send("ECHO x")
			first.expect("x")
			for i, size := range []int{1 << 20, 3} {
				conn := dial(size)
				err := tls.Client(conn, clientTLS(0)).Handshake()
				if err == nil || !strings.Contains(err.Error(), "internal error") {
					t.Errorf("in pieces of %d bytes: the client hears %v", size, err)
				}
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("behind the alert: %v", err)
				}
				waitFor(t, "the refusal", func() bool { return e.Stats().Refused[tc.why] == uint64(i+1) })
			}
			if hs := e.Stats().Handshakes; hs.TLS13 != 1 || hs.Failed != 0 {
				t.Errorf("%+v", hs)
			}
		})
	}
}

// What is no TLS gets nothing on a listener that has TLS alone, and words where plain connections are
// served; who is refused behind its handshake gets words, too.
func TestTLSRefusedInWords(t *testing.T) {
	plainOnly(t)
	t.Parallel()
	protocols := []Protocol{forProtocol{}, refusingLine{}}
	for name, tc := range map[string]struct {
		auto, plain, forwarded bool
		want                   string // empty: nothing
	}{
		"plain":                       {plain: true},
		"plain, where it is served":   {auto: true, plain: true, want: "NO address-limit"},
		"behind the handshake":        {forwarded: true, want: "NO address-limit"},
		"and plain ones are served":   {auto: true, forwarded: true, want: "NO address-limit"},
		"plain, once it is forwarded": {auto: true, plain: true, forwarded: true, want: "NO address-limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := Config{Loops: 1, MaxPerAddress: 1, ConnectRatePerAddress: -1}
			if tc.forwarded {
				config.ForwardedTrust = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
			_, addr := startLine(t, config, ListenConfig{TLS: serverTLS(), TLSAuto: tc.auto, Protocols: protocols})
			first := dialTLS(t, addr, clientTLS(0))
			first.send("ECHO x")
			first.expect("x")
			c := dialLine(t, addr)
			if !tc.plain {
				c = overTLS(t, c.Conn, clientTLS(0))
			}
			c.send("ECHO y")
			if tc.want != "" {
				c.expect(tc.want)
			}
			c.expectEOF()
		})
	}
}
