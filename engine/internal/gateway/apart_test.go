package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
)

// badSession is a client of a program's own protocol, whose lines are requests. It does what its
// user's name says of one of its methods, as "panic-Answer".
type badSession struct {
	lineSession
	id uint32
}

type badProtocol struct{ lineProtocol }

func (p badProtocol) Open(*engine.Conn) engine.Handler {
	return &badSession{lineSession: lineSession{g: p.g}}
}

func (s *badSession) may(method string) {
	switch s.User() {
	case "panic-" + method:
		panic("asked to")
	case "exit-" + method:
		runtime.Goexit()
	}
}

func (s *badSession) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	for c.Open() && !c.Paused() {
		line, _, ok := strings.Cut(string(b[n:]), "\n")
		if !ok {
			return n, len(b) - n + 1
		}
		n += len(line) + 1
		if s.Fresh() {
			s.g.Login(c, s, gateway.Credentials{Token: line})
			continue
		}
		s.id++
		s.g.Serve(c, s, gateway.Request{Route: []byte(line), ID: s.id, WantsReply: true})
	}
	return n, 0
}

func (s *badSession) LoginDone(c *engine.Conn, o gateway.Outcome) {
	s.may("LoginDone")
	s.lineSession.LoginDone(c, o)
}

func (s *badSession) Answer(c *engine.Conn, id uint32, _ uint8, _ int, payload []byte) {
	s.may("Answer")
	c.Write(fmt.Appendf(nil, "%d %s\n", id, payload))
}

func (s *badSession) Failure(status int, message string) (int, []byte) {
	s.may("Failure")
	return status, []byte(message)
}

func (s *badSession) OnClose(c *engine.Conn, why engine.Reason) { s.g.Closed(c, s, why) }

// unhurriedProvider is asked on a goroutine of its own: verdicts come in a call of their own.
type unhurriedProvider struct{}

func (unhurriedProvider) Login(_ context.Context, r login.Request) (login.Identity, error) {
	return login.Identity{User: r.Token}, nil
}

// What a program's own protocol does wrong with what is said to its client costs that connection,
// and nobody else his reply: neither those of the same batch nor those behind.
func TestProtocolThatFailsCostsOneConnection(t *testing.T) {
	for _, how := range []string{"panic", "exit"} {
		for _, tc := range []struct {
			name, method string
			batch        int // how many are answered by one call
			answer       func(g *gateway.Gateway, all []gateway.Ticket) error
		}{
			{"verdict", "LoginDone", 0, nil},
			{"batch of replies", "Answer", 3, func(g *gateway.Gateway, all []gateway.Ticket) error {
				var batch []byte
				for _, t := range all {
					batch = gateway.AppendReply(batch, t, gateway.StatusOK, []byte("reply"))
				}
				return g.PostReplies(g.Engine().NewPublisher(), 0, 0, batch)
			}},
			{"batch of failures", "Failure", 3, func(g *gateway.Gateway, all []gateway.Ticket) error {
				var batch []byte
				for _, t := range all {
					batch = gateway.AppendFailure(batch, t, gateway.StatusInternal, []byte("reply"))
				}
				return g.PostReplies(g.Engine().NewPublisher(), 0, 0, batch)
			}},
			{"answer", "Answer", 1, func(g *gateway.Gateway, all []gateway.Ticket) error {
				g.Answer(all[0], gateway.StatusOK, []byte("reply"))
				return nil
			}},
			{"failure", "Failure", 1, func(g *gateway.Gateway, all []gateway.Ticket) error {
				g.Fail(all[0], gateway.StatusInternal, "reply")
				return nil
			}},
		} {
			t.Run(tc.name+" "+how, func(t *testing.T) {
				tickets := make(chan gateway.Ticket, 10)
				g, addr := startProtocol(t, gateway.Config{Login: unhurriedProvider{}, RequestTimeout: time.Minute}, func(g *gateway.Gateway) engine.Protocol {
					if err := g.Handle("*", gateway.HandlerFunc(func(r *gateway.Request) { tickets <- r.Defer() })); err != nil {
						t.Error(err)
					}
					return badProtocol{lineProtocol{g: g}}
				})
				users := []string{how + "-" + tc.method, "ann", "bob"}
				var conns []net.Conn
				var in []*bufio.Reader
				var all []gateway.Ticket
				for _, user := range users {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(10 * time.Second))
					r := bufio.NewReader(c)
					fmt.Fprintf(c, "%s\nask\n", user)
					if tc.batch > 0 || user != users[0] {
						if line, err := r.ReadString('\n'); line != "ok\n" {
							t.Fatalf("%s heard %q, %v", user, line, err)
						}
						all = append(all, <-tickets)
					}
					conns, in = append(conns, c), append(in, r)
				}
				over := func() {
					t.Helper()
					if b, err := in[0].ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the connection is still open: %q, %v", b, err)
					}
				}
				heard := func(i int) {
					t.Helper()
					if line, err := in[i].ReadString('\n'); line != "1 reply\n" {
						t.Errorf("%s heard %q, %v", users[i], line, err)
					}
				}
				if tc.answer == nil {
					over()
					return
				}
				if err := tc.answer(g, all); err != nil {
					t.Fatal(err)
				}
				if tc.batch > 1 {
					heard(1)
					heard(2)
				} else {
					fmt.Fprintf(conns[1], "ask\n") // the loop goes on
					<-tickets
				}
				over()
				if n := g.Engine().Stats().Panics + g.Stats().Panics; n != 1 {
					t.Errorf("%d panics, want 1", n)
				}
			})
		}
	}
}
