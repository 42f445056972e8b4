package longbridge_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/unhurried"
	"github.com/sluicenet/sluice/engine/server"
)

// readToEnd reads once, and looks whether the end of the stream was there already.
func readToEnd(t *testing.T, conn net.Conn) (b []byte, ended bool) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	var n int
	if err := raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), buf)
		if err == unix.EAGAIN {
			return false
		}
		more, merr := unix.Read(int(fd), make([]byte, 1))
		ended = more == 0 && merr == nil
		return true
	}); err != nil || n < 0 {
		t.Fatalf("read: %v", err)
	}
	return buf[:n], ended
}

// wantOneSegment reports an end of the stream that was not there with the last words, unless the
// gateway may have stood still between the two: after corkTime the kernel sends what it was given.
func wantOneSegment(t *testing.T, ended bool, begun time.Time) {
	t.Helper()
	const corkTime = 200 * time.Millisecond
	switch d := time.Since(begun); {
	case ended:
	case d < corkTime:
		t.Error("the FIN was not there with it")
	default:
		t.Logf("the FIN was not there with it; after %v this proves nothing", d)
	}
}

// What the gateway has to say, and the FIN, come in one piece: the vendor's Go client locks itself
// up when it sees a Close and not the end of the stream.
func TestOneSegment(t *testing.T) {
	s := start(t, nil)
	refused := unhex("02 02 00000001 05 000017 08 9103 12 12" + fmt.Sprintf("%x", "the token is not good"))
	refused[9], refused[14] = byte(len(refused)-10), byte(len("the token is not good"))
	for _, tt := range []struct {
		name   string
		wire   []byte // behind the handshake
		before []byte // in front of the Close, or in place of it
		code   string
	}{
		{"Auth refused", unhex("01 02 00000001 0000 000005 0a 03 626164"), refused, ""},
		{"garbage", unhex("00"), nil, "03 00 000002 0803"},
		{"packet type 5", unhex("05"), nil, "03 00 000002 0803"},
		{"not quite a stranger's name", unhex("05 47 4f 53 4f 44"), nil, "03 00 000002 0803"},
		{"gzip bit, not gzip, vector 18", unhex(auth123 + "210b0000000100000000020102"), nil, "03 00 000002 0803"},
	} {
		for range 20 {
			t.Run(tt.name, func(t *testing.T) {
				conn := dialRaw(t, address(s))
				begun := time.Now()
				_, _ = conn.Write(append(unhex("1109"), tt.wire...))
				got, ended := readToEnd(t, conn)
				wantOneSegment(t, ended, begun)
				if bytes.HasPrefix(tt.wire, unhex(auth123)) {
					_, got, _ = bytes.Cut(got, unhex("180a2001")) // limit and online end the response
				}
				if want := append(tt.before[:len(tt.before):len(tt.before)], unhex(tt.code)...); !bytes.Equal(got, want) {
					t.Errorf("got  %x\nwant %x", got, want)
				}
				_ = conn.Close()
			})
		}
	}
}

// So it is for every code, on every transport, and behind a response.
func TestOneSegmentOfEveryCode(t *testing.T) {
	s := start(t, nil)
	ended := func(why engine.Reason) func(*peer, string) { return func(p *peer, _ string) { p.end(s, why) } }
	for _, tt := range []struct {
		code  byte
		cause func(p *peer, ticket string)
	}{ // causes other than 3 and 5 act on clients that are online
		{0, ended(engine.ReasonHeartbeatTimeout)},
		{1, ended(engine.ReasonServerError)},
		{2, ended(engine.ReasonShutdown)},
		{3, func(p *peer, _ string) { p.packet(unhex("00")) }},
		{4, ended(engine.ReasonLoginTimeout)},
		{5, func(p *peer, _ string) { p.send(3, p.message("session_id", "gone")) }},
		{6, func(p *peer, ticket string) {
			taker := dial(p.tb, s, form{})
			taker.reconnect(ticket)
		}},
	} {
		for _, f := range forms {
			t.Run(fmt.Sprintf("code %d, %s", tt.code, f.name), func(t *testing.T) {
				for range 5 {
					p := dial(t, s, f)
					ticket := ""
					if tt.code != 5 {
						ticket = p.auth("").id
					}
					begun := time.Now()
					tt.cause(p, ticket)
					got, ended := readToEnd(t, p.conn)
					wantOneSegment(t, ended, begun)
					p.r = newReader(bytes.NewReader(got))
					if tt.code == 5 {
						p.wantError(3, p.nextID, 5, 401)
						p.wantEnd() // the response says it all
					} else {
						p.wantClose(uint64(tt.code))
					}
					_ = p.conn.Close()
				}
			})
		}
	}
}

