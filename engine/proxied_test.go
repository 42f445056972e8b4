package engine

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/proxyproto"
)

var thisMachine = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// header is what a proxy sends of a client at source.
func header(version uint8, source string, tlvs ...byte) string {
	h := proxyproto.Header{Version: version, Command: proxyproto.Proxy, Family: proxyproto.Inet, Transport: proxyproto.Stream,
		Source: netip.MustParseAddrPort(source), TLVs: tlvs}
	if h.Source.Addr().Is6() {
		h.Family = proxyproto.Inet6
	}
	h.Destination = h.Source
	b, err := proxyproto.Append(nil, &h)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func unixHeader(path string) string {
	b, err := proxyproto.Append(nil, &proxyproto.Header{Version: 2, Command: proxyproto.Proxy, Family: proxyproto.Unix,
		Transport: proxyproto.Stream, SourcePath: []byte(path)})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// admitted notes whom Admit was asked about.
type admitted struct {
	mu   sync.Mutex
	list []netip.Addr
}

func (a *admitted) admit(addr netip.Addr) (Reason, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, addr)
	return ReasonLoginBanned, addr != netip.MustParseAddr("192.0.2.66")
}

func (a *admitted) take() []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// startProxied is startLine without what is kept of addresses that have connected a moment ago.
func startProxied(t *testing.T, config Config, lc ListenConfig) (*Engine, string) {
	if lc.TLS == nil {
		plainOnly(t)
	}
	config.ConnectRatePerAddress = -1
	return startLine(t, config, lc)
}

func TestProxiedPeer(t *testing.T) {
	t.Parallel()
	var asked admitted
	_, addr := startProxied(t, Config{ProxyTrust: thisMachine, Admit: asked.admit}, ListenConfig{Proxy: true})
	for _, tt := range []struct {
		name, header, want string // "": the socket's own
	}{
		{"v1", header(1, "192.0.2.1:51000"), "192.0.2.1:51000"},
		{"v2", header(2, "192.0.2.1:51000"), "192.0.2.1:51000"},
		{"v1, IPv6", header(1, "[2001:db8::1]:51000"), "[2001:db8::1]:51000"},
		{"v2, IPv6", header(2, "[2001:db8::1]:51000"), "[2001:db8::1]:51000"},
		{"v1, IPv4-mapped", header(1, "[::ffff:192.0.2.1]:51000"), "192.0.2.1:51000"},
		{"v2, IPv4-mapped", header(2, "[::ffff:192.0.2.1]:51000"), "192.0.2.1:51000"},
		{"v1 unknown", "PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n", ""},
		{"v2 local", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", ""},
		{"v2 local with an address", strings.Replace(header(2, "192.0.2.1:51000"), "QUIT\n\x21", "QUIT\n\x20", 1), ""},
		{"v2 of no family", "\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00", ""},
		{"v2, UDP", strings.Replace(header(2, "192.0.2.1:51000"), "\x21\x11", "\x21\x12", 1), "192.0.2.1:51000"},
		{"v2, unix", unixHeader("/run/client"), "invalid AddrPort"},
		{"v2, the longest", header(2, "192.0.2.1:51000", bytes.Repeat([]byte{0xe0, 0, 0}, (1<<16-1-12)/3)...), "192.0.2.1:51000"},
	} {
		for _, how := range []string{"at once", "in two", "byte by byte"} {
			if how == "byte by byte" && len(tt.header) > 1000 {
				continue
			}
			c := dialLine(t, addr)
			all := tt.header + "PEER\nECHO x\n"
			switch how {
			case "at once":
				c.write(all)
			case "in two":
				c.write(all[:len(tt.header)])
				time.Sleep(2 * time.Millisecond)
				c.write(all[len(tt.header):])
			case "byte by byte":
				for i := range len(all) {
					c.write(all[i : i+1])
				}
			}
			want := tt.want
			if want == "" {
				want = c.LocalAddr().String()
			}
			c.expect(want)
			c.expect("x")
			peer, _ := netip.ParseAddrPort(want)
			if got := asked.take(); len(got) != 1 || got[0] != peer.Addr() {
				t.Errorf("%s, %s: admission asked about %v, want %v once", tt.name, how, got, peer.Addr())
			}
			c.Close()
		}
	}
}

func (c *lineClient) write(s string) {
	c.t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

func TestProxiedRefused(t *testing.T) {
	t.Parallel()
	good := header(2, "192.0.2.1:51000")
	for _, tt := range []struct {
		name, send string
		why        Reason
	}{
		{"no header", "ECHO x\n", ReasonProxyHeader},
		{"malformed", "PROXY TCP4 192.0.2.1\r\n", ReasonProxyHeader},
		{"a line without an end", "PROXY UNKNOWN " + strings.Repeat("x", 100), ReasonProxyHeader},
		{"a bad checksum", header(2, "192.0.2.1:1", 3, 0, 4, 1, 2, 3, 4)[:31] + "\x00\x00\x00\x00", ReasonProxyHeader},
		{"two headers", good + good, ReasonUnknownProtocol},
		{"half a header", good[:20], ReasonProxyTimeout},
		{"nothing", "", ReasonProxyTimeout},
		{"a header and nothing", good, ReasonLoginTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked admitted
			config := Config{ProxyTrust: thisMachine, Loops: 1, Admit: asked.admit, ProxyTimeout: 2 * time.Second}
			if tt.why == ReasonProxyTimeout {
				config.ProxyTimeout = time.Millisecond
			}
			if tt.why == ReasonLoginTimeout {
				config.FirstBytes = time.Millisecond
			}
			e, addr := startProxied(t, config, ListenConfig{Proxy: true})
			c := dialLine(t, addr)
			c.write(tt.send)
			c.expectOver()
			waitFor(t, "the end", func() bool { return e.Stats().Connections == 0 })
			if n := e.Stats().Closed[tt.why]; n != 1 {
				t.Errorf("%d closed for %v, want 1: %v", n, tt.why, e.Stats().Closed)
			}
			if got := asked.take(); len(got) != 0 && !strings.HasPrefix(tt.send, good) {
				t.Errorf("admission asked about %v", got)
			}
		})
	}
}

// Whoever is not a trusted proxy is refused, whatever it sends.
func TestProxiedUntrusted(t *testing.T) {
	t.Parallel()
	var asked admitted
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	e, addr := startProxied(t, Config{ProxyTrust: trusted, Admit: asked.admit}, ListenConfig{Proxy: true})
	for _, send := range []string{header(1, "192.0.2.1:51000") + "PEER\n", "PEER\n", ""} {
		c := dialLine(t, addr)
		_, _ = c.Write([]byte(send))
		c.expectOver()
	}
	waitFor(t, "the ends", func() bool { return e.Stats().Refused[ReasonProxyUntrusted] == 3 })
	if got := asked.take(); len(got) != 0 {
		t.Errorf("admission asked about %v", got)
	}
	e.SetLimits(Limits{ConnectRatePerAddress: -1, ProxyTrust: []netip.Prefix{netip.MustParsePrefix("::ffff:127.0.0.0/104")}})
	c := dialLine(t, addr)
	c.write(header(1, "192.0.2.1:51000") + "PEER\n")
	c.expect("192.0.2.1:51000")
}

// The client's own limits hold, not the proxy's; and who is refused hears of it.
func TestProxiedLimits(t *testing.T) {
	t.Parallel()
	var asked admitted
	e, addr := startProxied(t, Config{Loops: 1, ProxyTrust: thisMachine, MaxPerAddress: 2, Admit: asked.admit},
		ListenConfig{Proxy: true, Protocols: []Protocol{refusingLine{}}})
	dial := func(source string) *lineClient {
		c := dialLine(t, addr)
		c.write(header(2, source) + "PEER\n")
		return c
	}
	var open []*lineClient
	for _, source := range []string{"192.0.2.1:1", "192.0.2.1:2", "[2001:db8::1]:1", "[2001:db8::ffff:1]:1", "[2001:db8:0:1::1]:1"} {
		c := dial(source)
		c.expect(source)
		open = append(open, c)
	}
	for _, tt := range []struct{ source, want string }{
		{"192.0.2.1:3", "NO address-limit"},
		{"[::ffff:192.0.2.1]:3", "NO address-limit"},
		{"[2001:db8::7]:3", "NO address-limit"},
		{"192.0.2.66:1", "NO login-banned"},
	} {
		c := dial(tt.source)
		c.expect(tt.want)
		c.expectEOF()
		c.Close()
	}
	s := e.Stats()
	if s.Refused[ReasonAddressLimit] != 3 || s.Refused[ReasonLoginBanned] != 1 || s.Closed[ReasonAddressLimit] != 0 {
		t.Errorf("refused %v, closed %v", s.Refused, s.Closed)
	}
	open[0].Close()
	waitFor(t, "room", func() bool { return e.Stats().Connections == int64(len(open)-1) })
	dial("192.0.2.1:4").expect("192.0.2.1:4")
	if got := e.Stats().Addresses; got != 3 {
		t.Errorf("%d addresses counted, want 3", got)
	}
}

// refusingLine answers lines of those that are refused.
type refusingLine struct{ lineProtocol }

func (refusingLine) Refuse(first []byte, why Reason) ([]byte, Match) {
	if !bytes.Contains(first, []byte("\n")) {
		return nil, NeedMore
	}
	return []byte("NO " + why.String() + "\n"), Matched
}

// Who is refused at once, for want of room, hears of it behind the header.
func TestProxiedTooManyClients(t *testing.T) {
	t.Parallel()
	_, addr := startProxied(t, Config{Loops: 1, ProxyTrust: thisMachine, MaxConnections: 1},
		ListenConfig{Proxy: true, Protocols: []Protocol{refusingLine{}}})
	first := dialLine(t, addr)
	first.write(header(1, "192.0.2.1:1") + "PEER\n")
	first.expect("192.0.2.1:1")
	c := dialLine(t, addr)
	for _, part := range []string{"PROXY TCP4 192.0.2.1", " 192.0.2.2 1 2\r", "\n", "EC", "HO\n"} {
		c.write(part)
		time.Sleep(time.Millisecond)
	}
	c.expect("NO too-many-clients")
}

// Those that are refused and wait for their answer are bounded, and end by themselves.
func TestProxiedRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	e, addr := startProxied(t, Config{Loops: 1, ProxyTrust: thisMachine, MaxPerAddress: 1, MaxRefusals: 4},
		ListenConfig{Proxy: true, Protocols: []Protocol{refusingLine{}}})
	kept := dialLine(t, addr)
	kept.write(header(1, "192.0.2.1:1") + "PEER\n")
	kept.expect("192.0.2.1:1")
	silent := dialLine(t, addr) // refused, and says nothing: it has the address's part
	silent.write(header(1, "192.0.2.1:2"))
	waitFor(t, "the refusal", func() bool { return e.Stats().Refused[ReasonAddressLimit] == 1 })
	c := dialLine(t, addr)
	c.write(header(1, "192.0.2.1:3"))
	c.expectEOF()
	silent.expectEOF()
	waitFor(t, "the ends", func() bool { return e.Stats().Connections == 1 })
	e.refusals.mu.Lock()
	defer e.refusals.mu.Unlock()
	if e.refusals.kept != 0 || len(e.refusals.from) != 0 {
		t.Errorf("%d refusals kept, of %v", e.refusals.kept, e.refusals.from)
	}
}

// forProtocol has a proxy's word in its first line: "FOR address:port", or "FOR -".
type forProtocol struct{ lineProtocol }

func (forProtocol) Identifies() {}

func (forProtocol) Sniff(first []byte) Match {
	if first[0] == 'F' {
		return Matched
	}
	return NoMatch
}

func (p forProtocol) Open(c *Conn) Handler { return &forHandler{p: p} }

type forHandler struct {
	lineHandler
	p forProtocol
}

func (h *forHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	line, _, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return 0, len(b) + 1
	}
	client, _ := netip.ParseAddrPort(strings.TrimPrefix(string(line), "FOR "))
	if c.Unidentified() {
		if why, ok := c.Identify(client); !ok {
			c.Write([]byte("NO " + why.String() + "\n"))
			c.Close(why)
			return 0, 0
		}
	}
	c.SetHandler(h.p.lineProtocol.Open(c))
	return len(line) + 1, 0
}

