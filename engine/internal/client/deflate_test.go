package client_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine/server"
)

// A deflating client offers permessage-deflate, and reads and writes with it if it is agreed on.
type deflating struct {
	*caller
	agreed bool
	reader websocket.Reader
	buf    []byte
	wire   int // bytes of the last message, frame header included
	packed bool
}

// dialDeflating logs in. The first packet behind the upgrade is compressed, too.
func dialDeflating(t *testing.T, s *server.Server, w *wire, offer string) *deflating {
	t.Helper()
	c := &deflating{caller: dial(t, s, w)}
	req, n, err := websocket.ParseUpgrade(w.hello, websocket.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c.write(websocket.AppendUpgradeRequest(nil, "x", string(req.Target), string(req.Key), websocket.Header{Name: "Sec-WebSocket-Extensions", Value: offer}))
	var resp websocket.Response
	for n := 0; n == 0; {
		c.more()
		if resp, n, err = websocket.ParseUpgradeResponse(c.buf, websocket.Limits{}); err == nil && n > 0 {
			err = resp.Check(string(req.Key))
		}
		if err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		c.agreed = len(resp.Extensions) > 0
		c.buf = c.buf[n:]
	}
	c.reader = websocket.NewReader(&websocket.ReaderConfig{Client: true}, c.agreed)
	if hello := w.hello[n:]; len(hello) > 0 {
		c.send(hello)
	}
	for range w.greetings {
		c.message()
	}
	return c
}

func (c *deflating) more() {
	c.t.Helper()
	b := make([]byte, 64<<10)
	n, err := c.conn.Read(b)
	if err != nil {
		c.t.Fatalf("%s: %v", c.w.name, err)
	}
	c.buf = append(c.buf, b[:n]...)
}

// send sends a message that frame has made, compressed if that is agreed.
func (c *deflating) send(plain []byte) {
	c.t.Helper()
	if c.agreed {
		r := websocket.NewReader(nil, false)
		ev, _, err := r.Next(bytes.Clone(plain), nil)
		if err != nil || ev.Kind != websocket.EventMessage {
			c.t.Fatal(ev, err)
		}
		plain = frame(ev.Opcode, true, websocket.Deflate(nil, ev.Payload))
		plain[0] |= 0x40
	}
	c.write(plain)
}

func (c *deflating) message() string {
	c.t.Helper()
	for {
		packed := len(c.buf) > 0 && c.buf[0]&0x40 != 0
		ev, n, err := c.reader.Next(c.buf, nil)
		if err != nil {
			c.t.Fatalf("%s: %v", c.w.name, err)
		}
		c.buf = c.buf[n:]
		switch ev.Kind {
		case websocket.EventNeedMore:
			c.more()
		case websocket.EventMessage:
			c.wire, c.packed = n, packed
			return c.w.tell(ev.Payload)
		}
	}
}

func webSocketWires() []wire {
	return []wire{
		gosocWire("gosoc compact", gosoc.Compact, true),
		gosocWire("gosoc fixed6", gosoc.Fixed6, true),
		longbridgeWire("longbridge 1", longbridge.Version1, true),
		longbridgeWire("longbridge 2", longbridge.Version2, true),
		netsvrWire(),
	}
}

// What is agreed on is compressed in both directions, on every path; netsvr has it on request.
func TestDeflate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("all work and no play ", 300)
	for _, tt := range []struct {
		name   string
		change func(*server.Config)
		agreed []string
	}{
		{"by default", nil, []string{"gosoc compact", "gosoc fixed6", "longbridge 1", "longbridge 2"}},
		{"netsvr, too", func(c *server.Config) { c.Netsvr.Deflate = true },
			[]string{"gosoc compact", "gosoc fixed6", "longbridge 1", "longbridge 2", "netsvr"}},
		{"netsvr alone", func(c *server.Config) { c.Netsvr.Deflate, c.WebSocket.NoDeflate = true, true }, []string{"netsvr"}},
		{"binary messages", func(c *server.Config) { c.Netsvr.Deflate, c.WebSocket.NoDeflate, c.Netsvr.Binary = true, true, true }, []string{"netsvr"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.change)
			for _, w := range webSocketWires() {
				c := dialDeflating(t, s, &w, "permessage-deflate; client_max_window_bits")
				if want := slices.Contains(tt.agreed, w.name); c.agreed != want {
					t.Fatalf("%s: agreed: %v, want %v", w.name, c.agreed, want)
				}
				ops := []op{echo(long), pushMe(long), echo("short")}
				if w.name == "netsvr" {
					ops = []op{pushMe(long), pushMe("")}
				}
				for id, o := range ops {
					c.send(w.ask(o, id+1))
					push := o.name == "PushMe"
					got := c.message()
					if push && w.name != "netsvr" && !strings.HasPrefix(got, "push") { // the reply may come first
						got = c.message()
					} else if push && w.name != "netsvr" {
						packed, wire := c.packed, c.wire
						c.message()
						c.packed, c.wire = packed, wire
					}
					isLong := strings.Contains(o.text, long)
					if !strings.Contains(got, o.text) {
						t.Fatalf("%s: %.60q for %.60q", w.name, got, o.text)
					}
					if c.packed != (c.agreed && isLong) || c.packed && c.wire > len(long)/10 {
						t.Errorf("%s: %s of %d bytes: compressed: %v, to %d bytes", w.name, o.name, len(o.text), c.packed, c.wire)
					}
				}
				c.conn.Close()
			}
		})
	}
}

