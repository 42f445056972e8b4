package client_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// start runs a gateway with the development worker, on which everybody may log in.
func start(t testing.TB, change func(*server.Config)) *server.Server {
	t.Helper()
	config := server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true,
		Gateway: server.GatewayConfig{Login: login.Open{}, LoginTimeout: 5 * time.Minute, LoginFailures: -1},
	}
	config.Engine.Loops = 2
	config.Engine.Linger = patience
	config.Longbridge.HeartbeatTimeout, config.Longbridge.HeartbeatInterval = 5*time.Minute, 5*time.Minute
	if change != nil {
		change(&config)
	}
	s, err := server.New(config)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		if n := s.Engine().Stats().Panics; n > 0 {
			t.Errorf("%d panics on loops", n)
		}
	})
	return s
}

// An op is one thing that a client asks for.
type op struct{ name, text string }

func subscribe(topic string) op   { return op{"Subscribe", `{"topics":["` + topic + `"]}`} }
func unsubscribe(topic string) op { return op{"Unsubscribe", `{"topics":["` + topic + `"]}`} }
func publish(topic, data string) op {
	return op{"Publish", `{"topic":"` + topic + `","data":"` + data + `"}`}
}
func echo(data string) op   { return op{"Echo", `"` + data + `"`} }
func pushMe(data string) op { return op{"PushMe", `"` + data + `"`} }

// A wire is a protocol and how it travels, as a client has it.
type wire struct {
	name string
	// hello is all that comes before the first request.
	hello []byte
	// greetings is how many packets answer it, besides the answer to an upgrade request.
	greetings int
	webSocket bool
	// ask is a request, nil where the protocol has none for it.
	ask func(o op, id int) []byte
	// whole returns the length of the packet at the front of b, 0 while it is not known.
	whole func(b []byte) int
	// tell says what a packet is.
	tell func(packet []byte) string
}

// gosocWire is GOSOC with a keep-alive of 0.
func gosocWire(name string, form gosoc.Form, webSocket bool) wire {
	w := wire{name: name, greetings: 1, webSocket: webSocket}
	connect, err := form.AppendConnect(nil, gosoc.Connect{Payload: []byte("{}")})
	if err != nil {
		panic(err)
	}
	w.hello = connect
	if webSocket {
		w.hello = upgraded("/gosoc", connect)
	}
	w.ask = func(o op, id int) []byte {
		b, err := form.AppendSendReq(nil, gosoc.SendReq{
			Level: gosoc.LevelReply, ID: uint16(id), Route: []byte("sluice." + o.name), Payload: []byte(o.text),
		})
		if err != nil {
			panic(err)
		}
		return w.framed(b)
	}
	w.whole = func(b []byte) int {
		h, err := form.ParseHeader(b)
		if err != nil || h.Size == 0 {
			return 0
		}
		return h.Size + h.Remaining
	}
	w.tell = func(packet []byte) string {
		h, _ := form.ParseHeader(packet)
		body := packet[h.Size:]
		switch h.Type {
		case gosoc.TypeSendResp:
			r, err := form.DecodeSendResp(h, body)
			return fmt.Sprintf("reply %d %s %v", r.ID, r.Payload, err)
		case gosoc.TypeSendReq:
			r, err := form.DecodeSendReq(h, body)
			return fmt.Sprintf("push %s %s %v", r.Route, r.Payload, err)
		}
		return fmt.Sprintf("%x", packet)
	}
	return w
}

func longbridgeWire(name string, v longbridge.Version, webSocket bool) wire {
	w := wire{name: name, greetings: 1, webSocket: webSocket}
	hs := longbridge.DefaultHandshake()
	hs.Version = v
	auth, err := longbridge.AppendControl(nil, hs, longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdAuth, RequestID: 1000},
		&longbridge.AuthRequest{})
	if err != nil {
		panic(err)
	}
	w.hello = append(longbridge.AppendHandshake(nil, hs), auth...)
	if webSocket {
		w.hello = upgraded("/?"+string(longbridge.AppendQuery(nil, hs)), auth)
	}
	commands := map[string]uint8{"Echo": 200, "Subscribe": 201, "Unsubscribe": 202, "Publish": 203, "PushMe": 204}
	w.ask = func(o op, id int) []byte {
		b, err := longbridge.AppendRequest(nil, v, longbridge.Header{Cmd: commands[o.name], RequestID: uint32(id)}, nil, []byte(o.text))
		if err != nil {
			panic(err)
		}
		return w.framed(b)
	}
	w.whole = func(b []byte) int {
		h, err := longbridge.ParseHeader(b, v)
		if err != nil || h.Size == 0 {
			return 0
		}
		return h.Total()
	}
	w.tell = func(packet []byte) string {
		h, err := longbridge.ParseHeader(packet, v)
		_, body := h.Split(packet)
		if h.Type == longbridge.Push {
			return fmt.Sprintf("push %d %s %v", h.Cmd, body, err)
		}
		return fmt.Sprintf("reply %d %s %v", h.RequestID, body, err)
	}
	return w
}