func TestCloseCodes(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.MaxPacket = 1 << 20; c.Gateway.MaxInflated = 1 << 20 })
	zipped := func(p *peer, body []byte) []byte {
		b := p.req(200, 1, 0, nil, body)
		b[0] |= 0x20
		return b
	}
	for _, tt := range []struct {
		name string
		code uint64
		ruin func(t *testing.T, p *peer)
	}{
		{"packet type 0", 3, func(_ *testing.T, p *peer) { p.packet(unhex("00")) }},
		{"packet type 15", 3, func(_ *testing.T, p *peer) { p.packet(unhex("ff")) }},
		{"not gzip", 3, func(_ *testing.T, p *peer) { p.packet(zipped(p, []byte{1, 2})) }},
		{"gzip bit on an empty body", 3, func(_ *testing.T, p *peer) { p.packet(zipped(p, nil)) }},
		{"gzip cut short", 3, func(_ *testing.T, p *peer) { b := gzipped("body"); p.packet(zipped(p, b[:len(b)-1])) }},
		{"gzip bomb", 3, func(_ *testing.T, p *peer) { p.packet(zipped(p, gzipped(strings.Repeat("a", 1<<20+1)))) }},
		{"body over the limit", 3, func(_ *testing.T, p *peer) {
			b := p.req(200, 1, 0, nil, make([]byte, 1<<20+1))
			if p.framed {
				p.packet(b)
			} else {
				p.write(b[:20]) // on the header alone
			}
		}},
		{"session taken over", 6, nil},
		{"forced offline", 4, func(_ *testing.T, p *peer) { p.end(s, engine.ReasonForcedOffline) }},
		{"internal failure", 1, func(_ *testing.T, p *peer) { p.end(s, engine.ReasonServerError) }},
		{"shutdown", 2, func(_ *testing.T, p *peer) { p.end(s, engine.ReasonShutdown) }},
	} {
		for _, f := range forms {
			t.Run(tt.name+", "+f.name, func(t *testing.T) {
				p := dial(t, s, f)
				ticket := p.auth("ann")
				if tt.ruin == nil {
					taker := dial(t, s, form{})
					taker.reconnect(ticket.id)
				} else {
					tt.ruin(t, p)
				}
				p.wantClose(tt.code)
				_ = p.conn.Close()
			})
		}
	}
}

// end has the gateway close the client, which must be online.
func (p *peer) end(s *server.Server, why engine.Reason) {
	local := p.conn.LocalAddr().String()
	done := make(chan struct{})
	_ = s.Engine().NewPublisher().DoEach(func(l *engine.Loop) {
		var refs []engine.Ref
		l.Each(func(c *engine.Conn) {
			if c.Peer().String() == local {
				refs = append(refs, c.Ref())
			}
		})
		for _, ref := range refs {
			l.Conn(ref).Close(why)
			close(done)
		}
	})
	select {
	case <-done:
	case <-time.After(patience):
		p.tb.Error("the client is not online")
	}
}

// The packet that ends the connection may be followed by others, which are discarded.
func TestGarbageBehindRequests(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		p := online(t, s, f, "ann-"+f.name)
		p.packet(p.req(200, 1, 0, nil, []byte("a")), p.req(1, 2, 0, nil, []byte("b")), unhex("ffffffff"), p.req(200, 3, 0, nil, []byte("c")))
		p.wantResponse(200, 1, 0)
		p.wantResponse(1, 2, 0)
		p.wantClose(3)
	}
}

func TestMetadataGarbage(t *testing.T) {
	s := start(t, nil)
	for _, f := range []form{{name: "v2", v2: true}, {name: "ws-v2", v2: true, framed: true}} {
		for _, metadata := range []string{"8001 6b 00", "01", "0161", "0161 05 62", "ffff"} {
			p := online(t, s, f, "ann")
			p.packet(p.req(200, 1, 0, unhex(metadata), []byte("x")))
			p.wantClose(3)
			_ = p.conn.Close()
			await(t, "the slot", func() bool { return s.Gateway().Online("ann") == 0 })
		}
	}
}

