package longbridge_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/unhurried"
	"github.com/sluicenet/sluice/engine/server"
)

func TestEcho(t *testing.T) {
	s := start(t, nil)
	big := make([]byte, 1<<20)
	_, _ = rand.Read(big)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			for _, body := range []string{"ping", "", `{"a":1}`, strings.Repeat("x", 70000), string(big)} {
				if got := p.call(200, body); got != body {
					t.Fatalf("echo of %d bytes has %d", len(body), len(got))
				}
			}
		})
	}
}

func gzipped(body string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(body))
	_ = w.Close()
	return b.Bytes()
}

func TestGzipAndVerify(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			body := strings.Repeat("a", 5000)
			zipped := p.req(200, 7, 0, nil, gzipped(body))
			zipped[0] |= 0x20
			signed := append(p.req(200, 8, 0, nil, []byte("ping")), unhex("0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf")...)
			signed[0] |= 0x10
			both := append(p.req(200, 9, 0, nil, gzipped(body)), make([]byte, 24)...)
			both[0] |= 0x30
			beat := p.req(1, 10, 0, nil, gzipped("tick"))
			beat[0] |= 0x20
			p.packet(zipped, signed, both, beat, p.req(200, 11, 0, nil, []byte("in sync")))
			for id, want := range []string{7: body, 8: "ping", 9: body} {
				if want != "" {
					if got := p.wantResponse(200, uint32(id), 0); string(got.body) != want {
						t.Errorf("response %d has %d bytes", id, len(got.body))
					}
				}
			}
			if got := p.wantResponse(1, 10, 0); string(got.body) != "tick" {
				t.Errorf("heartbeat %q", got.body)
			}
			if got := p.wantResponse(200, 11, 0); string(got.body) != "in sync" {
				t.Errorf("behind: %q", got.body)
			}
		})
	}
}

func TestHeartbeat(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			for _, body := range []string{"\x08\xfb\xd0\x95\xff\xbc1\x10\x02", "", "no form at all"} {
				for _, id := range []uint32{2, 0, 0xffffffff} {
					p.packet(p.req(1, id, 0, nil, []byte(body)))
					if got := p.wantResponse(1, id, 0); string(got.body) != body {
						t.Errorf("heartbeat %q answered with %q", body, got.body)
					}
				}
			}
		})
	}
	t.Run("vectors 7 and 8", func(t *testing.T) {
		conn := dialRaw(t, address(s))
		_, _ = conn.Write(unhex("1109 010100000002000000000908fbd095ffbc311002"))
		got := make([]byte, 19)
		if _, err := newReader(conn).Read(got); err != nil || !bytes.Equal(got, unhex("0201000000020000000908fbd095ffbc311002")) {
			t.Errorf("%x, %v", got, err)
		}
	})
}

// Statuses of the gateway and of handlers in this process are mapped, those of replies are not.
func TestStatuses(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.WaitWorkers = -1 })
	handle := func(cmd int, f func(*gateway.Request)) {
		if err := s.Handle(fmt.Sprintf("cmd:%d", cmd), f); err != nil {
			t.Fatal(err)
		}
	}
	handle(10, func(r *gateway.Request) { r.Fail(gateway.StatusError, "no") })
	handle(11, func(r *gateway.Request) { r.Fail(gateway.StatusInternal, "oh \xff") })
	handle(12, func(r *gateway.Request) { r.ReplyStatus(int(r.Payload[0]), []byte("as it is")) })
	handle(13, func(r *gateway.Request) { r.ReplyStatus(int(r.Payload[0]), nil) })
	handle(14, func(*gateway.Request) {})
	handle(15, func(r *gateway.Request) { r.ReplyStatus(-1, []byte("x")) })
	handle(16, func(r *gateway.Request) { r.Reply(make([]byte, 1<<24)) })
	if err := s.Gateway().Route("cmd:17", 5); err != nil {
		t.Fatal(err)
	}
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			p.wantError(10, p.send(10, ""), 3, 400)
			p.wantError(11, p.send(11, ""), 7, 500)
			for status := range byte(9) {
				if got := p.wantResponse(12, p.send(12, string(rune(status))), status); string(got.body) != "as it is" {
					t.Errorf("status %d: %q", status, got.body)
				}
			}
			p.wantResponse(12, p.send(12, "\x09"), 7)
			for status, want := range map[byte]struct {
				status byte
				code   uint64
			}{1: {1, 504}, 2: {2, 504}, 3: {3, 400}, 4: {3, 400}, 5: {5, 401}, 6: {6, 403}, 7: {7, 500}, 8: {8, 500}, 99: {7, 500}} {
				p.wantError(13, p.send(13, string([]byte{status})), want.status, want.code)
			}
			p.wantError(14, p.send(14, ""), 7, 500)
			p.wantResponse(15, p.send(15, ""), 7)
			p.wantError(16, p.send(16, ""), 7, 500)
			p.wantError(17, p.send(17, ""), 7, 500) // no worker
			p.wantError(99, p.send(99, ""), 3, 400) // unknown to the development worker
			p.wantError(201, p.send(201, "{}"), 3, 400)
		})
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, defaultFirst := range []bool{false, true} {
		for _, f := range forms {
			t.Run(fmt.Sprintf("the default first %v, %s", defaultFirst, f.name), func(t *testing.T) {
				t.Parallel()
				unhurried.Run(t, func(t *unhurried.Try, long time.Duration) { testTimeout(t, f, defaultFirst, long/5, long) })
			})
		}
	}
}

