package worker_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/engine/worker"
	"github.com/sluicenet/sluice/topic"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// lobby is the README's first example.
func lobby(ctx context.Context, addr string) error {
	w, err := worker.New(worker.Config{Gateways: []string{addr}})
	if err != nil {
		return err
	}
	w.Handle("chat.Say", func(ctx context.Context, r *worker.Request) ([]byte, error) {
		return []byte(`{"status":0,"data":{}}`), w.TopicPublish(ctx, []string{"lobby"}, r.Payload)
	})
	return w.Run(ctx) // until ctx is done and the handlers have finished
}

func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	code, _, found := strings.Cut(rest, "```")
	code = strings.Replace(code, `"127.0.0.1:6061"`, "addr", 1)
	var indented strings.Builder
	for line := range strings.Lines(code) {
		indented.WriteString("\t" + line)
	}
	if !found || !strings.Contains(string(source), indented.String()) {
		t.Fatalf("the README's first example is not the one that is tested:\n%s", indented.String())
	}
	clients, workers := startGateway(t)
	runWorker(t, func(ctx context.Context) error { return lobby(ctx, workers) })
	c := dialGOSOC(t, clients)
	c.ask("test.Subscribe", "lobby")
	for deadline := time.Now().Add(patience); c.ask("chat.Say", `"hello"`) != `{"status":0,"data":{}}`; {
		if time.Now().After(deadline) {
			t.Fatal("the worker does not answer")
		}
		time.Sleep(5 * time.Millisecond) // it is not registered yet
	}
	if len(c.pushes) != 1 || c.pushes[0] != `"hello"` {
		t.Errorf("pushed: %q", c.pushes)
	}
}

// What a handler's errors become on the way to clients of two protocols.
func TestErrorsOfClients(t *testing.T) {
	clients, workers := startGateway(t)
	w, err := worker.New(worker.Config{Gateways: []string{workers}})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(context.Context, *worker.Request) ([]byte, error) {
		return nil, &worker.StatusError{Status: worker.StatusRefused, Message: "not you"}
	}
	fail := func(context.Context, *worker.Request) ([]byte, error) { return nil, io.ErrUnexpectedEOF }
	w.Handle("x.Refuse", refuse)
	w.Handle("x.Fail", fail)
	w.HandleCmd(50, 50, refuse)
	w.HandleCmd(51, 51, fail)
	runWorker(t, w.Run)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	c := dialGOSOC(t, clients)
	for route, want := range map[string]string{
		"x.Refuse":  `{"status":4,"message":"not you","data":null}`,
		"x.Unknown": `{"status":4,"message":"no such route","data":null}`,
		"x.Fail":    `{"status":5,`,
	} {
		if got := c.ask(route, "{}"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: GOSOC gets %s, want %s", route, got, want)
		}
	}
	b := dialLongbridge(t, clients)
	for cmd, want := range map[uint8]longbridge.Status{
		50: longbridge.StatusBadRequest, 51: longbridge.StatusServerInternalError, 52: longbridge.StatusBadRequest,
	} {
		status, body := b.ask(cmd)
		var m longbridge.Error
		if err := longbridge.DefaultHandshake().Codec.Unmarshal(body, &m); err != nil || m.Msg == "" || status != want {
			t.Errorf("cmd %d: Longbridge gets %v %+v, %v, want %v", cmd, status, m, err, want)
		}
	}
}

