package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A program that embeds the gateway: clients that ask for chat.Say have their words published to
// everybody in the room, and so has the program itself.
func Example() {
	srv, err := server.New(server.Config{
		Listen:    []string{"tcp://127.0.0.1:0"},
		Gateway:   server.GatewayConfig{Login: login.Open{}},
		OnConnect: func(who server.ClientInfo) { fmt.Println(who.User, "is here") },
	})
	if err != nil {
		panic(err)
	}
	srv.Handle("chat.Say", func(r *server.Request) {
		r.Subscribe([]byte("room"))
		r.Publish([]byte("room"), r.Payload)
		r.Reply([]byte(`{"status":0,"data":{}}`))
	})
	if err := srv.Start(); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer srv.Stop(ctx)
	if err := srv.Publish(ctx, "room", []byte(`"welcome"`)); err != nil {
		panic(err)
	}
	fmt.Println(len(srv.Addrs()), "listener")
	// Output: 1 listener
}

// lines is a protocol of lines of text. It logs nobody in: whoever connects is a client at once.
type lines struct{ dialect uint8 }

func (lines) Name() string { return "lines" }

// Sniff takes connections that begin with a word of the protocol. "SUB " and "ECHO " begin like
// nothing else on the port.
func (lines) Sniff(first []byte) engine.Match {
	for _, word := range []string{"SUB ", "ECHO "} {
		n := min(len(word), len(first))
		if string(first[:n]) == word[:n] {
			if n == len(word) {
				return engine.Matched
			}
			return engine.NeedMore
		}
	}
	return engine.NoMatch
}

func (l lines) Open(c *engine.Conn) engine.Handler {
	c.SetDialect(l.dialect)
	c.SetDeadline(0) // these clients may be silent for as long as they like
	return lineConn{}
}

// lineConn is one connection's state: there is none.
type lineConn struct{}

func (lineConn) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	for c.Open() && !c.Paused() && !c.OutputFull() {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			if len(b)-n > 1024 {
				c.Close(engine.ReasonTooLarge)
				return n, 0
			}
			return n, len(b) - n + 1
		}
		word, rest, _ := bytes.Cut(b[n:n+i], []byte(" "))
		n += i + 1
		switch string(word) {
		case "SUB":
			c.Subscribe(rest)
			c.Write([]byte("ok\n"))
		case "ECHO":
			c.Write(append(bytes.Clone(rest), '\n'))
		default:
			c.Close(engine.ReasonMalformed)
		}
	}
	return n, 0
}

func (lineConn) OnDeadline(*engine.Conn) {}
func (lineConn) Goodbye(c *engine.Conn, why engine.Reason) {
	c.Write([]byte("bye: " + why.String() + "\n"))
}
func (lineConn) OnClose(c *engine.Conn, why engine.Reason) {}

// appendLine is how a push looks to a client.
func appendLine(dst []byte, p engine.Push) ([]byte, error) {
	return append(append(dst, p.Payload...), '\n'), nil
}

// A protocol of one's own shares the port with the gateway's, and the topics with their clients.
func ExampleProtocol() {
	srv, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: server.GatewayConfig{Login: login.Open{}},
		Protocols: []server.Protocol{{
			Name:     "lines",
			Dialects: []engine.Dialect{{Name: "lines-text", Append: appendLine}},
			New:      func(b server.Binding) engine.Protocol { return lines{b.Dialect} },
		}},
	})
	if err != nil {
		panic(err)
	}
	if err := srv.Start(); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer srv.Stop(ctx)

	where, _ := url.Parse(srv.Addrs()[0])
	conn, err := net.Dial("tcp", where.Host)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	in := bufio.NewScanner(conn)
	fmt.Fprint(conn, "ECHO hello\nSUB news\n")
	for range 2 {
		in.Scan()
		fmt.Println(in.Text())
	}
	if err := srv.Publish(ctx, "news", []byte("it rains")); err != nil {
		panic(err)
	}
	in.Scan()
	fmt.Println(in.Text())
	// Output:
	// hello
	// ok
	// it rains
}
