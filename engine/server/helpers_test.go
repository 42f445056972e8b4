package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
)

// openLogin has the token be the user.
var openLogin = login.Open{}

// long is for what must not happen in a test, however slow the machine.
const long = 5 * time.Minute

// begin starts a gateway that is stopped at the test's end, and returns it with the address of its
// first listener. Login is open, with the token as the user, unless config says otherwise.
func begin(t *testing.T, config Config, prepare ...func(*Server)) (*Server, string) {
	t.Helper()
	if config.Gateway.Login == nil {
		config.Gateway.Login = login.Open{}
	}
	if config.Gateway.LoginTimeout == 0 {
		config.Gateway.LoginTimeout = long
	}
	if config.Engine.Linger == 0 {
		config.Engine.Linger = 50 * time.Millisecond // the tests' clients do not close first
	}
	if config.Listen == nil && config.Listeners == nil {
		config.Listen = []string{"tcp://127.0.0.1:0"}
	}
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range prepare {
		f(s)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, s) })
	u, err := url.Parse(s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	return s, u.Host
}

func end(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = s.Stop(ctx)
}

// peer is a client's side of a connection.
type peer struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &peer{t, c, bufio.NewReader(c)}
}

func (p *peer) write(b []byte, err error) {
	p.t.Helper()
	if err == nil {
		_, err = p.Write(b)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// wantEnd wants nothing more to come.
func (p *peer) wantEnd() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		p.t.Errorf("%q, %v, want the end", rest, err)
	}
}

type gosocPeer struct{ *peer }

// dialGOSOC logs in with a token, which is the user.
func dialGOSOC(t *testing.T, addr, token string) gosocPeer {
	t.Helper()
	c := connectGOSOC(t, addr, token)
	if h, body := c.next(); h.Type != gosoc.TypeConnAck || body[1] != 0 {
		t.Fatalf("got %v %x", h.Type, body)
	}
	return c
}

// connectGOSOC asks to be let in.
func connectGOSOC(t *testing.T, addr, token string) gosocPeer {
	t.Helper()
	c := gosocPeer{dial(t, addr)}
	payload := fmt.Appendf(nil, `{"token":%q}`, token)
	if token == "" {
		payload = []byte("{}")
	}
	c.write(gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: payload}))
	return c
}

func (c gosocPeer) next() (gosoc.Header, []byte) {
	c.t.Helper()
	for n := 2; ; n++ {
		b, err := c.r.Peek(n)
		if err != nil {
			c.t.Fatal(err)
		}
		h, err := gosoc.Compact.ParseHeader(b)
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Size > 0 {
			packet := make([]byte, h.Len())
			if _, err := io.ReadFull(c.r, packet); err != nil {
				c.t.Fatal(err)
			}
			return h, packet[h.Size:]
		}
	}
}

func (c gosocPeer) ask(route, payload string) {
	c.t.Helper()
	req := gosoc.SendReq{Level: gosoc.LevelReply, ID: 7, Route: []byte(route), Payload: []byte(payload)}
	c.write(gosoc.Compact.AppendSendReq(nil, req))
}

func (c gosocPeer) wantReply(payload string) {
	c.t.Helper()
	h, body := c.next()
	if m, err := gosoc.Compact.DecodeSendResp(h, body); h.Type != gosoc.TypeSendResp || err != nil || string(m.Payload) != payload {
		c.t.Fatalf("%v %q, %v, want a reply %s", h.Type, body, err, payload)
	}
}

func (c gosocPeer) wantPush(payload string) {
	c.t.Helper()
	h, body := c.next()
	if m, err := gosoc.Compact.DecodeSendReq(h, body); h.Type != gosoc.TypeSendReq || err != nil || string(m.Payload) != payload {
		c.t.Fatalf("%v %q, %v, want a push %s", h.Type, body, err, payload)
	}
}

func (c gosocPeer) wantDisconnect() {
	c.t.Helper()
	if h, body := c.next(); h.Type != gosoc.TypeDisconnect {
		c.t.Fatalf("%v %q, want a Disconnect", h.Type, body)
	}
	c.wantEnd()
}

type netsvrPeer struct{ *peer }

// dialNetsvr upgrades to /netsvr; with NetsvrConfig.LoginRequired token is the user.
func dialNetsvr(t *testing.T, addr, token string) netsvrPeer {
	t.Helper()
	c := netsvrPeer{dial(t, addr)}
	c.write([]byte(upgradeTo("/netsvr?token="+token)), nil)
	r, err := http.ReadResponse(c.r, nil)
	if err != nil || r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", r, err)
	}
	return c
}

func (c netsvrPeer) wantPush(payload string) {
	c.t.Helper()
	want := websocket.AppendFrame(nil, websocket.OpText, []byte(payload))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || !bytes.Equal(got, want) {
		c.t.Fatalf("%q, %v, want %q", got, err, want)
	}
}

// echoLines is a protocol of the tests' own: lines are echoed, "SUB topic" subscribes.
type echoLines struct{ dialect uint8 }

func (echoLines) Name() string { return "lines" }

func (echoLines) Sniff(first []byte) engine.Match {
	if first[0] >= 'A' && first[0] <= 'Z' {
		return engine.Matched
	}
	return engine.NoMatch
}

func (l echoLines) Open(c *engine.Conn) engine.Handler {
	c.SetDialect(l.dialect)
	c.SetDeadline(0)
	return l
}

func (echoLines) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return 0, len(b) + 1
	}
	if topic, ok := bytes.CutPrefix(b[:i], []byte("SUB ")); ok {
		c.Subscribe(topic)
	}
	c.Write(b[:i+1])
	return i + 1, 0
}

func (echoLines) OnDeadline(*engine.Conn)             {}
func (echoLines) Goodbye(*engine.Conn, engine.Reason) {}
func (echoLines) OnClose(*engine.Conn, engine.Reason) {}

func linesProtocol() Protocol {
	return Protocol{
		Name: "lines",
		Dialects: []engine.Dialect{{Name: "lines-text", Append: func(dst []byte, p engine.Push) ([]byte, error) {
			switch string(p.Payload) {
			case "panic":
				panic("asked to")
			case "exit":
				runtime.Goexit()
			}
			return append(append(dst, p.Payload...), '\n'), nil
		}}},
		New: func(b Binding) engine.Protocol { return echoLines{b.Dialect} },
	}
}

func (p *peer) wantLine(want string) {
	p.t.Helper()
	if got, err := p.r.ReadString('\n'); err != nil || got != want+"\n" {
		p.t.Fatalf("%q, %v, want %q", got, err, want)
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}