// testTimeout sends two requests, of which the first has the longer time-out. One of them is the
// packet's own, the other the default.
func testTimeout(t *unhurried.Try, f form, defaultFirst bool, short, long time.Duration) {
	byDefault, first, second := long, uint16(0), uint16(short/time.Millisecond)
	if defaultFirst {
		byDefault, first, second = short, uint16(long/time.Millisecond), 0
	}
	s := start(t, func(c *server.Config) { c.Gateway.RequestTimeout = byDefault })
	late := make(chan gateway.Ticket, 2)
	if err := s.Handle("cmd:20", func(r *gateway.Request) { late <- r.Defer() }); err != nil {
		t.Fatal(err)
	}
	p := online(t, s, f, "ann")
	begun := time.Now()
	p.packet(p.req(20, 1, first, nil, nil), p.req(20, 2, second, nil, nil), p.req(200, 3, 1, nil, []byte("x")))
	p.wantResponse(200, 3, 0)
	p.wantError(20, 2, 1, 504)
	if d := time.Since(begun); d < short-time.Millisecond {
		t.Errorf("the time-out of %v took %v", short, d)
	}
	p.wantError(20, 1, 1, 504)
	if d := time.Since(begun); d < long-time.Millisecond || d > patience {
		t.Errorf("the time-out of %v took %v", long, d)
	}
	for range 2 {
		s.Gateway().Answer(<-late, 0, []byte("too late"))
	}
	p.call(200, "x")
}

func TestTimeoutIsPassedOn(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.RequestTimeout = 7 * time.Second })
	if err := s.Handle("cmd:21", func(r *gateway.Request) { r.Reply([]byte(r.Timeout.String())) }); err != nil {
		t.Fatal(err)
	}
	p := online(t, s, forms[0], "ann")
	for timeout, want := range map[uint16]string{0: "7s", 1: "1ms", 30000: "30s", 60000: "1m0s", 65535: "1m0s"} {
		p.packet(p.req(21, 1, timeout, nil, nil))
		if got := p.wantResponse(21, 1, 0); string(got.body) != want {
			t.Errorf("timeout %d: %s, want %s", timeout, got.body, want)
		}
	}
}

