package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// A client is one connection. Its want methods end the test when they are disappointed, so they
// belong on the test's goroutine; the others return errors.
type client struct {
	tb   testing.TB
	mode mode
	conn *net.TCPConn
	r    *bufio.Reader
	id   uint16
}

// open dials.
func (p *process) open(tb testing.TB, m mode) (*client, error) {
	return p.openWith(tb, &net.Dialer{Timeout: patience}, m)
}

func (p *process) openWith(tb testing.TB, d *net.Dialer, m mode) (*client, error) {
	conn, err := d.Dial("tcp", p.addr)
	if err != nil {
		return nil, err
	}
	c := &client{tb: tb, mode: m, conn: conn.(*net.TCPConn), r: bufio.NewReader(conn)}
	p.mu.Lock()
	p.clients = append(p.clients, c)
	p.mu.Unlock()
	return c, nil
}

// dial returns a connection that has said nothing.
func (p *process) dial(tb testing.TB, m mode) *client {
	tb.Helper()
	c, err := p.open(tb, m)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// login returns a connection that has been accepted with this Connect payload.
func (p *process) login(tb testing.TB, m mode, payload string) *client {
	tb.Helper()
	c := p.dial(tb, m)
	c.write(m.connect(0, payload))
	c.wantConnAck(accepted)
	return c
}

// token is a Connect payload.
func token(user string) string { return fmt.Sprintf(`{"token":%q}`, user) }

func (c *client) write(b []byte) {
	c.tb.Helper()
	if err := c.send(b); err != nil {
		c.tb.Fatalf("write: %v", err)
	}
}

func (c *client) send(b []byte) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(b)
	return err
}

// next returns the next packet.
func (c *client) next() (packet, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	return c.mode.read(c.r)
}

func (c *client) want(typ byte) packet {
	c.tb.Helper()
	p, err := c.next()
	if err != nil {
		c.tb.Fatalf("waiting for type %d: %v", typ, err)
	}
	if p.typ != typ {
		c.tb.Fatalf("got %v, want type %d", p, typ)
	}
	return p
}

func (c *client) wantBody(typ byte, body ...byte) {
	c.tb.Helper()
	if p := c.want(typ); string(p.body) != string(body) {
		c.tb.Fatalf("got %v, want type %d with %x", p, typ, body)
	}
}

func (c *client) wantConnAck(code byte)   { c.tb.Helper(); c.wantBody(connAck, 0, code) }
func (c *client) wantPong()               { c.tb.Helper(); c.wantBody(pingResp) }
func (c *client) wantDisconnect(typ byte) { c.tb.Helper(); c.wantBody(disconnect, typ) }

// wantEOF wants the end of the stream and nothing before it: no packet and no reset.
func (c *client) wantEOF() {
	c.tb.Helper()
	switch p, err := c.next(); {
	case err == nil:
		c.tb.Fatalf("got %v, want the end", p)
	case !errors.Is(err, io.EOF):
		c.tb.Fatalf("got %v, want a plain end", err)
	}
}

// wantOver wants the end of the stream, be it a reset, and nothing before it.
func (c *client) wantOver() {
	c.tb.Helper()
	if p, err := c.next(); err == nil {
		c.tb.Fatalf("got %v, want the end", p)
	} else if !over(err) {
		c.tb.Fatalf("got %v, want the end", err)
	}
}

// over reports whether err says that the peer has closed, in whatever way.
func over(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// wantQuiet wants nothing to arrive for some time, not even the end.
func (c *client) wantQuiet(d time.Duration) {
	c.tb.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(d))
	if p, err := c.mode.read(c.r); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.tb.Fatalf("got %v, %v, want nothing", p, err)
	}
}

// wantMessage wants a reply or a push.
func (c *client) wantMessage(typ byte) message {
	c.tb.Helper()
	msg, err := c.mode.message(c.want(typ))
	if err != nil {
		c.tb.Fatal(err)
	}
	return msg
}

