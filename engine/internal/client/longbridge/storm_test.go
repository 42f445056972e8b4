package longbridge_test

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

// After a restart of the gateway all clients come back at once, with their sessions: each gets in,
// once.
func TestReconnectStorm(t *testing.T) {
	clients := 2000
	if testing.Short() || raceEnabled {
		clients = 300
	}
	key := func(c *server.Config) { copy(c.Gateway.SessionKey[:], "a key of thirty-two bytes, or so") }
	before := start(t, key)
	tickets := make([]string, clients)
	peers := make([]*peer, clients)
	each(clients, func(i int) {
		peers[i] = dial(t, before, forms[i%len(forms)])
		tickets[i] = peers[i].auth(fmt.Sprint("user-", i)).id
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		each(clients, func(i int) {
			peers[i].wantClose(2)
			_ = peers[i].conn.Close()
		})
	}()
	stop(t, before)
	<-ended

	after := start(t, key)
	begun := time.Now()
	var ids sync.Map
	each(clients, func(i int) {
		p := dial(t, after, forms[i%len(forms)])
		got := p.reconnect(tickets[i])
		if _, twice := ids.LoadOrStore(got.id, i); twice || got.online != 1 {
			t.Errorf("client %d: session %q, online %d", i, got.id, got.online)
		}
		if echo := p.call(200, "back"); echo != "back" {
			t.Errorf("client %d: echo %q", i, echo)
		}
	})
	t.Logf("%d clients back in %v", clients, time.Since(begun).Round(time.Millisecond))
	st := after.Gateway().Stats()
	if st.Clients != clients || st.Resumed != uint64(clients) || st.Logins != uint64(clients) || st.Sessions.Attached != clients {
		t.Errorf("%d clients, %d logins, %d resumed, %d sessions, want %d of each", st.Clients, st.Logins, st.Resumed, st.Sessions.Attached, clients)
	}
}

// Many connections fight for one session: whoever is last has it, all others are told so, and
// nobody is left over. None of them counts beside the one it takes over from.
func TestOneSessionManyConnections(t *testing.T) {
	for range 3 {
		oneSessionManyConnections(t)
	}
}

func oneSessionManyConnections(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.UserLimit = 1 })
	p := dial(t, s, forms[0])
	var ticket atomic.Pointer[string]
	first := p.auth("ann").id
	ticket.Store(&first)
	var resumed, ended atomic.Int64
	each(100, func(i int) {
		p := &peer{tb: t, form: forms[i%3]}
		conn, err := net.DialTimeout("tcp", address(s), patience)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(3 * patience))
		p.conn, p.r = conn, newReader(conn)
		p.raw(p.handshake())
		id := p.send(3, p.message("session_id", *ticket.Load()))
		g, err := p.next()
		switch {
		case err != nil:
			t.Errorf("no response: %v", err)
		case g.status == 0 && g.id == id:
			resumed.Add(1)
			next := p.session(g)
			if next.online != 1 || next.limit != 1 {
				t.Errorf("online %d of %d, want 1 of 1", next.online, next.limit)
			}
			ticket.Store(&next.id)
		case g.typ == 2 && g.status == 5: // rotated out meanwhile
			ended.Add(1)
		case g.typ == 3 && p.decode(g.body).number("code") == 6: // taken over before it was in
			ended.Add(1)
		default:
			t.Errorf("got %+v", g)
		}
	})
	if resumed.Load() == 0 {
		t.Error("nobody got the session")
	}
	t.Logf("%d resumed, %d refused", resumed.Load(), ended.Load())
	await(t, "one connection to be left", func() bool {
		return s.Gateway().Stats().Clients == 1 && s.Gateway().Online("ann") == 1
	})
	await(t, "the others' end", func() bool { return s.Gateway().Stats().Sessions.Attached == 1 })
}

// each calls f for 0 to n-1, some at a time.
func each(n int, f func(int)) {
	var wg sync.WaitGroup
	gate := make(chan struct{}, 256)
	for i := range n {
		wg.Add(1)
		gate <- struct{}{}
		go func() {
			defer func() { <-gate; wg.Done() }()
			f(i)
		}()
	}
	wg.Wait()
}
