package clustertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// A client is a GOSOC client of a gateway's development routes.
type client struct {
	t    *testing.T
	conn net.Conn
	in   []byte
	id   uint16
}

// login connects a client, which nobody else is.
func (g *gateway) login() *client {
	g.t.Helper()
	c, err := dial(g.t, g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.conn.Close() })
	return c
}

func dial(t *testing.T, address string) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	c := &client{t: t, conn: conn}
	b, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: []byte("{}")})
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	h, body, err := c.packet(patience)
	if err == nil && h.Type != gosoc.TypeConnAck {
		err = fmt.Errorf("a packet of type %d in place of ConnAck: %x", h.Type, body)
	}
	return c, err
}

// packet reads one packet, whose body is valid until the next.
func (c *client) packet(within time.Duration) (gosoc.Header, []byte, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(within))
	for {
		h, err := gosoc.Compact.ParseHeader(c.in)
		if err != nil {
			return h, nil, err
		}
		if h.Size > 0 && len(c.in) >= h.Len() {
			body := c.in[h.Size:h.Len()]
			c.in = c.in[h.Len():]
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

// send sends a request and does not wait for its answer.
func (c *client) send(route, payload string) error {
	c.id++
	b, err := gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{Level: gosoc.LevelReply, ID: c.id, Route: []byte(route), Payload: []byte(payload)})
	if err != nil {
		return err
	}
	_, err = c.conn.Write(b)
	return err
}

// call sends a request and waits for its answer. Pushes that come before it are an error.
func (c *client) call(route, payload string) {
	c.t.Helper()
	if err := c.send(route, payload); err != nil {
		c.t.Fatal(err)
	}
	h, body, err := c.packet(patience)
	if err != nil {
		c.t.Fatalf("%s: %v", route, err)
	}
	if h.Type != gosoc.TypeSendResp {
		c.t.Fatalf("%s: a packet of type %d: %q", route, h.Type, body)
	}
	resp, err := gosoc.Compact.DecodeSendResp(h, body)
	var answer struct{ Status int }
	if err != nil || json.Unmarshal(resp.Payload, &answer) != nil || answer.Status != 0 {
		c.t.Fatalf("%s: %q, %v", route, resp.Payload, err)
	}
}

func topics(names ...string) string {
	b, _ := json.Marshal(map[string][]string{"topics": names})
	return string(b)
}

func (c *client) subscribe(names ...string) {
	c.t.Helper()
	c.call("sluice.Subscribe", topics(names...))
}
func (c *client) unsubscribe(names ...string) {
	c.t.Helper()
	c.call("sluice.Unsubscribe", topics(names...))
}

// publish publishes a number, which is the next that subscribers are told.
func (c *client) publish(topic string, n int) {
	c.t.Helper()
	c.call("sluice.Publish", message(topic, n))
}

func message(topic string, n int) string { return fmt.Sprintf(`{"topic":%q,"data":%d}`, topic, n) }

// push returns the number of the next push. The error is io.EOF when none has come in time.
func (c *client) push(within time.Duration) (int, error) {
	for {
		h, body, err := c.packet(within)
		if e := (net.Error)(nil); err != nil {
			if errors.As(err, &e) && e.Timeout() {
				return 0, io.EOF
			}
			return 0, err
		}
		if h.Type == gosoc.TypeSendResp { // of send
			continue
		}
		req, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(string(req.Payload))
	}
}

// want wants pushes of the numbers from first to last, in order and nothing else.
func (c *client) want(first, last int) {
	c.t.Helper()
	for i := first; i <= last; i++ {
		if n, err := c.push(patience); err != nil || n != i {
			c.t.Fatalf("push %d, %v, want %d", n, err, i)
		}
	}
}