func TestMessageGarbage(t *testing.T) {
	s := start(t, nil)
	echo := (&peer{}).req(200, 1, 0, nil, []byte("x"))
	for _, tt := range []struct {
		name string
		wire []byte
	}{
		{"half a packet in a text", frame(0x1, echo[:len(echo)-1])},
		{"empty", frame(0x2, nil)},
		{"half a packet", frame(0x2, echo[:len(echo)-1])},
		{"a header", frame(0x2, echo[:5])},
		{"a packet and a byte", frame(0x2, append(echo[:len(echo):len(echo)], 0))},
		{"two packets", frame(0x2, append(echo[:len(echo):len(echo)], echo...))},
		{"not masked", append([]byte{0x82, byte(len(echo))}, echo...)},
		{"reserved bits", append([]byte{0xc2}, frame(0x2, echo)[1:]...)},
		{"continuation of nothing", frame(0x0, echo)},
		{"a long ping", frame(0x9, make([]byte, 126))},
		{"17 MiB announced", append([]byte{0x82, 0xff, 0, 0, 0, 0, 1, 0x10, 0, 0}, 1, 2, 3, 4)},
		{"unknown opcode", frame(0x3, nil)},
	} {
		for _, authed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, authenticated %v", tt.name, authed), func(t *testing.T) {
				p := dial(t, s, form{framed: true})
				if authed {
					p.auth("")
				}
				p.write(tt.wire)
				p.wantClose(3)
			})
		}
	}
}

// The client's own close frame is echoed, and no Close push follows it.
func TestCloseFrame(t *testing.T) {
	s := start(t, nil)
	p := online(t, s, form{framed: true}, "ann")
	p.write(frame(0x8, []byte{0x03, 0xe8, 'b', 'y', 'e'}))
	got, err := io.ReadAll(p.r)
	if want := []byte("\x88\x05\x03\xe8bye"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}

func TestFragmentsAndControlFrames(t *testing.T) {
	s := start(t, nil)
	p := online(t, s, form{framed: true}, "ann")
	packet := p.req(200, 4, 0, nil, []byte("in pieces"))
	first := frame(0x2, packet[:3])
	first[0] &^= 0x80
	p.write(first)
	p.write(frame(0x9, []byte("ping")))
	p.write(frame(0x0, packet[3:]))
	pong := make([]byte, 6)
	if _, err := io.ReadFull(p.r, pong); err != nil || string(pong) != "\x8a\x04ping" {
		t.Errorf("pong %x, %v", pong, err)
	}
	if got := p.wantResponse(200, 4, 0); string(got.body) != "in pieces" {
		t.Errorf("echo %q", got.body)
	}
}

func TestShutdown(t *testing.T) {
	s := start(t, nil)
	var peers []*peer
	for _, f := range forms {
		peers = append(peers, online(t, s, f, "ann-"+f.name), dial(t, s, f))
	}
	await(t, "the handshakes", func() bool { return s.Engine().Stats().Connections == int64(len(peers)) })
	// Each has answered something, so that none is still in the listener's queue or half read.
	for i := 1; i < len(peers); i += 2 {
		peers[i].packet(peers[i].req(1, 1, 0, nil, nil))
		peers[i].wantResponse(1, 1, 0)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, p := range peers {
			p.wantClose(2)
			_ = p.conn.Close()
		}
	}()
	stop(t, s)
	<-ended
}

func TestNoCloseNotice(t *testing.T) {
	t.Parallel()
	serve := func(t testing.TB, verdict time.Duration) *server.Server {
		return start(t, func(c *server.Config) {
			c.Longbridge.NoCloseNotice = true
			c.Gateway.LoginTimeout = verdict
		})
	}
	s := serve(t, never)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := dial(t, s, f)
			p.wantError(2, p.send(2, p.message("token", "bad")), 5, 401)
			p.wantEnd()
			unhurried.Run(t, func(t *unhurried.Try, long time.Duration) {
				dial(t, serve(t, long), f).wantEnd() // no Auth; a WebSocket's upgrade must be done within it, too
			})
			p = online(t, s, f, "ann")
			p.packet(unhex("ff"))
			p.wantEnd()
			p = online(t, s, f, "ann")
			p.end(s, engine.ReasonShutdown)
			p.wantEnd()
		})
	}
}

func TestPinned(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Listen = []string{"tcp://127.0.0.1:0?protocol=longbridge"} })
	for _, f := range forms {
		p := online(t, s, f, "ann-"+f.name)
		p.call(200, "x")
	}
	for _, wire := range []string{"00", "1009", "1309", "3109", "ff", "01ff", fmt.Sprintf("%x", "HELLO"), fmt.Sprintf("%x", "GETAWAY!"), fmt.Sprintf("%x", "GET\x00")} {
		t.Run("bad handshake "+wire, func(t *testing.T) {
			conn := dialRaw(t, address(s))
			_, _ = conn.Write(unhex(wire))
			got, err := io.ReadAll(conn)
			if want := unhex("03 00 000002 0803"); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v, want %x", got, err, want)
			}
		})
	}
}

