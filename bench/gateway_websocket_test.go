package bench

import (
	"bufio"
	"net"

	"github.com/sluicenet/sluice/codec/websocket"
)

// frames makes a stream of the messages of a WebSocket connection: each Write is one message, maybe of several packets.
type frames struct {
	net.Conn
	r    *bufio.Reader
	rest []byte
}

// upgrade answers a WebSocket handshake at the front of r, and says for which path it was.
func (c *client) upgrade(r *bufio.Reader) (path string, ok bool) {
	for n := 64; ; n++ {
		b, err := r.Peek(n)
		if err != nil {
			return "", false
		}
		req, used, err := websocket.ParseUpgrade(b, websocket.Limits{})
		if err != nil {
			return "", false
		}
		if used == 0 {
			continue
		}
		path = string(req.Path)
		c.nc.Write(websocket.AppendResponse(nil, &req, websocket.ResponseOptions{}))
		r.Discard(used)
		break
	}
	f := &frames{Conn: c.nc, r: r}
	c.nc = f
	c.w = bufio.NewWriterSize(f, 1<<20)
	return path, true
}

func (f *frames) Read(b []byte) (int, error) {
	for len(f.rest) == 0 {
		h, n := websocket.FrameHeader{}, 0
		for size := 2; n == 0; size++ {
			head, err := f.r.Peek(size)
			if err != nil {
				return 0, err
			}
			if h, n, err = websocket.ParseHeader(head); err != nil {
				return 0, err
			}
		}
		f.r.Discard(n)
		payload := make([]byte, h.Length)
		for k := 0; k < len(payload); {
			m, err := f.r.Read(payload[k:])
			if err != nil {
				return 0, err
			}
			k += m
		}
		websocket.Mask(payload, h.Mask, 0)
		switch h.Opcode {
		case websocket.OpPing:
			f.Conn.Write(websocket.AppendFrame(nil, websocket.OpPong, payload))
		case websocket.OpBinary, websocket.OpText:
			f.rest = payload
		}
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *frames) Write(b []byte) (int, error) {
	_, err := f.Conn.Write(websocket.AppendFrame(nil, websocket.OpBinary, b))
	return len(b), err
}
