package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// startUnix runs an engine that serves the line protocol on a unix socket and returns its path.
func startUnix(t *testing.T, config Config, p Protocol) (*Engine, string) {
	t.Helper()
	e, _ := plainEngine(t, config)
	path := filepath.Join(t.TempDir(), "s")
	addr, err := e.Listen(ListenConfig{Network: "unix", Address: path, Mode: 0o660, Protocols: []Protocol{p}})
	if err != nil {
		t.Fatal(err)
	}
	if addr.Network() != "unix" || addr.String() != path {
		t.Errorf("listens on %s %s", addr.Network(), addr)
	}
	t.Cleanup(func() {
		if err := stopWithin(e, patience); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket's file is left behind: %v", err)
		}
		if s := e.Stats(); s.Connections != 0 || s.Total != 0 {
			t.Errorf("after stop: %d connections, %d bytes kept", s.Connections, s.Total)
		}
	})
	return e, path
}

func dialUnix(t *testing.T, path string) *lineClient {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &lineClient{t, c, bufio.NewReader(c)}
}

// On a unix socket all is as on TCP: requests, pushes, much output, closes with final words, half
// closes, resets.
func TestUnix(t *testing.T) {
	var log bytes.Buffer
	opened := make(chan Ref, 1)
	e, path := startUnix(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, lineProtocol{opened})
	if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	c := dialUnix(t, path)
	c.send("ECHO hello")
	c.expect("hello")
	ref := <-opened
	peer := make(chan string, 2)
	e.Tell(ref, func(c *Conn) {
		peer <- string(c.AppendPeer(nil))
		peer <- fmt.Sprint(c.Peer().IsValid(), c.Peer().Addr().IsValid())
	})
	if got := <-peer; got != "unix" {
		t.Errorf("the peer is %q", got)
	}
	if got := <-peer; got != "false false" {
		t.Errorf("the peer has an address: %s", got)
	}
	c.send("SUB news")
	c.expect("SUBSCRIBED true")
	c.send("PUB news extra")
	c.expect("extra")

	// More than the socket holds arrives whole once it is read.
	long := strings.Repeat("x", 3000)
	c.send("BIG %s", long)
	time.Sleep(50 * time.Millisecond) // it is full meanwhile
	c.expect(strings.Repeat("b", 1000*len(long)))

	// A half-closed connection gets its answers.
	half := dialUnix(t, path)
	half.send("HOLD")
	half.send("ECHO last")
	<-opened
	if err := half.Conn.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	half.expect("RESUMED")
	half.expect("last")
	half.expect("BYE peer-closed")
	half.expectEOF()

	// The gateway's own close has its last words.
	bye := dialUnix(t, path)
	bye.send("CLOSE")
	<-opened
	bye.expect("BYE forced-offline")
	bye.expectEOF()
	c.Close()
	waitFor(t, "the end of all", func() bool { return e.Connections() == 0 })
	if err := stopWithin(e, patience); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("reason=forced-offline protocol=unknown peer=\"unix(pid=%d,uid=%d)\"", os.Getpid(), os.Getuid()); !strings.Contains(log.String(), want) {
		t.Errorf("the log is %q, want %q", log.String(), want)
	}
}

// A unix socket tells of its peer's close at once, also while it is not read. What the peer has sent
// before is handled all the same, as it is on TCP.
func TestUnixCloseBehindPausedInput(t *testing.T) {
	const lines = 600
	input := func(line string) []byte { // the socket takes it all
		return []byte(strings.Repeat(line+strings.Repeat("z", 100-len(line)-1)+"\n", lines))
	}
	var naps atomic.Int64
	for _, tc := range []struct {
		name   string
		config Config
		p      Protocol
		line   string
		took   func(*Engine) int64
	}{
		{"a long input", Config{Loops: 1}, napProtocol{naps: &naps}, "NAP ", func(*Engine) int64 { return naps.Load() }},
		{"over a rate", Config{Loops: 1, MaxPacketRate: 400}, lineProtocol{}, "PUB nobody ",
			func(e *Engine) int64 { return int64(e.Stats().Publishes) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, path := startUnix(t, tc.config, tc.p)
			c := dialUnix(t, path)
			if _, err := c.Write(input(tc.line)); err != nil {
				t.Fatal(err)
			}
			c.Close()
			waitFor(t, "the end", func() bool { return e.Stats().Closed[ReasonPeerClosed] == 1 })
			if n := tc.took(e); n != lines {
				t.Errorf("%d of %d lines are handled", n, lines)
			}
		})
	}
}

