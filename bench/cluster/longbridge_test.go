package clustertest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/sluicenet/sluice/codec/longbridge"
)

// A longbridgeClient is a Longbridge client of a gateway's development routes.
type longbridgeClient struct {
	g    *gateway
	conn net.Conn
	in   []byte
	id   uint32
}

// The development worker's commands.
const (
	longbridgePushCmd = 100
	longbridgeGapCmd  = 101
	longbridgeSubCmd  = 201
)

// askLongbridge connects a client with a request, and returns the answer's status.
func (g *gateway) askLongbridge(cmd uint8, m, answer longbridge.Message) (*longbridgeClient, longbridge.Status) {
	g.t.Helper()
	conn, err := net.DialTimeout("tcp", g.addr, patience)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	c := &longbridgeClient{g: g, conn: conn, id: 1}
	hs := longbridge.DefaultHandshake()
	b := longbridge.AppendHandshake(nil, hs)
	if b, err = longbridge.AppendControl(b, hs, longbridge.Header{Type: longbridge.Request, Cmd: cmd, RequestID: c.id}, m); err != nil {
		g.t.Fatal(err)
	}
	if _, err := conn.Write(b); err != nil {
		g.t.Fatal(err)
	}
	h, body, err := c.packet(patience)
	if err != nil || h.Type != longbridge.Response {
		g.t.Fatalf("gateway %d answers %+v, %v", g.id, h, err)
	}
	if h.Status == longbridge.StatusSuccess {
		if err := hs.Codec.Unmarshal(body, answer); err != nil {
			g.t.Fatal(err)
		}
	}
	return c, h.Status
}

// beginLongbridge logs a user in, and returns his session's ticket.
func (g *gateway) beginLongbridge(user string) (*longbridgeClient, string) {
	g.t.Helper()
	var answer longbridge.AuthResponse
	c, status := g.askLongbridge(longbridge.CmdAuth, &longbridge.AuthRequest{Token: user}, &answer)
	if status != longbridge.StatusSuccess || answer.SessionID == "" {
		g.t.Fatalf("gateway %d: Auth: status %v, %+v", g.id, status, answer)
	}
	return c, answer.SessionID
}

// reconnect resumes a session, and returns the next ticket.
func (g *gateway) reconnect(ticket string) (*longbridgeClient, string) {
	g.t.Helper()
	var answer longbridge.ReconnectResponse
	c, status := g.askLongbridge(longbridge.CmdReconnect, &longbridge.ReconnectRequest{SessionID: ticket}, &answer)
	if status != longbridge.StatusSuccess || answer.SessionID == "" {
		g.t.Fatalf("gateway %d: Reconnect: status %v, %+v", g.id, status, answer)
	}
	return c, answer.SessionID
}

// packet reads one packet, whose body is valid until the next.
func (c *longbridgeClient) packet(within time.Duration) (longbridge.Header, []byte, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(within))
	for {
		h, err := longbridge.ParseHeader(c.in, longbridge.Version1)
		if err != nil {
			return h, nil, err
		}
		if n := h.Total(); n > 0 && h.Size > 0 && len(c.in) >= n {
			_, body := h.Split(c.in[:n])
			c.in = c.in[n:]
			return h, body, nil
		}
		b := make([]byte, 64<<10)
		n, err := c.conn.Read(b)
		c.in = append(c.in, b[:n]...)
		if err != nil {
			return h, nil, err
		}
	}
}

func (c *longbridgeClient) subscribe(names ...string) {
	c.g.t.Helper()
	c.id++
	b, err := longbridge.AppendRequest(nil, longbridge.Version1, longbridge.Header{
		Type: longbridge.Request, Cmd: longbridgeSubCmd, RequestID: c.id,
	}, nil, []byte(topics(names...)))
	if err != nil {
		c.g.t.Fatal(err)
	}
	if _, err := c.conn.Write(b); err != nil {
		c.g.t.Fatal(err)
	}
	if h, body, err := c.packet(patience); err != nil || h.Type != longbridge.Response || h.Status != 0 {
		c.g.t.Fatalf("subscribe: %+v %q, %v", h, body, err)
	}
}

// push returns the number of the next push. The error is io.EOF when none has come in time.
func (c *longbridgeClient) push(within time.Duration) (int, error) {
	h, body, err := c.packet(within)
	switch e := (net.Error)(nil); {
	case errors.As(err, &e) && e.Timeout():
		return 0, io.EOF
	case err != nil:
		return 0, err
	case h.Type != longbridge.Push || h.Cmd != longbridgePushCmd:
		return 0, fmt.Errorf("a packet of type %d, command %d: %q", h.Type, h.Cmd, body)
	}
	return strconv.Atoi(string(body))
}

func (c *longbridgeClient) hangUp() { c.conn.Close() }
