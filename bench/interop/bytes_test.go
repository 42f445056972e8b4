package interop

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A hand is a client made by hand, for what the published ones cannot be brought to do.
type hand struct {
	tb   testing.TB
	conn net.Conn
	id   uint32
}

func dialHand(tb testing.TB, g *gateway) *hand {
	tb.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte{0x11, 0x09}); err != nil {
		tb.Fatal(err)
	}
	return &hand{tb: tb, conn: conn}
}

// request is a packet of version 1.
func request(cmd byte, id uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{1, cmd}, id)
	b = append(b, 0, 0, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

// raw sends a request and reads its response.
func (h *hand) raw(cmd byte, body string) ([]byte, error) {
	h.id++
	_ = h.conn.SetDeadline(time.Now().Add(patience))
	if _, err := h.conn.Write(request(cmd, h.id, []byte(body))); err != nil {
		return nil, err
	}
	for {
		head := make([]byte, 10)
		if _, err := io.ReadFull(h.conn, head[:5]); err != nil {
			return nil, err
		}
		if head[0] == 3 { // a push: not what is asked for
			n := int(head[2])<<16 | int(head[3])<<8 | int(head[4])
			if _, err := io.CopyN(io.Discard, h.conn, int64(n)); err != nil {
				return nil, err
			}
			continue
		}
		if _, err := io.ReadFull(h.conn, head[5:]); err != nil {
			return nil, err
		}
		answer := make([]byte, int(head[7])<<16|int(head[8])<<8|int(head[9]))
		if _, err := io.ReadFull(h.conn, answer); err != nil {
			return nil, err
		}
		if head[0] != 2 || head[1] != cmd || head[6] != 0 {
			return nil, fmt.Errorf("got % x %q", head, answer)
		}
		return answer, nil
	}
}

// text is the message with one string that Auth and Reconnect have.
func text(s string) string {
	return string(append(binary.AppendUvarint([]byte{0x0a}, uint64(len(s))), s...))
}

// connectAs logs a user in.
func connectAs(t *testing.T, g *gateway, user string) *hand {
	t.Helper()
	token, err := g.token(user)
	if err != nil {
		t.Fatal(err)
	}
	h := dialHand(t, g)
	if _, err := h.raw(2, text(token)); err != nil {
		t.Fatal(err)
	}
	return h
}

// takeOver resumes somebody's session.
func takeOver(t *testing.T, g *gateway, session string) {
	t.Helper()
	if _, err := dialHand(t, g).raw(3, text(session)); err != nil {
		t.Fatal(err)
	}
}