// An HTTP proxy on a unix socket is believed where that is said, for the connections that come then, and
// its clients are under the limits of their addresses.
func TestUnixForwarded(t *testing.T) {
	e, _ := plainEngine(t, Config{ForwardedUnix: true, MaxPerAddress: 1, ConnectRatePerAddress: -1, ProxyTrust: thisMachine})
	path := filepath.Join(t.TempDir(), "s")
	for _, lc := range []ListenConfig{{Address: path}, {Address: path + "p", Proxy: true}} {
		lc.Network, lc.Protocols = "unix", []Protocol{forProtocol{}, refusingLine{}}
		if _, err := e.Listen(lc); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := stopWithin(e, patience); err != nil {
			t.Error(err)
		}
		if s := e.Stats(); s.Connections != 0 || s.Addresses != 0 {
			t.Errorf("after stop: %d connections, %d addresses", s.Connections, s.Addresses)
		}
	})
	if !e.Forwarding() || e.ForwardsFor(netip.Addr{}) || e.ForwardsFor(netip.MustParseAddr("127.0.0.1")) {
		t.Error("others are believed, too, or nobody")
	}
	ask := func(path, send, want string) {
		t.Helper()
		c := dialUnix(t, path)
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		c.expect(want)
	}
	ask(path, "FOR 192.0.2.1:5\nPEER\n", "192.0.2.1:5")
	ask(path, "FOR 192.0.2.1:6\nPEER\n", "NO address-limit")
	ask(path, "FOR -\nPEER\n", "invalid AddrPort")
	ask(path, "PEER\n", "invalid AddrPort")
	// Behind a PROXY header the client's address counts, and that of a unix socket elsewhere is none here.
	ask(path+"p", header(1, "192.0.2.2:1")+"FOR 192.0.2.3:1\nPEER\n", "192.0.2.2:1")
	ask(path+"p", unixHeader("/run/x")+"FOR 192.0.2.4:1\nPEER\n", "invalid AddrPort")
	ask(path+"p", header(1, "192.0.2.2:1")+"PEER\n", "NO address-limit")
	e.SetLimits(Limits{ConnectRatePerAddress: -1}) // nobody is believed
	ask(path, "FOR 192.0.2.5:5\nPEER\n", "invalid AddrPort")
	if e.Forwarding() {
		t.Error("somebody is believed still")
	}
}

// Limits of one address do not hold for clients that have none, and the limit for all does.
func TestUnixHasNoAddress(t *testing.T) {
	e, path := startUnix(t, Config{MaxConnections: 20}, lineProtocol{})
	var all []*lineClient
	for range 20 {
		c := dialUnix(t, path)
		c.send("ECHO in")
		c.expect("in")
		all = append(all, c)
	}
	over := dialUnix(t, path)
	if _, err := io.Copy(io.Discard, over); err != nil {
		t.Error(err)
	}
	if n := e.Stats().Refused[ReasonTooManyClients]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	for _, c := range all {
		c.Close()
	}
}

// A path that is in use is refused, and what was left behind is not in the way.
func TestUnixInUse(t *testing.T) {
	e, path := startUnix(t, Config{}, lineProtocol{})
	again := ListenConfig{Network: "unix", Address: path, Protocols: []Protocol{lineProtocol{}}}
	if _, err := e.Listen(again); err == nil || !strings.Contains(err.Error(), "listens there already") {
		t.Errorf("a second listener: %v", err)
	}
	c := dialUnix(t, path)
	c.send("ECHO hello")
	c.expect("hello")
	// A socket from outside is served like one from inside.
	given, err := net.Listen("unix", path+"2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Listen(ListenConfig{Listener: given, Protocols: []Protocol{lineProtocol{}}}); err != nil {
		t.Fatal(err)
	}
	c = dialUnix(t, path+"2")
	c.send("ECHO hello")
	c.expect("hello")
}

// Started and stopped again and again on one path, an engine leaves nothing: no goroutine, no
// descriptor, no file.
func TestUnixStopLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	round := func() {
		e, _ := plainEngine(t, Config{Loops: 1, Linger: 20 * time.Millisecond})
		if _, err := e.Listen(ListenConfig{Network: "unix", Address: path, Protocols: []Protocol{lineProtocol{}}}); err != nil {
			t.Fatal(err)
		}
		var clients []*lineClient
		for _, say := range []string{"", "ECHO x", "BIG " + strings.Repeat("x", 1000), "HOLD", "ECHO hal"} {
			c := dialUnix(t, path)
			if say != "" {
				c.send("%s", say)
			}
			clients = append(clients, c)
		}
		clients[1].expect("x")
		if err := stopWithin(e, patience); err != nil && !strings.Contains(err.Error(), "1 connections cut off") { // BIG
			t.Fatal(err)
		}
		for _, c := range clients {
			c.Close()
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Fatalf("left behind: %v, %v", left, err)
		}
	}
	round() // whatever is made once is made now
	before := takeFootprint(t)
	for range 50 {
		round()
	}
	before.check(t)
}
