package longbridge_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/topic"
)

// Whoever takes over a session has its topics and session text, hears each publish from then on
// exactly once, and the older connection hears none.
func TestTakeOverState(t *testing.T) {
	s := start(t, nil)
	for cmd, f := range map[int]func(*gateway.Request){
		40: func(r *gateway.Request) {
			_ = r.Gateway().SetSession(r.Conn(), r.Client(), string(r.Payload))
			r.Reply(nil)
		},
		41: func(r *gateway.Request) { r.Reply([]byte(r.Client().Session())) },
	} {
		if err := s.Handle(fmt.Sprint("cmd:", cmd), f); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range forms {
		for _, older := range []string{"gone", "there", "half-open"} {
			t.Run(f.name+", the older connection "+older, func(t *testing.T) {
				topic := fmt.Sprint("news-", i, older)
				old := dial(t, s, f)
				ticket := old.auth("ann-" + topic)
				old.call(201, `{"topics":["`+topic+`","other-`+topic+`"]}`)
				old.call(40, "level 3")
				switch older {
				case "gone":
					_ = old.conn.Close()
					await(t, "the end", func() bool { return s.Gateway().Online("ann-"+topic) == 0 })
				case "half-open":
					_ = old.conn.(*net.TCPConn).CloseWrite()
				}
				p := dial(t, s, forms[(i+1)%len(forms)])
				if next := p.reconnect(ticket.id); next.online != 1 {
					t.Errorf("online %d", next.online)
				}
				if got := p.call(41, ""); got != "level 3" {
					t.Errorf("session text %q", got)
				}
				const n = 50
				for j := range n {
					for _, prefix := range []string{"", "other-"} {
						if err := s.Publish(t.Context(), prefix+topic, strconv.AppendInt(nil, int64(j), 10)); err != nil {
							t.Fatal(err)
						}
					}
				}
				for j := range 2 * n {
					if g := p.want(); g.typ != 3 || string(g.body) != fmt.Sprint(j/2) {
						t.Fatalf("push %d: %+v", j, g)
					}
				}
				p.call(200, "and nothing more")
				switch older {
				case "there":
					old.wantClose(6)
				case "half-open": // the gateway may have met its end first
					if g, err := old.next(); err == nil && (g.typ != 3 || g.cmd != 0) {
						t.Errorf("the older connection got %+v", g)
					}
				}
			})
		}
	}
}

// loop returns the number of the loop that has the connection of a client that is online.
func (p *peer) loop(s *server.Server) int {
	p.tb.Helper()
	local := p.conn.LocalAddr().String()
	found := make(chan int, 1)
	_ = s.Engine().NewPublisher().DoEach(func(l *engine.Loop) {
		l.Each(func(c *engine.Conn) {
			if c.Peer().String() == local {
				found <- l.Index()
			}
		})
	})
	select {
	case i := <-found:
		return i
	case <-time.After(patience):
		p.tb.Fatal("the client is not online")
		return 0
	}
}

// A client that is gone before the older connection is, and so before it can be told of its new
// ticket, comes back with the one it has, whenever it likes.
func TestGoneBeforeTold(t *testing.T) {
	t.Parallel()
	const grace = 100 * time.Millisecond
	s := start(t, func(c *server.Config) { c.Gateway.SessionGrace = grace })
	old := dial(t, s, forms[0])
	ticket := old.auth("ann").id
	old.call(201, `{"topics":["news"]}`)
	home := old.loop(s)
	var p *peer
	release := func() {}
	defer func() { release() }()
	for answered := false; !answered; { // by the loop that is not blocked: the verdict has to wait for the other
		p = dial(t, s, forms[0])
		p.packet(p.req(1, 1, 0, nil, nil))
		p.wantResponse(1, 1, 0)
		blocked, free := make(chan struct{}), make(chan struct{})
		release = sync.OnceFunc(func() { close(free) })
		s.Engine().TellLoop(home, func() { close(blocked); <-free })
		<-blocked
		p.packet(p.req(1, 2, 0, nil, nil))
		_ = p.conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, err := p.next(); err == nil {
			answered = true
			continue
		}
		release() // home is its loop, too, or the machine stood still
		_ = p.conn.SetReadDeadline(time.Now().Add(patience))
		p.wantResponse(1, 2, 0)
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	packets := s.Engine().Stats().PacketsIn
	p.send(3, p.message("session_id", ticket))
	_ = p.conn.(*net.TCPConn).SetLinger(0)
	await(t, "the Reconnect to be handled", func() bool { return s.Engine().Stats().PacketsIn > packets })
	open := s.Engine().Stats().Connections
	_ = p.conn.Close()
	await(t, "its end", func() bool { return s.Engine().Stats().Connections < open })
	release()
	old.wantClose(6)
	time.Sleep(4 * grace) // longer than a used ticket is good while nobody knows of its successor
	p = dial(t, s, forms[0])
	p.reconnect(ticket)
	if err := s.Publish(t.Context(), "news", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if g := p.want(); g.typ != 3 || string(g.body) != "hello" {
		t.Errorf("got %+v, want a push", g)
	}
}

// A storm in which connections are lost at every moment: each client comes back until it is in, and
// in the end it is, once, with nothing left over of its other attempts.
func TestReconnectStormWithLosses(t *testing.T) {
	clients := 500
	if testing.Short() || raceEnabled {
		clients = 150
	}
	key := func(c *server.Config) {
		copy(c.Gateway.SessionKey[:], "a key of thirty-two bytes, or so")
		c.Gateway.UserLimit = 1
	}
	before := start(t, key)
	tickets := make([]string, clients)
	each(clients, func(i int) {
		p := dial(t, before, forms[i%len(forms)])
		tickets[i] = p.auth(fmt.Sprint("user-", i)).id
		_ = p.conn.Close()
	})
	stop(t, before)

	s := start(t, key)
	peers := make([]*peer, clients)
	var attempts, lost atomic.Int64
	// back has client i come back, and reports whether it was told so.
	back := func(i int, lose bool) bool {
		attempts.Add(1)
		p := dial(t, s, forms[(i+int(attempts.Load()))%len(forms)])
		id := p.send(3, p.message("session_id", tickets[i]))
		if lose {
			if rand.IntN(2) == 0 {
				_ = p.conn.(*net.TCPConn).SetLinger(0)
			}
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
			_ = p.conn.Close()
			lost.Add(1)
			return false
		}
		g, err := p.next()
		if err != nil || g.typ != 2 || g.id != id || g.status != 0 {
			// An attempt that was given up may be later than this one, and then has the session.
			if g.typ != 3 && g.status != 0 || err != nil && err != io.EOF {
				t.Errorf("client %d: %+v, %v", i, g, err)
			}
			_ = p.conn.Close()
			return false
		}
		got := p.session(g)
		if got.online != 1 {
			t.Errorf("client %d: online %d", i, got.online)
		}
		tickets[i], peers[i] = got.id, p
		return true
	}
	each(clients, func(i int) {
		for n := 0; !back(i, n < 3 && rand.IntN(4) > 0); n++ {
			if n == 20 {
				t.Errorf("client %d does not get in", i)
				return
			}
		}
	})
	// What was given up may come late and take over once more.
	await(t, "all to be in and nothing else", func() bool {
		each(clients, func(i int) {
			p := peers[i]
			if p == nil {
				return
			}
			p.nextID++
			p.packet(p.req(200, p.nextID, 0, nil, []byte("x")))
			if g, err := p.next(); err != nil || g.typ != 2 {
				_ = p.conn.Close()
				for n := 0; n < 5 && !back(i, false); n++ {
				}
			}
		})
		st := s.Gateway().Stats()
		return st.Clients == clients && st.Sessions.Attached == clients && st.Sessions.Detached == 0 &&
			s.Engine().Stats().Connections == int64(clients)
	})
	for i := range clients {
		if n := s.Gateway().Online(fmt.Sprint("user-", i)); n != 1 {
			t.Errorf("user %d: %d online", i, n)
		}
	}
	t.Logf("%d clients back in %d attempts, of which %d were given up", clients, attempts.Load(), lost.Load())
}

// After so many refusals an address's logins are refused unread for a while; who is in stays in.
func TestLoginFailures(t *testing.T) { // not in a crowd, where it takes long
	const attempts = 10
	for range attempts {
		if loginFailures(t) {
			return
		}
	}
	t.Skipf("the machine was too slow %d times", attempts)
}

// loginFailures reports false when it took so long that nothing is proved.
func loginFailures(t *testing.T) (inTime bool) {
	const limit, per = 20, time.Second
	s := start(t, func(c *server.Config) { c.Gateway.LoginFailures, c.Gateway.LoginFailuresPer = limit, per })
	inside := online(t, s, forms[0], "ann")
	before := time.Now() // the window is not open yet
	for i := range limit {
		p := dial(t, s, forms[0])
		p.raw("ff") // what cannot be read is no attempt to get in
		p.wantClose(3)
		p = dial(t, s, forms[i%len(forms)])
		if i%2 == 0 {
			p.wantAuthRefused("bad", 5, 401)
		} else {
			p.wantReconnectRefused("gone")
		}
	}
	refusedLast := time.Now() // the ban has begun
	var heard []byte
	for range 10 {
		conn := dialRaw(t, address(s))
		_, _ = conn.Write(unhex("1109" + auth123)) // a token that would be good
		_ = conn.(*net.TCPConn).CloseWrite()       // so that it ends at once if it is let in
		got, _ := io.ReadAll(conn)
		heard = append(heard, got...)
	}
	st := s.Gateway().Stats()
	refused, logins := st.Refused[gateway.LoginBanned.String()], st.Logins
	if time.Since(before) > per-100*time.Millisecond {
		return false
	}
	if n := bytes.Count(heard, []byte("too many refused logins from this address")); n != 10 {
		t.Errorf("%d were told: %x", n, heard)
	}
	inside.call(200, "still here")
	if refused != 10 {
		t.Errorf("%d logins refused, want 10", refused)
	}
	if logins != 1 {
		t.Errorf("%d logins, want 1", logins)
	}
	time.Sleep(time.Until(refusedLast.Add(per + 50*time.Millisecond)))
	online(t, s, forms[0], "ben")
	return true
}

// The answer to Reconnect is the first packet, whatever is known to be lost by then.
func TestGapComesBehindTheAnswer(t *testing.T) {
	t.Parallel()
	limits := engine.HistoryLimits{Rules: []topic.Rule{{Pattern: "*", Count: 10, Age: time.Minute}}}
	s := start(t, func(c *server.Config) { c.Engine.History = limits })
	for _, f := range forms {
		user := "ann over " + f.name
		p := dial(t, s, f)
		ticket := p.auth(user).id
		p.call(201, `{"topics":["quiet"]}`)
		_ = p.conn.Close()
		await(t, "the end", func() bool { return s.Gateway().Online(user) == 0 })
		for _, h := range []engine.HistoryLimits{{}, limits} {
			if err := s.Engine().SetHistory(h); err != nil {
				t.Fatal(err)
			}
		}
		p = dial(t, s, f)
		p.reconnect(ticket)
		if g := p.want(); g.typ != 3 || g.cmd != 101 || string(g.body) != `{"topic":"quiet","lost":true}` {
			t.Errorf("%s: got %+v, want the gap", f.name, g)
		}
	}
}