func TestForwarded(t *testing.T) {
	t.Parallel()
	var asked admitted
	e, addr := startProxied(t, Config{Loops: 1, ForwardedTrust: thisMachine, MaxPerAddress: 2, Admit: asked.admit},
		ListenConfig{Protocols: []Protocol{forProtocol{}, refusingLine{}}})
	var open []net.Conn
	for _, tt := range []struct{ send, want string }{
		{"FOR 192.0.2.1:5\n", "192.0.2.1:5"},
		{"FOR 192.0.2.1:6\n", "192.0.2.1:6"},
		{"FOR 192.0.2.1:7\n", "NO address-limit"},
		{"FOR 192.0.2.66:1\n", "NO login-banned"},
		{"FOR -\n", ""}, // the proxy itself, for the first time
		{"", ""},        // another protocol, from the proxy's address
		{"", "NO address-limit"},
	} {
		c := dialLine(t, addr)
		open = append(open, c)
		c.write(tt.send + "PEER\n")
		want := tt.want
		if want == "" {
			want = c.LocalAddr().String()
		}
		c.expect(want)
	}
	if got := len(asked.take()); got != 5 {
		t.Errorf("admission asked %d times, want 5", got)
	}
	for _, c := range open {
		c.Close()
	}
	waitFor(t, "the ends", func() bool { s := e.Stats(); return s.Connections == 0 && s.Addresses == 0 })

	e.SetLimits(Limits{MaxPerAddress: 2, ConnectRatePerAddress: -1}) // nobody is trusted
	c := dialLine(t, addr)
	c.write("FOR 192.0.2.1:5\nPEER\n")
	c.expect(c.LocalAddr().String())
}

