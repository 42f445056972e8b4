package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The opcodes of WebSocket frames.
const (
	netsvrContinuation = 0x0
	netsvrText         = 0x1
	netsvrBinary       = 0x2
	netsvrClose        = 0x8
	netsvrPing         = 0x9
	netsvrPong         = 0xA
)

// A netsvrCustomer is a WebSocket client by hand: it can say what is wrong, and sees exactly what
// comes.
type netsvrCustomer struct {
	tb   testing.TB
	conn *net.TCPConn
	r    *bufio.Reader
	head *http.Response
}

// netsvrHead is an upgrade request. Header lines given come in place of the usual ones of the same
// name, and without a value they only take those away.
func netsvrHead(method, target string, headers ...string) []byte {
	usual := []string{"Host: gateway", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	given := make(map[string]bool)
	lines := []string{method + " " + target + " HTTP/1.1"}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		given[name] = true
		if value != "" {
			lines = append(lines, h)
		}
	}
	for _, h := range usual {
		if name, _, _ := strings.Cut(h, ":"); !given[name] {
			lines = append(lines, h)
		}
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// netsvrUpgrade sends a request and reads the head of the answer, and its body when it is a refusal.
func (p *process) netsvrUpgrade(tb testing.TB, request []byte) (c *netsvrCustomer, status int, body string) {
	tb.Helper()
	conn, err := net.DialTimeout("tcp", p.addr, patience)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	c = &netsvrCustomer{tb: tb, conn: conn.(*net.TCPConn), r: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(request); err != nil {
		tb.Fatal(err)
	}
	if c.head, err = http.ReadResponse(c.r, nil); err != nil {
		return c, 0, err.Error()
	}
	if c.head.StatusCode != http.StatusSwitchingProtocols {
		b, err := io.ReadAll(c.head.Body)
		if err != nil {
			tb.Fatal(err)
		}
		conn.Close()
		return c, c.head.StatusCode, string(b)
	}
	_ = conn.SetDeadline(time.Time{}) // further ones are for a single frame
	return c, c.head.StatusCode, ""
}

// netsvrOpen is a WebSocket client that has been let in.
func (p *process) netsvrOpen(tb testing.TB, target string, headers ...string) *netsvrCustomer {
	tb.Helper()
	c, status, body := p.netsvrUpgrade(tb, netsvrHead("GET", target, headers...))
	if status != http.StatusSwitchingProtocols {
		tb.Fatalf("%s: %d %q", target, status, body)
	}
	if got := c.head.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		tb.Fatalf("Sec-WebSocket-Accept %q", got)
	}
	return c
}

// netsvrKnown is a customer and its uniqId, which the worker that registered as id learns from its first
// message.
func (p *process) netsvrKnown(tb testing.TB, l *workerLink, id int) (*netsvrCustomer, string) {
	tb.Helper()
	c := p.netsvrOpen(tb, "/netsvr")
	name := fmt.Sprintf("who am I, %d", rand.Uint64())
	c.say(fmt.Sprintf("%03d%s", id, name))
	return c, l.wantTransfer(name)
}

// netsvrOpened is a customer and its uniqId, which the worker learns from ConnOpen.
func (p *process) netsvrOpened(tb testing.TB, l *workerLink, target string, headers ...string) (*netsvrCustomer, string) {
	tb.Helper()
	c := p.netsvrOpen(tb, target, headers...)
	return c, l.event(workerConnOpen).text(1)
}

// netsvrFrame is a masked frame with the first byte as given.
func netsvrFrame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], rand.Uint32())
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

func (c *netsvrCustomer) write(b []byte) {
	c.tb.Helper()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(b); err != nil {
		c.tb.Fatalf("customer: %v", err)
	}
}

// say sends a text message.
func (c *netsvrCustomer) say(text string) {
	c.tb.Helper()
	c.write(netsvrFrame(0x80|netsvrText, []byte(text)))
}

func (c *netsvrCustomer) sayBinary(text string) {
	c.tb.Helper()
	c.write(netsvrFrame(0x80|netsvrBinary, []byte(text)))
}

// next reads a frame and is as strict as a client must be.
func (c *netsvrCustomer) next(wait time.Duration) (op byte, payload []byte, err error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(wait))
	return netsvrReadFrame(c.r)
}

func netsvrReadFrame(r *bufio.Reader) (op byte, payload []byte, err error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:1]); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(r, head[1:2]); err != nil {
		return 0, nil, unexpected(err)
	}
	size := uint64(head[1])
	op = head[0] & 0xF // before head is used again
	switch {
	case head[0]&0xF0 != 0x80 || head[1] > 127:
		return 0, nil, fmt.Errorf("the gateway sent a frame that begins with %x", head[:2])
	case size == 126:
		_, err = io.ReadFull(r, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:]))
	case size == 127:
		_, err = io.ReadFull(r, head[:8])
		size = binary.BigEndian.Uint64(head[:])
	}
	if err != nil {
		return 0, nil, unexpected(err)
	}
	if size > 256<<20 {
		return 0, nil, errors.New("the gateway sent a frame of an absurd length")
	}
	if size == 0 {
		return op, nil, nil
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(r, payload)
	return op, payload, unexpected(err)
}

func (c *netsvrCustomer) want(op byte, payload string) {
	c.tb.Helper()
	gotOp, got, err := c.next(patience)
	if err != nil || gotOp != op || string(got) != payload {
		c.tb.Fatalf("got opcode %x %.100q (%d bytes), %v, want %x %.100q", gotOp, got, len(got), err, op, payload)
	}
}

// wantText wants a text message.
func (c *netsvrCustomer) wantText(text string) { c.tb.Helper(); c.want(netsvrText, text) }

// wantCut wants the end without a close frame, and nothing before it.
func (c *netsvrCustomer) wantCut() {
	c.tb.Helper()
	if op, got, err := c.next(patience); err == nil || !over(err) {
		c.tb.Fatalf("got opcode %x %.100q, %v, want the end", op, got, err)
	}
	c.conn.Close()
}

// wantClose wants a close frame with this code, then the end.
func (c *netsvrCustomer) wantClose(code uint16) {
	c.tb.Helper()
	op, got, err := c.next(patience)
	if err != nil || op != netsvrClose || len(got) < 2 || binary.BigEndian.Uint16(got) != code {
		c.tb.Fatalf("got opcode %x %x, %v, want a close frame with code %d", op, got, err, code)
	}
	c.wantCut()
}

// wantQuiet wants nothing, not even the end, for some time.
func (c *netsvrCustomer) wantQuiet(d time.Duration) {
	c.tb.Helper()
	if op, got, err := c.next(d); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.tb.Fatalf("got opcode %x %.100q, %v, want nothing", op, got, err)
	}
}

// wantAlive checks that the customer is served, and that nothing was waiting for it.
func (c *netsvrCustomer) wantAlive() {
	c.tb.Helper()
	c.say(workerPing)
	c.wantText(workerPong)
}

func (c *netsvrCustomer) hangUp() { c.conn.Close() }