// wantReply wants the reply to request id.
func (c *client) wantReply(id uint16, payload string) {
	c.tb.Helper()
	if got := c.wantMessage(sendResp); got.id != id || got.payload != payload {
		c.tb.Fatalf("reply %d is %.200q, want %d %.200q", got.id, got.payload, id, payload)
	}
}

// wantPush wants a push.
func (c *client) wantPush(route, payload string) {
	c.tb.Helper()
	if got := c.wantMessage(sendReq); got.route != route || got.payload != payload {
		c.tb.Fatalf("push %q is %.200q, want %q %.200q", got.route, got.payload, route, payload)
	}
}

// ask sends a request and returns the payload of its reply.
func (c *client) ask(route, payload string) string {
	c.tb.Helper()
	c.id++
	c.write(c.mode.ask(c.id, route, payload))
	got := c.wantMessage(sendResp)
	if got.id != c.id {
		c.tb.Fatalf("reply %d to request %d", got.id, c.id)
	}
	return got.payload
}

// okReply is the reply that says no more than that all went well.
const okReply = `{"status":0,"data":{}}`

func (c *client) wantAnswer(route, payload, want string) {
	c.tb.Helper()
	if got := c.ask(route, payload); got != want {
		c.tb.Fatalf("%s %.200s: got %.200q, want %.200q", route, payload, got, want)
	}
}

func (c *client) wantOK(route, payload string) {
	c.tb.Helper()
	c.wantAnswer(route, payload, okReply)
}

func (c *client) wantEcho(payload string) {
	c.tb.Helper()
	c.wantAnswer("sluice.Echo", payload, `{"status":0,"data":`+payload+`}`)
}

// wantStatus sends a request and wants it refused with an error body of this status.
func (c *client) wantStatus(route, payload string, status int) {
	c.tb.Helper()
	checkError(c.tb, c.ask(route, payload), status)
}

func checkError(tb testing.TB, body string, status int) {
	tb.Helper()
	var got struct {
		Status  *int            `json:"status"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	err := json.Unmarshal([]byte(body), &got)
	if err != nil || got.Status == nil || *got.Status != status || got.Message == "" || string(got.Data) != "null" {
		tb.Fatalf("got %.200q, want an error of status %d", body, status)
	}
}

func (c *client) subscribe(topics ...string) {
	c.tb.Helper()
	list, _ := json.Marshal(topics)
	c.wantOK("sluice.Subscribe", fmt.Sprintf(`{"topics":%s}`, list))
}

// identity is what sluice.Whoami says.
type identity struct {
	UniqID  string   `json:"uniqId"`
	User    string   `json:"user"`
	Session string   `json:"session"`
	Topics  []string `json:"topics"`
}

func (c *client) whoami() identity {
	c.tb.Helper()
	var reply struct {
		Status int      `json:"status"`
		Data   identity `json:"data"`
	}
	body := c.ask("sluice.Whoami", "{}")
	if err := json.Unmarshal([]byte(body), &reply); err != nil || reply.Status != 0 {
		c.tb.Fatalf("whoami: %q, %v", body, err)
	}
	return reply.Data
}

// hangUp closes as the deployed C++ client does, without a word.
func (c *client) hangUp() { _ = c.conn.Close() }

// reset closes so that the port is free again at once: tests with thousands of connections would
// run out of them.
func (c *client) reset() {
	_ = c.conn.SetLinger(0)
	_ = c.conn.Close()
}

// waiting returns what has arrived and was not read yet, without waiting.
func (c *client) waiting() []byte {
	buffered, _ := c.r.Peek(c.r.Buffered())
	got := append([]byte(nil), buffered...)
	raw, err := c.conn.SyscallConn()
	if err != nil {
		c.tb.Fatal(err)
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	err = raw.Read(func(fd uintptr) bool {
		b := make([]byte, 64<<10)
		n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == nil {
			got = append(got, b[:n]...)
		}
		return true
	})
	if err != nil {
		c.tb.Fatal(err)
	}
	return got
}