// Replies come as they are ready.
func TestAnyOrder(t *testing.T) {
	s := start(t, nil)
	var mu sync.Mutex
	var waiting []gateway.Ticket
	if err := s.Handle("cmd:22", func(r *gateway.Request) {
		mu.Lock()
		defer mu.Unlock()
		waiting = append(waiting, r.Defer())
		if len(waiting) == 3 {
			for i := range waiting {
				r.Gateway().Answer(waiting[len(waiting)-1-i], 0, []byte{byte('a' + i)})
			}
			waiting = nil
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			p.packet(p.req(22, 1, 0, nil, nil), p.req(22, 2, 0, nil, nil), p.req(200, 9, 0, nil, nil), p.req(22, 3, 0, nil, nil))
			p.wantResponse(200, 9, 0)
			for i, id := range []uint32{3, 2, 1} {
				if got := p.wantResponse(22, id, 0); string(got.body) != string(rune('a'+i)) {
					t.Errorf("request %d: %q", id, got.body)
				}
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	s := start(t, nil)
	if err := s.Handle("cmd:23", func(r *gateway.Request) {
		r.Reply([]byte(fmt.Sprintf("%d %s", len(r.Metadata), r.Metadata["trace-id"])))
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []form{{v2: true}, {v2: true, framed: true}} {
		p := online(t, s, f, "ann")
		p.packet(p.req(23, 1, 0, unhex("08 54726163652d6964 03 616263"), []byte("x")), p.req(23, 2, 0, nil, nil))
		if got := p.wantResponse(23, 1, 0); string(got.body) != "1 abc" {
			t.Errorf("%q", got.body)
		}
		if got := p.wantResponse(23, 2, 0); string(got.body) != "0 " {
			t.Errorf("%q", got.body)
		}
	}
}

func TestPushes(t *testing.T) {
	s := start(t, nil)
	var peers []*peer
	for _, f := range forms {
		p := online(t, s, f, "ann-"+f.name)
		p.call(201, `{"topics":["news"]}`)
		peers = append(peers, p)
	}
	bodies := []string{`{"a":1}`, strings.Repeat("b", 100_000)}
	for _, body := range bodies {
		if err := s.Publish(t.Context(), "news", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range peers {
		for _, body := range bodies {
			if g := p.want(); g.typ != 3 || g.cmd != 100 || string(g.body) != body || len(g.metadata) > 0 {
				t.Errorf("%s: got type %d, command %d, %d bytes", p.name, g.typ, g.cmd, len(g.body))
			}
		}
		// To the client that asks: the push comes before the response.
		id := p.send(204, "\x00 any bytes")
		if g := p.want(); g.typ != 3 || g.cmd != 100 || string(g.body) != "\x00 any bytes" {
			t.Errorf("%s: got %+v", p.name, g)
		}
		p.wantResponse(204, id, 0)
	}
	peers[0].call(203, `{"topic":"news","data":[1, 2]}`) // its own push is behind the response
	for _, p := range peers {
		if g := p.want(); g.typ != 3 || string(g.body) != "[1, 2]" {
			t.Errorf("%s: got %+v", p.name, g)
		}
	}
}

// Pushes and responses from clients have no meaning and do no harm. They are counted, but for responses
// to heartbeats, which are signs of life.
func TestIgnored(t *testing.T) {
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			metadata := ""
			if f.v2 {
				metadata = "0000"
			}
			for _, packet := range []string{
				"03 64" + metadata + "000002 abcd",
				"03 00" + metadata + "000000",
				"02 01 00000009 00" + metadata + "000000",
				"02 c8 00000001 07" + metadata + "000001 00",
				"13 64" + metadata + "000000" + strings.Repeat("00", 24),
			} {
				p.packet(unhex(packet))
			}
			if got := p.call(200, "still here"); got != "still here" {
				t.Errorf("echo %q", got)
			}
		})
	}
	if n, want := s.Gateway().Stats().Ignored["no-request"], uint64(4*len(forms)); n != want {
		t.Errorf("%d are counted, want %d", n, want)
	}
}

// A client that does not read its responses is not read either, and loses nothing.
func TestManyUnreadResponses(t *testing.T) {
	s := start(t, func(c *server.Config) {
		c.Engine.Backlog = 64 << 10
		c.Engine.SendBuffer = 16 << 10
	})
	for _, f := range []form{{name: "tcp"}, {name: "ws", framed: true}} {
		t.Run(f.name, func(t *testing.T) {
			p := online(t, s, f, "ann-"+f.name)
			const n = 2000
			body := strings.Repeat("x", 4000)
			go func() {
				for id := range uint32(n) {
					if _, err := p.conn.Write(p.wire(p.req(200, id, 0, nil, []byte(body)))); err != nil {
						return
					}
				}
			}()
			time.Sleep(100 * time.Millisecond)
			for id := range uint32(n) {
				if got := p.wantResponse(200, id, 0); string(got.body) != body {
					t.Fatalf("response %d has %d bytes", id, len(got.body))
				}
			}
		})
	}
}

// More requests than may wait for a worker are held back, not lost.
func TestManyPending(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.MaxPending = 16 })
	tickets := make(chan gateway.Ticket, 1000)
	if err := s.Handle("cmd:24", func(r *gateway.Request) { tickets <- r.Defer() }); err != nil {
		t.Fatal(err)
	}
	p := online(t, s, forms[0], "ann")
	const n = 200
	for id := range uint32(n) {
		p.packet(p.req(24, id+1, 0, nil, nil))
	}
	await(t, "the first requests", func() bool { return len(tickets) >= 16 })
	time.Sleep(50 * time.Millisecond) // for one too many to come
	if len(tickets) != 16 {
		t.Errorf("%d requests were handed on, want 16", len(tickets))
	}
	go func() {
		for range n {
			s.Gateway().Answer(<-tickets, 0, []byte("x"))
		}
	}()
	seen := make(map[uint32]bool)
	for range n {
		g := p.want()
		if g.typ != 2 || seen[g.id] {
			t.Fatalf("got %+v", g)
		}
		seen[g.id] = true
	}
}