// netsvrWire has nothing to ask for but its message back.
func netsvrWire() wire {
	w := wire{name: "netsvr", webSocket: true, hello: upgraded("/netsvr", nil)}
	w.ask = func(o op, _ int) []byte {
		if o.name != "PushMe" {
			return nil
		}
		return frame(websocket.OpText, true, []byte("001"+o.text))
	}
	w.tell = func(packet []byte) string { return fmt.Sprintf("push %s", packet) }
	return w
}

func wires() []wire {
	return []wire{
		gosocWire("gosoc compact", gosoc.Compact, false),
		gosocWire("gosoc fixed6", gosoc.Fixed6, false),
		gosocWire("gosoc over WebSocket", gosoc.Compact, true),
		longbridgeWire("longbridge 1", longbridge.Version1, false),
		longbridgeWire("longbridge 2", longbridge.Version2, false),
		longbridgeWire("longbridge over WebSocket", longbridge.Version1, true),
		netsvrWire(),
	}
}

func (w *wire) framed(packet []byte) []byte {
	if !w.webSocket {
		return packet
	}
	return frame(websocket.OpBinary, true, packet)
}

// upgraded is an upgrade request with a first packet behind it.
func upgraded(target string, packet []byte) []byte {
	b := websocket.AppendUpgradeRequest(nil, "x", target, "dGhlIHNhbXBsZSBub25jZQ==")
	if packet != nil {
		b = append(b, frame(websocket.OpBinary, true, packet)...)
	}
	return b
}

func frame(o websocket.Opcode, fin bool, payload []byte) []byte {
	h := websocket.FrameHeader{Fin: fin, Opcode: o, Masked: true, Mask: [4]byte{9, 8, 7, 6}, Length: int64(len(payload))}
	b := h.Append(nil)
	at := len(b)
	b = append(b, payload...)
	websocket.Mask(b[at:], h.Mask, 0)
	return b
}

// A caller is a client.
type caller struct {
	t    testing.TB
	w    *wire
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, s *server.Server, w *wire) *caller {
	t.Helper()
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &caller{t, w, conn, bufio.NewReaderSize(conn, 64<<10)}
}

// online dials and logs in.
func online(t testing.TB, s *server.Server, w *wire) *caller {
	t.Helper()
	c := dial(t, s, w)
	c.write(w.hello)
	c.greeted()
	return c
}

func (c *caller) write(b []byte) {
	c.t.Helper()
	_ = c.conn.SetDeadline(time.Now().Add(patience)) // of each step: a dialogue is as long as the machine is slow
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// greeted reads the answers to hello.
func (c *caller) greeted() {
	c.t.Helper()
	if c.w.webSocket {
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				c.t.Fatal(err)
			}
			if line == "\r\n" {
				break
			}
		}
	}
	for range c.w.greetings {
		if _, err := c.next(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// next reads a packet.
func (c *caller) next() (packet []byte, err error) {
	if !c.w.webSocket {
		for {
			if n := c.w.whole(packet); n > 0 && len(packet) == n {
				return packet, nil
			}
			b, err := c.r.ReadByte()
			if err != nil {
				return nil, err
			}
			packet = append(packet, b)
		}
	}
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			return nil, err
		}
		n := int(head[1])
		if head[1] == 126 {
			var l [2]byte
			if _, err := io.ReadFull(c.r, l[:]); err != nil {
				return nil, err
			}
			n = int(binary.BigEndian.Uint16(l[:]))
		}
		if head[1] == 127 {
			var l [8]byte
			if _, err := io.ReadFull(c.r, l[:]); err != nil {
				return nil, err
			}
			n = int(binary.BigEndian.Uint64(l[:]))
		}
		packet = make([]byte, n)
		if _, err := io.ReadFull(c.r, packet); err != nil {
			return nil, err
		}
		switch head[0] & 0x0f {
		case 0x9, 0xa: // pings, and pongs to ours
		case 0x8:
			return nil, io.EOF
		default:
			return packet, nil
		}
	}
}