// A publish is compressed once for each form, however many subscribe, and those without compression
// get it as it is.
func TestDeflateOnce(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	long := strings.Repeat("all work and no play ", 100)
	const each = 200
	var subscribers []*deflating
	for _, w := range webSocketWires()[:4] {
		for range each {
			c := dialDeflating(t, s, &w, "permessage-deflate")
			c.send(w.ask(subscribe("news"), 1))
			c.message()
			subscribers = append(subscribers, c)
		}
	}
	plain := gosocWire("gosoc without compression", gosoc.Compact, true)
	for range each {
		c := dialDeflating(t, s, &plain, "x-other")
		c.send(plain.ask(subscribe("news"), 1))
		c.message()
		subscribers = append(subscribers, c)
	}
	before := s.WebSocket().Deflated
	publisher := gosocWire("publisher", gosoc.Compact, false)
	p := online(t, s, &publisher)
	p.write(publisher.ask(publish("news", long), 1))
	if reply, err := p.next(); err != nil || !strings.HasPrefix(publisher.tell(reply), "reply") {
		t.Fatal(err)
	}
	for i, c := range subscribers {
		if got := c.message(); !strings.HasPrefix(got, "push") || !strings.Contains(got, long) {
			t.Fatalf("%s: %.60q", c.w.name, got)
		}
		if want := i < 4*each; c.packed != want {
			t.Fatalf("%s: compressed: %v", c.w.name, c.packed)
		}
	}
	if n := s.WebSocket().Deflated - before; n != 4 {
		t.Errorf("compressed %d times for %d subscribers in 4 forms", n, 4*each)
	}
}

// What is offered decides on what is agreed.
func TestDeflateOffers(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for offer, want := range map[string]string{
		"permessage-deflate":                                                         agreed,
		"permessage-deflate; client_max_window_bits":                                 agreed,
		"permessage-deflate; client_max_window_bits=9":                               agreed,
		"permessage-deflate; client_no_context_takeover":                             agreed,
		"permessage-deflate; server_no_context_takeover":                             agreed,
		`permessage-deflate; server_max_window_bits="15"`:                            agreed + "; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=10":                              "",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          agreed,
		"permessage-deflate; server_max_window_bits=16":                              "",
		"permessage-deflate; server_max_window_bits=08":                              "",
		"permessage-deflate; server_max_window_bits":                                 "",
		"permessage-deflate; client_max_window_bits=7":                               "",
		"permessage-deflate; server_no_context_takeover=1":                           "",
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover": "",
		"permessage-deflate; unknown":                                                "",
		"x-webkit-deflate-frame, permessage-deflate; client_max_window_bits":         agreed,
		"x-other": "",
	} {
		c := dial(t, s, &wire{})
		c.write(websocket.AppendUpgradeRequest(nil, "x", "/gosoc", "dGhlIHNhbXBsZSBub25jZQ==", websocket.Header{Name: "Sec-WebSocket-Extensions", Value: offer}))
		head, err := c.r.Peek(1)
		for err == nil && !bytes.Contains(head, []byte("\r\n\r\n")) {
			head, err = c.r.Peek(len(head) + 1)
		}
		resp, n, err := websocket.ParseUpgradeResponse(head, websocket.Limits{})
		if err != nil || n == 0 || fmt.Sprint(resp.Status, " ", string(resp.Extensions)) != fmt.Sprint(101, " ", want) {
			t.Errorf("%s: %d %q, %v, want %q", offer, resp.Status, resp.Extensions, err, want)
		}
		c.conn.Close()
	}
}