// A proxy that speaks the PROXY protocol may stand before one that forwards requests.
func TestProxiedAndForwarded(t *testing.T) {
	t.Parallel()
	_, addr := startProxied(t, Config{ProxyTrust: thisMachine, ForwardedTrust: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		ListenConfig{Proxy: true, Protocols: []Protocol{forProtocol{}}})
	for source, want := range map[string]string{"192.0.2.1:5": "198.51.100.1:6", "203.0.113.1:5": "203.0.113.1:5"} {
		c := dialLine(t, addr)
		c.write(header(2, source) + "FOR 198.51.100.1:6\nPEER\n")
		c.expect(want)
	}
}

func TestTrustIsChecked(t *testing.T) {
	t.Parallel()
	for _, config := range []Config{{ProxyTrust: []netip.Prefix{{}}}, {ForwardedTrust: []netip.Prefix{{}}}} {
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), "Trust") {
			t.Errorf("New: %v", err)
		}
	}
}

// Admission on a loop survives what Admit does.
func TestProxiedAdmitPanics(t *testing.T) {
	t.Parallel()
	e, addr := startProxied(t, Config{Loops: 1, ProxyTrust: thisMachine, Admit: func(addr netip.Addr) (Reason, bool) {
		if addr.Is6() {
			panic("asked to")
		}
		return 0, true
	}}, ListenConfig{Proxy: true})
	for range 3 {
		c := dialLine(t, addr)
		c.write(header(2, "[2001:db8::1]:1"))
		c.expectEOF()
	}
	c := dialLine(t, addr)
	c.write(header(2, "192.0.2.1:1") + "PEER\n")
	c.expect("192.0.2.1:1")
	if s := e.Stats(); s.Panics != 3 || s.Refused[ReasonServerError] != 3 || s.Addresses != 1 {
		t.Errorf("%d panics, refused %v, %d addresses", s.Panics, s.Refused, s.Addresses)
	}
}