// startGateway runs a gateway in this process.
func startGateway(t *testing.T) (clients, workers string) {
	t.Helper()
	s, err := server.New(server.Config{
		Listen:       []string{"tcp://127.0.0.1:0"},
		WorkerListen: "tcp://127.0.0.1:0",
		Gateway:      gateway.Config{Login: login.Open{}, LoginTimeout: 5 * time.Minute, RequestTimeout: 5 * time.Minute},
		Engine: engine.Config{History: engine.HistoryLimits{
			Rules: []topic.Rule{{Pattern: "kept", Count: 2500, Age: time.Hour}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Handle("test.Subscribe", func(r *gateway.Request) {
		r.Subscribe(r.Payload)
		r.Reply(nil)
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	host := func(text string) string {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return u.Host
	}
	return host(s.Addrs()[0]), host(s.WorkerAddr())
}

// runWorker runs a worker until the test's end, which must be a good one.
func runWorker(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
}

type gosocClient struct {
	t      *testing.T
	conn   net.Conn
	r      *bufio.Reader
	pushes []string
}

func dialGOSOC(t *testing.T, addr string) *gosocClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	c := &gosocClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	b, err := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version})
	c.write(b, err)
	if h, body := c.read(); h.Type != gosoc.TypeConnAck || body[1] != 0 {
		t.Fatalf("got %v %x", h.Type, body)
	}
	return c
}

func (c *gosocClient) write(b []byte, err error) {
	c.t.Helper()
	if err == nil {
		_, err = c.conn.Write(b)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *gosocClient) read() (gosoc.Header, []byte) {
	c.t.Helper()
	for n := 2; ; n++ {
		b, err := c.r.Peek(n)
		if err != nil {
			c.t.Fatal(err)
		}
		h, err := gosoc.Compact.ParseHeader(b)
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Size > 0 {
			packet := make([]byte, h.Len())
			if _, err := io.ReadFull(c.r, packet); err != nil {
				c.t.Fatal(err)
			}
			return h, packet[h.Size:]
		}
	}
}

// ask returns the payload of the reply; pushes that came before it are kept.
func (c *gosocClient) ask(route, payload string) string {
	c.t.Helper()
	c.write(gosoc.Compact.AppendSendReq(nil, gosoc.SendReq{Level: gosoc.LevelReply, ID: 7, Route: []byte(route), Payload: []byte(payload)}))
	for {
		h, body := c.read()
		if h.Type == gosoc.TypeSendResp {
			m, err := gosoc.Compact.DecodeSendResp(h, body)
			if err != nil {
				c.t.Fatal(err)
			}
			return string(m.Payload)
		}
		m, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil {
			c.t.Fatal(err)
		}
		c.pushes = append(c.pushes, string(m.Payload))
	}
}

type longbridgeClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   uint32
}

func dialLongbridge(t *testing.T, addr string) *longbridgeClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	hs := longbridge.DefaultHandshake()
	b, err := longbridge.AppendControl(longbridge.AppendHandshake(nil, hs), hs,
		longbridge.Header{Type: longbridge.Request, Cmd: longbridge.CmdAuth, RequestID: 1}, &longbridge.AuthRequest{Token: "ann"})
	if err == nil {
		_, err = conn.Write(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &longbridgeClient{t: t, conn: conn, r: bufio.NewReader(conn), id: 1}
	if status, _ := c.read(); status != longbridge.StatusSuccess {
		t.Fatalf("not let in: %v", status)
	}
	return c
}

// read returns the next response, which must be the one to the last request.
func (c *longbridgeClient) read() (longbridge.Status, []byte) {
	c.t.Helper()
	version := longbridge.DefaultHandshake().Version
	for n := 1; ; n++ {
		b, err := c.r.Peek(n)
		if err != nil {
			c.t.Fatal(err)
		}
		h, err := longbridge.ParseHeader(b, version)
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Size == 0 {
			continue
		}
		packet := make([]byte, h.Total())
		if _, err := io.ReadFull(c.r, packet); err != nil {
			c.t.Fatal(err)
		}
		if h.Type != longbridge.Response || h.RequestID != c.id {
			c.t.Fatalf("got %+v", h)
		}
		_, body := h.Split(packet)
		return h.Status, body
	}
}

func (c *longbridgeClient) ask(cmd uint8) (longbridge.Status, []byte) {
	c.t.Helper()
	c.id++
	b, err := longbridge.AppendRequest(nil, longbridge.DefaultHandshake().Version, longbridge.Header{Cmd: cmd, RequestID: c.id}, nil, nil)
	if err == nil {
		_, err = c.conn.Write(b)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return c.read()
}
