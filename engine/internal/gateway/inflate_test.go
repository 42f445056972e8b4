package gateway_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// attached is a request with an attachment.
func attached(id int, route string, data []byte) []byte {
	plain := request(id, route, "{}")
	body := append(plain[2:len(plain):len(plain)], varint(nil, len(data))...)
	body = append(body, data...)
	return append(varint([]byte{0x6a}, len(body)), body...)
}

// Attachments that are gzip are inflated at their client's rate; those that are not are not counted.
func TestInflateRateOfAttachments(t *testing.T) {
	t.Parallel()
	const size, bodies, rate = 1 << 20, 3, 512 << 10 // each body is more than there may be at once
	for _, tt := range []struct {
		name   string
		data   []byte
		size   int
		paused bool
	}{
		{"gzip", gzip.Deflate(nil, make([]byte, size)), size, true},
		{"members of nothing", bytes.Repeat(gzip.Deflate(nil, nil), size>>10), 0, true},
		{"as it is", make([]byte, size), size, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Gateway.MaxInflateRate = rate })
			came := make(chan time.Time, bodies)
			if err := s.Handle("upload", func(r *gateway.Request) {
				if len(r.Data) != tt.size {
					t.Errorf("%d bytes", len(r.Data))
				}
				came <- time.Now()
				r.Reply([]byte("{}"))
			}); err != nil {
				t.Fatal(err)
			}
			p := online(t, s, "ann")
			begun := time.Now()
			for i := range bodies {
				p.write(attached(i, "upload", tt.data))
			}
			var last time.Time
			for range bodies {
				last = <-came
			}
			// There may be rate bytes at once, and the last body goes on what comes behind it.
			least := time.Second * (bodies*size - rate - size) / rate
			if d := last.Sub(begun); tt.paused && d < least-10*time.Millisecond {
				t.Errorf("all were there after %v, want %v at least", d, least)
			}
			if n := s.Gateway().Stats().InflateHolds; (n > 0) != tt.paused {
				t.Errorf("paused %d times", n)
			}
		})
	}
}

func TestGzipMembersOfAttachments(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.MaxGzipMembers = 3 })
	p := online(t, s, "ann")
	p.write(attached(1, "sluice.Upload", bytes.Repeat(gzip.Deflate(nil, nil), 3)))
	if _, _, err := p.next(); err != nil {
		t.Fatal(err)
	}
	p.write(attached(2, "sluice.Upload", bytes.Repeat(gzip.Deflate(nil, nil), 4)))
	await(t, "the end", func() bool { return s.Engine().Stats().Closed[engine.ReasonGzipMembers] == 1 })
}

// message is a client's WebSocket message, compressed or as it is.
func message(op byte, payload string, compressed bool) []byte {
	b, head := []byte(payload), 0x80|op
	if compressed {
		b, head = websocket.Deflate(nil, b), head|0x40
	}
	frame := []byte{head}
	switch n := len(b); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	return append(append(frame, 0, 0, 0, 0), b...) // a mask of zeros
}

// Compressed WebSocket messages are inflated at their client's rate, whatever the protocol; those of
// netsvr also when they are too large.
func TestInflateRateOfMessages(t *testing.T) {
	t.Parallel()
	const size, messages, rate = 32 << 10, 3, 16 << 10 // each message is more than there may be at once
	body := strings.Repeat("a", size)
	hello := "\x05GOSOC\x01\x00\x00\x00\x0f{\"token\":\"ann\"}"
	for _, tt := range []struct {
		name, path     string
		login, request string
	}{
		{"gosoc", "/gosoc", "\x10" + string(rune(len(hello))) + hello, string(request(1, "sluice.Echo", body))},
		{"longbridge", "/?version=1&codec=1&platform=9", "\x01\x02\x00\x00\x00\x01\x00\x00\x00\x00\x05\x0a\x03ann",
			"\x01\xc8\x00\x00\x00\x02\x00\x00\x00\x80\x00" + body},
		{"netsvr", "/netsvr", "", "001" + body},
		{"netsvr, too large", "/netsvr", "", "001" + strings.Repeat(body, 2)},
	} {
		for _, compressed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, compressed %v", tt.name, compressed), func(t *testing.T) {
				t.Parallel()
				s := start(t, func(c *server.Config) {
					c.Gateway.MaxInflateRate = rate
					c.Netsvr.Deflate, c.Netsvr.MaxMessage = true, size+3
				})
				p := dial(t, s)
				fmt.Fprintf(p.conn, "GET %s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
					"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+
					"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", tt.path)
				resp, err := http.ReadResponse(p.r, nil)
				if err != nil || resp.Header.Get("Sec-WebSocket-Extensions") == "" {
					t.Fatalf("upgrade: %v, %v", resp, err)
				}
				go func() { _, _ = io.Copy(io.Discard, p.r) }()
				if tt.login != "" {
					p.write(message(2, tt.login, false))
					await(t, "the login", func() bool { return s.Gateway().Online("ann") == 1 })
				}
				before := s.Engine().Stats().PacketsIn
				for range messages {
					p.write(message(2, tt.request, compressed))
				}
				await(t, "all to be handled", func() bool { return s.Engine().Stats().PacketsIn >= before+messages })
				if n := s.Gateway().Stats().InflateHolds; (n > 0) != compressed {
					t.Errorf("paused %d times", n)
				}
			})
		}
	}
}