func TestUpgradeRefused(t *testing.T) {
	s := start(t, nil)
	head := " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, tt := range []struct{ request, status string }{
		{"GET /v2?version=1&codec=1&platform=9" + head, "101"},
		{"GET /?platform=0&codec=2&version=2&more=x" + head, "101"},
		{"GET /v2?version=3&codec=1&platform=9" + head, "400"},
		{"GET /v2?version=1&codec=0&platform=9" + head, "400"},
		{"GET /v2?version=1&codec=1&platform=16" + head, "400"},
		{"GET /v2?version=1&codec=1" + head, "101"},
		{"GET /v2?version=1" + head, "400"},
		{"GET /v2?codec=1&platform=9" + head, "400"},
		{"GET /v2?x" + head, "400"},
		{"GET /v2?version=1&codec=1&platform=" + head, "101"},
		{"GET /v2?version=one&codec=1&platform=9" + head, "400"},
		{"GET /v2" + head, "400"},
		{"GET /v2?version=1&codec=1&platform=9 HTTP/1.1\r\nHost: x\r\n\r\n", "426"},
		{"POST /v2?version=1&codec=1&platform=9" + head, "405"},
	} {
		conn := dialRaw(t, address(s))
		_, _ = io.WriteString(conn, tt.request)
		b := make([]byte, 12)
		if _, err := io.ReadFull(conn, b); err != nil || string(b) != "HTTP/1.1 "+tt.status {
			t.Errorf("%q: %q, %v, want %s", tt.request, b, err, tt.status)
		}
		_ = conn.Close()
	}
}

// A GOSOC Connect with a bit that it must not have looks like a handshake: that client hears nothing.
func TestStrangersName(t *testing.T) {
	s := start(t, nil)
	for _, wire := range []string{"11 0b 05474f534f43 01 00 003c 00", "12 0b 05474f", "11 0b 05 47"} {
		conn := dialRaw(t, address(s))
		_, _ = conn.Write(unhex(wire))
		if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
			t.Errorf("%s: %x, %v, want nothing", wire, got, err)
		}
	}
}

// The counters say what came and went, up to the packet that ended the connection.
func TestPacketsCounted(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			s := start(t, nil)
			in, out := uint64(0), uint64(0)
			if f.framed {
				out++ // the answer to the upgrade
			}
			p := online(t, s, f, "ann")
			p.packet(p.req(200, 1, 0, nil, []byte("a")), p.req(1, 2, 0, nil, nil), p.req(204, 3, 0, nil, []byte("b")))
			for range 4 {
				p.want()
			}
			in, out = in+4, out+5 // 204 is answered with a push and a response
			p.end(s, engine.ReasonShutdown)
			p.wantClose(2)
			out++
			p = dial(t, s, f)
			p.wantAuthRefused("bad", 5, 401)
			in, out = in+1, out+1
			if f.framed {
				out++
			}
			var st engine.Stats
			defer func() {
				if t.Failed() {
					t.Logf("%d packets in, %d out, want %d and %d; closes %v", st.PacketsIn, st.PacketsOut, in, out, st.Closed)
				}
			}()
			await(t, "the counters", func() bool { // some count when the client knows already
				st = s.Engine().Stats()
				return st.PacketsIn == in && st.PacketsOut == out &&
					st.Closed[engine.ReasonShutdown] == 1 && st.Closed[engine.ReasonLoginRefused] == 1
			})
		})
	}
}

// A client that resets the connection at any moment costs nothing.
func TestResets(t *testing.T) {
	s := start(t, nil)
	for i := range 50 {
		p := dial(t, s, forms[i%len(forms)])
		if i%3 > 0 {
			p.packet(p.req(2, 1, 0, nil, []byte(p.message("token", "ann"))), p.req(200, 2, 0, nil, make([]byte, 100_000)))
		}
		if i%3 > 1 {
			p.wantResponse(2, 1, 0)
		}
		_ = p.conn.(*net.TCPConn).SetLinger(0)
		_ = p.conn.Close()
	}
	await(t, "all to be gone", func() bool { return s.Engine().Stats().Connections == 0 && s.Gateway().Online("ann") == 0 })
}
