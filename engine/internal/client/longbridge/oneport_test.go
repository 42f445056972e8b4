package longbridge_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

// A stranger is a client of another protocol: what it sends, and what must come back.
type stranger struct {
	name    string
	upgrade string // path and query of a WebSocket client
	send    []byte
	want    []byte
}

// What GOSOC clients say, Connect and a request of route sluice.Echo, and hear, ConnAck and the reply.
var (
	compactSays  = join("\x10\x0b\x05GOSOC\x01\x00\x00\x3c\x00", "\x62\x10\x00\x01\x0bsluice.Echo\x011")
	compactHears = []string{"\x20\x02\x00\x00", "\x70\x18\x00\x01\x15" + `{"status":0,"data":1}`}
	fixed6Says   = join("\x01\x00\x00\x00\x0d\x00\x00\x05GOSOC\x01\x00\x00\x3c\x00\x00", "\x06\x00\x00\x00\x12\x02\x00\x01\x00\x0bsluice.Echo\x00\x011")
	fixed6Hears  = join("\x02\x00\x00\x00\x02\x00\x00\x00", "\x07\x00\x00\x00\x19\x00\x00\x01\x00\x15"+`{"status":0,"data":1}`)
)

var strangers = []stranger{
	{name: "GOSOC compact", send: compactSays, want: join(compactHears...)},
	{name: "GOSOC fixed6", send: fixed6Says, want: fixed6Hears},
	{
		name:    "GOSOC over WebSocket",
		upgrade: "/gosoc",
		send:    frame(0x2, compactSays),
		want:    join("\x82\x04", compactHears[0], "\x82\x1a", compactHears[1]),
	},
	{
		name:    "netsvr",
		upgrade: "/netsvr?a=b",
		send:    frame(0x1, []byte("001hello")),
		want:    []byte("\x81\x05hello"),
	},
}

func join(parts ...string) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// All kinds of clients come to one port at the same time, their bytes in pieces.
func TestOnePort(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.UserLimit = -1 })
	var wg sync.WaitGroup
	for i := range 5 {
		for _, f := range forms {
			wg.Add(1)
			go func() {
				defer wg.Done()
				p := online(t, s, f, fmt.Sprint("ann", i))
				for range 20 {
					if got := p.call(200, "hello"); got != "hello" {
						t.Errorf("%s: echo %q", f.name, got)
					}
				}
			}()
		}
		for _, x := range strangers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				conn := dialRaw(t, address(s))
				r := newReader(conn)
				if x.upgrade != "" {
					p := &peer{tb: t, conn: conn, r: r}
					p.upgradeTo(x.upgrade)
				}
				pieces(conn, x.send)
				got := make([]byte, len(x.want))
				if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, x.want) {
					t.Errorf("%s: got  %q, %v\nwant %q", x.name, got, err, x.want)
				}
			}()
		}
	}
	wg.Wait()
}

func (p *peer) upgradeTo(target string) {
	fmt.Fprintf(p.conn, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target)
	if resp, err := http.ReadResponse(p.r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		p.tb.Errorf("upgrade to %s: %v, %v", target, resp, err)
	}
}

// pieces writes b in small pieces.
func pieces(w io.Writer, b []byte) {
	for len(b) > 0 {
		n := 1 + rand.IntN(min(4, len(b)))
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
		time.Sleep(100 * time.Microsecond)
	}
}

// Every byte may come alone.
func TestByteByByte(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := &peer{tb: t, conn: dialRaw(t, address(s)), form: f}
			p.r = newReader(p.conn)
			var wire []byte
			if f.framed {
				p.upgrade("/", f.query())
			} else {
				wire = unhex(f.handshake())
			}
			wire = append(wire, p.wire(p.req(2, 1, 0, nil, []byte(p.message("token", "ann-"+f.name))))...)
			wire = append(wire, p.wire(p.req(1, 2, 0, nil, []byte("tick")))...)
			wire = append(wire, p.wire(p.req(200, 3, 0, nil, []byte("echo")))...)
			for _, b := range wire {
				p.write([]byte{b})
				time.Sleep(200 * time.Microsecond)
			}
			p.session(p.wantResponse(2, 1, 0))
			p.wantResponse(1, 2, 0)
			if got := p.wantResponse(200, 3, 0); string(got.body) != "echo" {
				t.Errorf("echo %q", got.body)
			}
		})
	}
}

// Streams of garbage, before and after the login, end with a Close or without once their client has no
// more to send, and the server serves others as before.
func TestGarbage(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.Gateway.UserLimit = -1 })
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			f := forms[i%len(forms)]
			var p *peer
			if i%2 == 0 {
				p = online(t, s, f, "ann")
			} else {
				p = dial(t, s, f)
			}
			// Some of it garbage from the start, some a good packet with a few bytes changed.
			b := p.wire(p.req(byte(random.IntN(256)), 1, 0, nil, make([]byte, random.IntN(300))))
			for range random.IntN(6) {
				b[random.IntN(len(b))] = byte(random.Uint32())
			}
			if i%3 == 0 {
				b = binary.BigEndian.AppendUint64(nil, random.Uint64())
			}
			_, _ = p.conn.Write(b)
			_ = p.conn.(*net.TCPConn).CloseWrite() // which ends what would wait for more
			_ = p.conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, p.r); err != nil && isTimeout(err) {
				t.Errorf("%s: no end behind % x", f.name, b)
			}
		}()
	}
	ben := online(t, s, forms[0], "ben")
	for range 100 {
		ben.call(200, "hello")
		time.Sleep(time.Millisecond)
	}
	wg.Wait()
}
