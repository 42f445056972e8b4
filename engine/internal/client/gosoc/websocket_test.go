package gosoc_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// patience is how long a test waits for what must come, and never is for timers that must not run
// out meanwhile, however long the machine stands still.
const (
	patience = 30 * time.Second
	never    = 5 * time.Minute
)

// later is a provider that has to think about it.
type later struct{}

func (later) Login(ctx context.Context, r login.Request) (login.Identity, error) {
	time.Sleep(20 * time.Millisecond)
	return login.Open{}.Login(ctx, r)
}

func start(t *testing.T, p login.Provider) *server.Server {
	t.Helper()
	return startWith(t, p, server.GosocConfig{})
}

func startWith(t *testing.T, p login.Provider, config server.GosocConfig) *server.Server {
	t.Helper()
	s, err := server.New(server.Config{
		Gosoc:  config,
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true,
		Engine:  engine.Config{Loops: 2, Linger: patience},
		Gateway: gateway.Config{Login: p, LoginTimeout: never, LoginFailures: -1},
	})
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
	})
	return s
}

// A browser is a WebSocket client, written by hand.
type browser struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial connects to the first listener, for as long as the test and its patience last.
func dial(t *testing.T, s *server.Server) net.Conn {
	t.Helper()
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

func upgrade(t *testing.T, s *server.Server) *browser {
	t.Helper()
	conn := dial(t, s)
	b := &browser{t, conn, bufio.NewReader(conn)}
	b.write([]byte("GET /gosoc HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	resp, err := http.ReadResponse(b.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", resp, err)
	}
	return b
}

func (b *browser) write(p []byte) {
	if _, err := b.conn.Write(p); err != nil {
		b.t.Logf("write: %v", err)
	}
}

// header begins a masked frame; its mask is 0, so that payloads are written as they are.
func header(opcode byte, n int) []byte {
	out := []byte{0x80 | opcode}
	switch {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	return append(out, 0, 0, 0, 0)
}

func (b *browser) message(packet []byte) { b.write(append(header(0x2, len(packet)), packet...)) }

// next reads a frame.
func (b *browser) next() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(b.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	if n >= 126 {
		l := make([]byte, 2+6*(n-126))
		if _, err = io.ReadFull(b.r, l); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(l)), l...))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(b.r, payload)
	return head[0] & 0x0f, payload, err
}

func (b *browser) want(opcode byte, prefix string) []byte {
	b.t.Helper()
	op, payload, err := b.next()
	if err != nil || op != opcode || !strings.HasPrefix(string(payload), prefix) {
		b.t.Fatalf("frame %x %.40q, %v, want %x %q", op, payload, err, opcode, prefix)
	}
	return payload
}

// wantClose wants a close frame with a status and the end of the stream.
func (b *browser) wantClose(status uint16) {
	b.t.Helper()
	if got := b.want(0x8, ""); len(got) < 2 || binary.BigEndian.Uint16(got) != status {
		b.t.Fatalf("close %x, want %d", got, status)
	}
	if n, err := io.Copy(io.Discard, b.r); n > 0 || err != nil {
		b.t.Fatalf("%d bytes and %v behind the close", n, err)
	}
}

// connect is a Connect packet of the compact form with a payload of n bytes.
func connect(n int) []byte {
	payload := varint(nil, n)
	payload = append(payload, fmt.Sprintf("%-*s", n, `{"token":"ann"}`)...)
	body := append([]byte("\x05GOSOC\x01\x00\x00\x3c"), payload...)
	return append(varint([]byte{0x10}, len(body)), body...)
}

// echo is a request of the development worker's route sluice.Echo.
func echo(payload string) []byte {
	body := append([]byte("\x00\x07\x0bsluice.Echo"), varint(nil, len(payload))...)
	body = append(body, payload...)
	return append(varint([]byte{0x62}, len(body)), body...)
}

func varint(dst []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

// What may come before the login is little, however it is wrapped; what may come behind it is not.
func TestWebSocketBeforeLogin(t *testing.T) {
	for name, p := range map[string]login.Provider{"at once": login.Open{}, "later": later{}} {
		t.Run(name, func(t *testing.T) {
			s := start(t, p)
			big := `"` + strings.Repeat("x", 300_000) + `"`
			for _, n := range []int{20, 64<<10 - 20} {
				b := upgrade(t, s)
				b.message(connect(n))
				b.want(0x2, "\x20\x02\x00\x00")
				b.message(echo(big))
				if got := b.want(0x2, "\x70"); !strings.HasSuffix(string(got), `"data":`+big+"}") {
					t.Errorf("reply of %d bytes", len(got))
				}
			}
			for _, tt := range []struct {
				name   string
				wire   []byte
				status uint16
				first  string // in front of the close frame
			}{
				{"a header that claims more", header(0x2, 6+64<<10+1), 1009, "\x20\x02\x00\x01"},
				{"a header that claims 16 MiB", header(0x2, 16<<20), 1009, "\x20\x02\x00\x01"},
				{"a packet that claims more", append(header(0x2, 5), 0x10, 0x81, 0x80, 0x04, 0x05), 1009, ""},
				{"pieces that are more together", append(append([]byte{0x02}, header(0x2, 60<<10)[1:]...), append(make([]byte, 60<<10), header(0x0, 10<<10)...)...), 1009, "\x20\x02\x00\x01"},
				{"pings", []byte(strings.Repeat(string(header(0x9, 100))+strings.Repeat("p", 100), 700)), 1002, ""},
				{"pongs", []byte(strings.Repeat(string(header(0xa, 100))+strings.Repeat("p", 100), 700)), 1002, ""},
				{"not a Connect", append(header(0x2, 2), 0x30, 0x00), 1002, ""},
				{"text", append(header(0x1, 2), "{}"...), 1003, ""},
			} {
				t.Run(tt.name, func(t *testing.T) {
					b := upgrade(t, s)
					b.write(tt.wire)
					for tt.name == "pings" {
						if p, err := b.r.Peek(1); err != nil || p[0] != 0x8a {
							break
						}
						b.want(0xa, "ppp")
					}
					if tt.first != "" {
						b.want(0x2, tt.first)
					}
					b.wantClose(tt.status) // before the dial's patience and the login's time are over
				})
			}
		})
	}
}

// A message is one packet received or sent for the counters, however many of ours are in it.
func TestWebSocketPacketsCounted(t *testing.T) {
	s := start(t, login.Open{})
	b := upgrade(t, s)
	b.message(append(connect(20), echo("1")...))
	b.want(0x2, "\x20\x02\x00\x00")
	b.want(0x2, "\x70")
	b.message([]byte{0x50, 0x01, 0x00}) // Disconnect
	b.wantClose(1000)
	st := s.Engine().Stats()
	for deadline := time.Now().Add(patience); st.PacketsIn != 2 || st.PacketsOut != 4; st = s.Engine().Stats() {
		if time.Now().After(deadline) { // 101, ConnAck, SendResp, close frame
			t.Fatalf("%d packets in, %d out, want 2 and 4", st.PacketsIn, st.PacketsOut)
		}
		time.Sleep(time.Millisecond)
	}
}
