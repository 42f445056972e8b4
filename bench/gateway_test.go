package bench

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/codec/longbridge"
)

func TestMain(m *testing.M) {
	ServeIfWorker()
	flag.Parse()
	// Runs are short and wait most of their time.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A gateway is what a GOSOC client sees of the real one in development mode, with faults on demand.
type gateway struct {
	*testing.T
	url string

	mu       sync.Mutex
	topics   map[string]map[*client]bool
	sessions map[string]bool

	logins    atomic.Int64
	delivered atomic.Int64
	resumed   atomic.Int64
	pings     atomic.Int64

	drop   func(n int64) bool   // delivery n is not made
	twice  func(n int64) bool   // it is made twice
	cut    func(n int64) bool   // the subscriber is cut off instead
	silent func(id uint16) bool // this request is not answered
	answer func([]byte) []byte  // what an echo says
	stall  func(n int64)        // called before echo n
	echoes atomic.Int64
	refuse bool
	kill   func() // ends all connections; there will be no others
}

type client struct {
	g    *gateway
	nc   net.Conn
	form gosoc.Form
	gzip bool
	mu   sync.Mutex
	w    *bufio.Writer

	longbridge bool
}

func newGateway(t *testing.T, faults ...func(*gateway)) *gateway {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{T: t, url: "tcp://" + l.Addr().String(), topics: map[string]map[*client]bool{}, sessions: map[string]bool{}}
	for _, f := range faults {
		f(g)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.(*net.TCPConn).SetReadBuffer(256 << 10) // so that a flood does not last
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			running.Go(func() {
				c := &client{g: g, nc: nc, w: bufio.NewWriter(nc)}
				c.serve()
				g.forget(c)
				nc.Close()
				mu.Lock()
				delete(open, nc)
				mu.Unlock()
			})
		}
	})
	g.kill = func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for nc := range open {
			nc.Close()
		}
	}
	t.Cleanup(func() {
		g.kill()
		running.Wait()
	})
	return g
}

func (g *gateway) forget(c *client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, subs := range g.topics {
		delete(subs, c)
	}
}

func (c *client) serve() {
	r := bufio.NewReaderSize(c.nc, 256<<10)
	for first := true; ; first = false {
		if r.Buffered() == 0 {
			c.flush()
		}
		b, err := r.Peek(1)
		if err != nil {
			return
		}
		if first && b[0] == 'G' {
			path, ok := c.upgrade(r)
			if !ok {
				return
			}
			if r = bufio.NewReaderSize(c.nc, 256<<10); path != "/gosoc" {
				c.serveLongbridge(r, false)
				return
			}
			if b, err = r.Peek(1); err != nil {
				return
			}
		}
		if first && longbridge.SniffByte(b[0]) {
			c.serveLongbridge(r, true)
			return
		}
		if first {
			c.form, _ = gosoc.Sniff(b[0])
		}
		h, err := gosoc.Header{}, error(nil)
		for n := 2; h.Size == 0; n++ {
			if b, err = r.Peek(n); err != nil {
				return
			}
			if h, err = c.form.ParseHeader(b); err != nil {
				return
			}
		}
		packet := make([]byte, h.Len())
		for n := 0; n < len(packet); {
			m, err := r.Read(packet[n:])
			if err != nil {
				return
			}
			n += m
		}
		if !c.handle(h, packet[h.Size:]) {
			c.flush()
			return
		}
	}
}

func (c *client) flush() {
	c.mu.Lock()
	c.w.Flush()
	c.mu.Unlock()
}

func (c *client) write(b []byte) {
	c.mu.Lock()
	c.w.Write(b)
	c.mu.Unlock()
}

func (c *client) pack(b []byte) []byte {
	if c.gzip {
		return gzip.Deflate(nil, b)
	}
	return b
}

