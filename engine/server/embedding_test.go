package server_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// What follows, down to Example_embedding, is the code of docs/embedding.md.

// accounts are users by their tokens.
type accounts map[string]string

func (a accounts) Login(_ context.Context, r login.Request) (login.Identity, error) {
	user, ok := a[r.Token]
	if !ok {
		return login.Identity{}, login.ErrRefused
	}
	return login.Identity{User: user, Topics: []string{"user." + user}}, nil
}

// chat is a protocol of lines: LOGIN and a token, then a route, a blank and a payload each.
type chat struct{ server.Binding }

func (chat) Name() string { return "chat" }

func (chat) Sniff(first []byte) engine.Match {
	const word = "LOGIN "
	n := min(len(word), len(first))
	switch {
	case string(first[:n]) != word[:n]:
		return engine.NoMatch
	case n < len(word):
		return engine.NeedMore
	}
	return engine.Matched
}

func (p chat) Open(*engine.Conn) engine.Handler { return &chatter{chat: p} }

// A chatter is one connection's state.
type chatter struct {
	server.Client
	chat
	timer server.PacketTimer
	last  uint32 // the id of the latest request
}

const longestLine = 4096

func (h *chatter) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	whole := false
	for c.Open() && !c.Paused() && !c.OutputFull() {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 && len(b)-n > longestLine || i > longestLine {
			c.Close(engine.ReasonTooLarge)
			break
		}
		if i < 0 {
			need = len(b) - n + 1
			break
		}
		word, rest, _ := bytes.Cut(b[n:n+i], []byte(" "))
		n += i + 1
		whole = true
		if h.Fresh() {
			h.Gateway.Login(c, h, server.Credentials{Token: string(rest)})
			continue
		}
		h.last++
		h.Gateway.Serve(c, h, server.Request{
			Route: word, Payload: rest, ID: h.last, WantsReply: true,
		})
	}
	h.Gateway.Received(c, h, &h.timer, whole, len(b)-n) // half lines are timed
	return n, need
}

// OnDeadline comes for the login, for half lines, and for requests whose time is up.
func (h *chatter) OnDeadline(c *engine.Conn) {
	switch {
	case !h.Online():
		c.Close(engine.ReasonLoginTimeout)
	case !h.Gateway.PacketLate(c, &h.timer):
		h.Gateway.Expire(c, h)
		h.Gateway.Arm(c, h)
	}
}

func (h *chatter) NextDeadline(c *engine.Conn) int64 {
	return h.Gateway.PacketLeft(c, &h.timer)
}

func (h *chatter) LoginDone(c *engine.Conn, o server.Outcome) {
	if o != server.LoginOK {
		c.Close(o.Reason()) // Goodbye says why
		return
	}
	c.Write([]byte("hello " + h.User() + "\n"))
	h.Gateway.Arm(c, h)
}

func (h *chatter) Answer(c *engine.Conn, id uint32, _ uint8, status int, payload []byte) {
	c.Write(fmt.Appendf(nil, "%d %s\n", status, payload))
}

func (h *chatter) Failure(status int, message string) (int, []byte) {
	return status, []byte(message)
}

func (h *chatter) Goodbye(c *engine.Conn, why engine.Reason) {
	c.Write([]byte("bye: " + why.String() + "\n"))
}

func (h *chatter) OnClose(c *engine.Conn, why engine.Reason) { h.Gateway.Closed(c, h, why) }

func (h *chatter) Base() *server.Client { return &h.Client }
func (h *chatter) Protocol() string     { return h.Name() }
func (h *chatter) Dialect() uint8       { return h.Binding.Dialect }
func (h *chatter) Ordered() bool        { return true } // replies carry no id

func chatGateway(events chan<- string) (*server.Server, error) {
	srv, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: server.GatewayConfig{Login: accounts{"s3cret": "ann"}},
		Protocols: []server.Protocol{{
			Name:     "chat",
			Dialects: []engine.Dialect{{Name: "chat-text", Append: appendLine}},
			New:      func(b server.Binding) engine.Protocol { return chat{b} },
		}},
		OnConnect: func(who server.ClientInfo) {
			events <- who.User + " came over " + who.Protocol
		},
		OnDisconnect: func(who server.ClientInfo, why engine.Reason) {
			events <- who.User + " left: " + why.String()
		},
	})
	if err != nil {
		return nil, err
	}
	err = srv.Handle("chat.Join", func(r *server.Request) {
		if !r.Subscribe([]byte("room")) {
			r.Fail(server.StatusError, "too many topics")
			return
		}
		r.Publish([]byte("room"), []byte(r.User()+" joins"))
		r.Reply([]byte("welcome"))
	})
	if err != nil {
		return nil, err
	}
	err = srv.Handle("report.*", func(r *server.Request) {
		ticket, query := r.Defer(), string(r.Payload) // r's slices are the loop's
		go func() {
			time.Sleep(10 * time.Millisecond) // what takes time: a query, a file, a call
			srv.Gateway().Answer(ticket, server.StatusOK, []byte(strings.ToUpper(query)))
		}()
	})
	if err != nil {
		return nil, err
	}
	return srv, srv.Start()
}

func tellAnn(ctx context.Context, srv *server.Server) error {
	if err := srv.Publish(ctx, "room", []byte("it rains")); err != nil {
		return err // nobody got it
	}
	n, err := srv.Send(ctx, server.User("ann"), []byte("take an umbrella"))
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("ann is not here")
	}
	_, err = srv.Kick(ctx, server.User("ann"), engine.ReasonForcedOffline)
	return err
}

// A protocol of one's own with logins and requests, a login provider, handlers, hooks, and what
// the program says to users: docs/embedding.md explains it.
func Example_embedding() {
	events := make(chan string, 2)
	srv, err := chatGateway(events)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer srv.Stop(ctx)

	conn, err := net.Dial("tcp", strings.TrimPrefix(srv.Addrs()[0], "tcp://"))
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	in := bufio.NewScanner(conn)
	say := func(line string, answers int) {
		fmt.Fprintln(conn, line)
		for range answers {
			in.Scan()
			fmt.Println(in.Text())
		}
	}
	say("LOGIN s3cret", 1)
	say("chat.Join", 2)
	say("report.Weather sunny", 1)
	if err := tellAnn(ctx, srv); err != nil {
		panic(err)
	}
	for in.Scan() {
		fmt.Println(in.Text())
	}
	fmt.Println(<-events)
	fmt.Println(<-events)
	// Unordered output:
	// hello ann
	// 0 welcome
	// ann joins
	// 0 SUNNY
	// it rains
	// take an umbrella
	// bye: forced-offline
	// ann came over chat
	// ann left: forced-offline
}

// TestEmbeddingPage: the code of docs/embedding.md is the code of this file.
func TestEmbeddingPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/embedding.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("embedding_test.go")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go") // has appendLine
	if err != nil {
		t.Fatal(err)
	}
	flat := flatten(string(source) + string(example))
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("%d pieces of code in docs/embedding.md", len(blocks))
	}
	for _, block := range blocks {
		code, _, closed := strings.Cut(block, "```")
		if !closed || !strings.Contains(flat, flatten(code)) {
			t.Errorf("docs/embedding.md has code that is not compiled:\n%s", code)
		}
	}
}

// flatten takes the indentation away.
func flatten(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return b.String()
}
