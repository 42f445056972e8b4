package interop

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	control "github.com/longportapp/openapi-protobufs/gen/go/control"
	protocol "github.com/longportapp/openapi-protocol/go"
	"github.com/longportapp/openapi-protocol/go/client"
)

// A vendor is Longbridge's Go client.
type vendor struct {
	tb     testing.TB
	client client.Client
	user   string
	tokens atomic.Int64  // asked for
	bad    atomic.Bool   // the next token is no good
	back   chan struct{} // it has reconnected
	pushes chan []byte
	pings  atomic.Int64
	pongs  atomic.Int64
	logger
}

// logger keeps what the client says, for when a test fails.
type logger struct {
	mu    sync.Mutex
	begun time.Time
	lines []string
}

func (l *logger) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%6d ms ", time.Since(l.begun).Milliseconds())+fmt.Sprintf(format, args...))
}

func (l *logger) SetLevel(string)              {}
func (l *logger) Info(msg string)              { l.say("%s", msg) }
func (l *logger) Error(msg string)             { l.say("error: %s", msg) }
func (l *logger) Warn(msg string)              { l.say("warning: %s", msg) }
func (l *logger) Debug(string)                 {}
func (l *logger) Infof(f string, args ...any)  { l.say(f, args...) }
func (l *logger) Errorf(f string, args ...any) { l.say("error: "+f, args...) }
func (l *logger) Warnf(f string, args ...any)  { l.say("warning: "+f, args...) }
func (l *logger) Debugf(string, ...any)        {}
func (l *logger) printed() (lines string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// The transports and forms the client knows.
var handshakes = []struct {
	name, scheme string
	protocol.Handshake
}{
	{"tcp", "tcp", protocol.Handshake{Version: 1, Codec: protocol.CodecProtobuf, Platform: protocol.PlatformOpenapi}},
	{"ws", "ws", protocol.Handshake{Version: 1, Codec: protocol.CodecProtobuf, Platform: protocol.PlatformOpenapi}},
	{"tcp-v2", "tcp", protocol.Handshake{Version: 2, Codec: protocol.CodecProtobuf, Platform: protocol.PlatformOpenapi}},
	{"tcp-json", "tcp", protocol.Handshake{Version: 1, Codec: protocol.CodecJSON, Platform: protocol.PlatformOpenapi}},
	{"wss", "wss", protocol.Handshake{Version: 1, Codec: protocol.CodecProtobuf, Platform: protocol.PlatformOpenapi}},
	{"ws-v2", "ws", protocol.Handshake{Version: 2, Codec: protocol.CodecProtobuf, Platform: protocol.PlatformOpenapi}},
}

// eachTransport runs f for plain TCP and WebSocket.
func eachTransport(t *testing.T, f func(t *testing.T, transport int)) {
	for i := range 2 {
		t.Run(handshakes[i].name, func(t *testing.T) {
			t.Parallel()
			f(t, i)
		})
	}
}

// newVendor makes a client of a user, which is yet to be dialled.
func newVendor(tb testing.TB, user string) *vendor {
	v := &vendor{tb: tb, user: user, back: make(chan struct{}, 100), pushes: make(chan []byte, 100)}
	v.begun = time.Now()
	return v
}

// dial connects and authenticates through the line to the gateway that get returns, again when the
// client has thrown the response away.
func (v *vendor) dial(transport int, addr string, get func() *gateway, opts ...client.DialOption) error {
	bad := v.bad.Load()
	for tries := 1; ; tries++ {
		err := v.dialOnce(transport, addr, get, opts...)
		if err == nil || tries == 5 || !strings.Contains(err.Error(), "response timeout") {
			return err
		}
		v.close()
		v.bad.Store(bad)
		v.tokens.Store(0)
	}
}

// dialOnce is dial without a second try. An answer that got lost is waited for less long than the
// client would by default, and for longer than a machine stands still.
func (v *vendor) dialOnce(transport int, addr string, get func() *gateway, opts ...client.DialOption) error {
	v.client = client.New(client.WithLogger(&v.logger))
	v.client.Subscribe(100, func(p *protocol.Packet) {
		select {
		case v.pushes <- bytes.Clone(p.Body):
		default:
		}
	})
	v.client.OnPing(func(*protocol.Packet) { v.pings.Add(1) })
	v.client.OnPong(func(*protocol.Packet) { v.pongs.Add(1) })
	v.client.AfterReconnected(func() { v.back <- struct{}{} })
	opts = append([]client.DialOption{client.AuthTimeout(3 * time.Second), client.WithAuthTokenGetter(func() (string, error) {
		v.tokens.Add(1)
		if v.bad.CompareAndSwap(true, false) {
			return "no good", nil
		}
		return get().token(v.user)
	})}, opts...)
	h := handshakes[transport]
	return v.client.Dial(context.Background(), h.scheme+"://"+addr+"/v2", &h.Handshake, opts...)
}

// connect dials a gateway, which must work, and closes the client at the end of the test.
func connect(t *testing.T, g *gateway, transport int, addr string, opts ...client.DialOption) *vendor {
	t.Helper()
	v := newVendor(t, "ann-"+strings.ReplaceAll(t.Name(), "/", "-"))
	if err := v.dial(transport, addr, func() *gateway { return g }, opts...); err != nil {
		t.Fatalf("dial: %v\n%s", err, v.printed())
	}
	v.closeAfter(t)
	return v
}

// closeAfter closes the client at the end of the test, if it lets itself be closed.
func (v *vendor) closeAfter(t *testing.T) {
	t.Cleanup(func() {
		v.close()
		if t.Failed() {
			t.Logf("the client:\n%s", v.printed())
		}
	})
}

func (v *vendor) close() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = v.client.Close(nil)
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// do sends a request with a message, as the client's users do.
func (v *vendor) do(cmd uint32, body string, opts ...client.RequestOption) (*protocol.Packet, error) {
	return v.client.Do(context.Background(), &client.Request{Cmd: cmd, Body: &control.Error{Code: 1, Msg: body}}, opts...)
}

// raw sends a request whose body is these bytes: to the client, fields it does not know.
func (v *vendor) raw(cmd uint32, body string) (*protocol.Packet, error) {
	m := new(control.Close)
	m.ProtoReflect().SetUnknown([]byte(body))
	return v.client.Do(context.Background(), &client.Request{Cmd: cmd, Body: m})
}

// subscribe adds the client to a topic of the development worker.
func (v *vendor) subscribe(topic string) {
	v.tb.Helper()
	if _, err := v.raw(201, `{"topics":["`+topic+`"]}`); err != nil {
		v.tb.Fatalf("subscribe: %v", err)
	}
}

// wantEcho wants a request to be served.
func (v *vendor) wantEcho(body string) {
	v.tb.Helper()
	res, err := v.do(200, body)
	if err != nil {
		v.tb.Fatalf("echo: %v", err)
	}
	var got control.Error
	if err := res.Unmarshal(&got); err != nil || got.Msg != body {
		v.tb.Fatalf("echo: %v, %d of %d bytes", err, len(got.Msg), len(body))
	}
}

// isBack reports whether the client reconnects within a time, and is served again.
func (v *vendor) isBack(within time.Duration) bool {
	deadline := time.After(within)
	select {
	case <-v.back:
	case <-deadline:
		return false
	}
	served := make(chan bool, 1)
	go func() { // which the client's own lock may keep for ever
		_, err := v.do(200, "back", client.RequestTimeout(within))
		served <- err == nil
	}()
	select {
	case ok := <-served:
		return ok
	case <-deadline:
		return false
	}
}

// wantBack wants the client to reconnect and to be served again.
func (v *vendor) wantBack() {
	v.tb.Helper()
	if !v.isBack(patience) {
		v.tb.Fatal("the client did not come back")
	}
}

// session is what the client holds.
func (v *vendor) session() string { return v.client.AuthInfo().GetSessionId() }