// The header comes before TLS, in the clear, and may share a segment with the ClientHello.
func TestProxiedTLS(t *testing.T) {
	t.Parallel()
	_, addr := startProxied(t, Config{ProxyTrust: thisMachine, Loops: 1}, ListenConfig{Proxy: true, TLS: serverTLS()})
	for _, sep := range []bool{false, true} {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { raw.Close() })
		conn := net.Conn(&ahead{Conn: raw, first: []byte(header(2, "192.0.2.1:51000"))})
		if sep {
			if _, err := raw.Write([]byte(header(1, "192.0.2.1:51000"))); err != nil {
				t.Fatal(err)
			}
			conn = raw
		}
		c := overTLS(t, conn, clientTLS(tls.VersionTLS13))
		c.send("PEER")
		c.expect("192.0.2.1:51000")
	}
}

// ahead writes first in one segment with what is written first.
type ahead struct {
	net.Conn
	first []byte
}

func (a *ahead) Write(p []byte) (int, error) {
	if len(a.first) == 0 {
		return a.Conn.Write(p)
	}
	first := a.first
	a.first = nil
	n, err := a.Conn.Write(append(first, p...))
	return max(n-len(first), 0), err
}

// Whoever reaches a unix socket may say who its client is.
func TestProxiedOnUnix(t *testing.T) {
	t.Parallel()
	e, _ := startProxied(t, Config{Loops: 1}, ListenConfig{})
	path := filepath.Join(t.TempDir(), "s")
	if _, err := e.Listen(ListenConfig{Network: "unix", Address: path, Proxy: true, Protocols: []Protocol{lineProtocol{}}}); err != nil {
		t.Fatal(err)
	}
	for send, want := range map[string]string{
		header(1, "192.0.2.1:51000"): "192.0.2.1:51000",
		unixHeader("/run/client"):    "invalid AddrPort",
		"PROXY UNKNOWN\r\n":          "invalid AddrPort",
	} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := &lineClient{t, conn, bufio.NewReader(conn)}
		c.write(send + "PEER\n")
		c.expect(want)
	}
}