func (c *client) push(route string, payload []byte) []byte {
	if c.longbridge {
		b, _ := longbridge.AppendPush(nil, longbridge.Version1, longbridge.Header{Cmd: 100}, nil, payload)
		return b
	}
	b, _ := c.form.AppendSendReq(nil, gosoc.SendReq{Route: []byte(route), Payload: c.pack(payload)})
	return b
}

func (c *client) handle(h gosoc.Header, body []byte) bool {
	switch h.Type {
	case gosoc.TypeConnect:
		return c.login(h, body)
	case gosoc.TypePingReq:
		c.g.pings.Add(1)
		c.write(c.form.AppendPingResp(nil))
	case gosoc.TypeSendReq:
		req, err := c.form.DecodeSendReq(h, body)
		if err != nil {
			return false
		}
		if c.gzip {
			req.Payload, _ = gzip.Inflate(nil, req.Payload, 1<<20)
		}
		data := c.request(string(req.Route), req.Payload)
		if req.Level == gosoc.LevelReply && (c.g.silent == nil || !c.g.silent(req.ID)) {
			payload := fmt.Appendf(nil, `{"status":0,"data":%s}`, data)
			b, _ := c.form.AppendSendResp(nil, gosoc.SendResp{ID: req.ID, Payload: c.pack(payload)})
			c.write(b)
		}
	default:
		return false
	}
	return true
}

func (c *client) login(h gosoc.Header, body []byte) bool {
	con, err := c.form.DecodeConnect(h, body)
	if err != nil {
		return false
	}
	if c.gzip = con.Gzip; c.gzip {
		con.Payload, _ = gzip.Inflate(nil, con.Payload, 1<<20)
	}
	var p struct {
		Session   bool   `json:"session"`
		SessionID string `json:"session_id"`
	}
	json.Unmarshal(con.Payload, &p)
	c.g.mu.Lock()
	known := c.g.sessions[p.SessionID]
	c.g.mu.Unlock()
	if c.g.refuse || p.SessionID != "" && !known {
		c.write(c.form.AppendConnAck(nil, gosoc.ConnAck{Code: gosoc.BadToken}))
		return false
	}
	if known {
		c.g.resumed.Add(1)
	}
	n := c.g.logins.Add(1)
	c.write(c.form.AppendConnAck(nil, gosoc.ConnAck{}))
	if p.Session {
		id := fmt.Sprint("session-", n)
		c.g.mu.Lock()
		c.g.sessions[id] = true
		c.g.mu.Unlock()
		c.write(c.push("sluice.Session", fmt.Appendf(nil, `{"session_id":%q,"expires":1}`, id)))
	}
	return true
}

func (c *client) request(route string, payload []byte) []byte {
	switch route {
	case "sluice.Echo":
		if n := c.g.echoes.Add(1); c.g.stall != nil {
			c.g.stall(n)
		}
		if c.g.answer != nil {
			return c.g.answer(payload)
		}
		return payload
	case "sluice.Subscribe":
		var p struct{ Topics []string }
		json.Unmarshal(payload, &p)
		c.g.mu.Lock()
		for _, t := range p.Topics {
			if c.g.topics[t] == nil {
				c.g.topics[t] = map[*client]bool{}
			}
			c.g.topics[t][c] = true
		}
		c.g.mu.Unlock()
	case "sluice.Publish":
		var p struct {
			Topic string
			Data  json.RawMessage
		}
		json.Unmarshal(payload, &p)
		c.g.publish(p.Topic, p.Data)
	default:
		return []byte(`"` + strings.Repeat("x", 5) + `"`)
	}
	return []byte("{}")
}

func (g *gateway) publish(topic string, data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.topics[topic] {
		n := g.delivered.Add(1)
		if g.cut != nil && g.cut(n) {
			c.nc.Close()
			delete(g.topics[topic], c)
			continue
		}
		if g.drop != nil && g.drop(n) {
			continue
		}
		b := c.push("push", data)
		c.write(b)
		if g.twice != nil && g.twice(n) {
			c.write(b)
		}
		c.flush()
	}
}
