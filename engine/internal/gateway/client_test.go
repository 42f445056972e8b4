package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// patience is how long a test waits for what must come, and never is for timers that must not run
// out meanwhile.
const (
	patience = 30 * time.Second
	never    = 5 * time.Minute
)

// start runs a server with the development worker until the end of the test.
func start(t *testing.T, change func(*server.Config)) *server.Server {
	t.Helper()
	config := server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true,
		Engine:  engine.Config{Loops: 2, Linger: patience},
		Gateway: gateway.Config{Login: login.Open{}, LoginTimeout: never, RequestTimeout: never, LoginFailures: -1},
	}
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
		if st := s.Engine().Stats(); st.Panics > 0 {
			t.Errorf("%d panics", st.Panics)
		}
	})
	return s
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// account returns what is kept of a kind.
func account(s *server.Server, k engine.Kind) int64 { return s.Engine().Stats().Accounts[k] }

// A phone is a GOSOC client over TCP, of the fixed6 form, written by hand.
type phone struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, s *server.Server) *phone {
	t.Helper()
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return &phone{t, conn, bufio.NewReader(conn)}
}

// varint appends n as a compact length.
func varint(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// connect sends Connect with a token.
func (p *phone) connect(token string, more string) {
	payload := fmt.Sprintf(`{"token":%q%s}`, token, more)
	body := append([]byte("\x05GOSOC\x01\x00\x00\x00"), varint(nil, len(payload))...)
	body = append(body, payload...)
	_, _ = p.conn.Write(append(varint([]byte{0x10}, len(body)), body...))
}

// request is a SendReq that wants a reply.
func request(id int, route, payload string) []byte {
	body := append(binary.BigEndian.AppendUint16(nil, uint16(id)), byte(len(route)))
	body = append(append(body, route...), varint(nil, len(payload))...)
	body = append(body, payload...)
	return append(varint([]byte{0x62}, len(body)), body...)
}

func (p *phone) write(b []byte) { _, _ = p.conn.Write(b) }

// next reads a packet: its first byte and its body.
func (p *phone) next() (first byte, body []byte, err error) {
	if first, err = p.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(p.r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	return first, body, err
}

// wantCode reads ConnAck.
func (p *phone) wantCode(code int) {
	p.t.Helper()
	first, body, err := p.next()
	if err != nil || first != 0x20 || len(body) != 2 || int(body[1]) != code {
		p.t.Fatalf("got %#x %q, %v, want ConnAck %d", first, body, err, code)
	}
}

// wantKickedOut reads Disconnect 1.
func (p *phone) wantKickedOut() {
	p.t.Helper()
	if first, body, err := p.next(); err != nil || first != 0x50 || string(body) != "\x01" {
		p.t.Fatalf("got %#x %q, %v, want Disconnect 1", first, body, err)
	}
}

// wantReply reads the reply to a request and returns its payload.
func (p *phone) wantReply(id int) string {
	p.t.Helper()
	first, body, err := p.next()
	if err != nil || first>>4 != 7 || len(body) < 3 || int(binary.BigEndian.Uint16(body)) != id {
		p.t.Fatalf("got %#x %.80q, %v, want the reply to %d", first, body, err, id)
	}
	_, n := binary.Uvarint(body[2:])
	return string(body[2+n:])
}

func (p *phone) wantEnd() {
	p.t.Helper()
	if first, body, err := p.next(); err != io.EOF {
		p.t.Fatalf("got %#x %.80q, %v, want the end", first, body, err)
	}
}

// online logs in.
func online(t *testing.T, s *server.Server, token string) *phone {
	t.Helper()
	p := dial(t, s)
	p.connect(token, "")
	p.wantCode(0)
	return p
}

// A new topic over the number of them in all is refused and counted; one that there is may be joined.
func TestMaxTopicsTotal(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.Gateway.MaxTopicsTotal = 2 })
	result := make(chan error, 1)
	if err := s.Handle("join", func(r *gateway.Request) {
		result <- r.TrySubscribe(bytes.Clone(r.Payload))
		r.Reply(nil)
	}); err != nil {
		t.Fatal(err)
	}
	ann, ben := online(t, s, "ann"), online(t, s, "ben")
	for i, tt := range []struct {
		who   *phone
		topic string
		want  error
	}{{ann, "one", nil}, {ann, "two", nil}, {ben, "three", gateway.ErrTopicsTotal}, {ben, "two", nil}} {
		tt.who.write(request(i+1, "join", tt.topic))
		if err := <-result; err != tt.want {
			t.Errorf("%s: %v, want %v", tt.topic, err, tt.want)
		}
	}
	if n := s.Gateway().Stats().TopicsRefused["too-many-in-all"]; n != 1 {
		t.Errorf("%d are counted, want 1", n)
	}
}
