package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/session"
)

// A neighbour is a SessionShare of one other gateway in the same process.
type neighbour struct {
	mu    sync.Mutex
	ended []session.SessionID
	other *gateway.Gateway
}

func (n *neighbour) Changed(session.SessionID)   {}
func (n *neighbour) Left(session.SessionID)      {}
func (n *neighbour) Forgotten(session.SessionID) {}

func (n *neighbour) Ended(id session.SessionID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = append(n.ended, id)
}

func (n *neighbour) Take(t session.Ticket, done func(session.Shared, error)) {
	gateway.GiveSession(n.other, t.ID, t.Serial, done)
}

// startTwo starts two gateways that resume each other's sessions.
func startTwo(t *testing.T) (a, b *server.Server, shareA *neighbour) {
	t.Helper()
	shares := [2]*neighbour{new(neighbour), new(neighbour)}
	var servers [2]*server.Server
	for i := range servers {
		servers[i] = start(t, func(c *server.Config) {
			c.Gateway.SessionKey = [session.KeySize]byte{1}
			c.Gateway.ServerID = uint8(i)
		})
	}
	for i, share := range shares {
		if err := gateway.Share(servers[i].Gateway(), share); err != nil { // nobody has come yet
			t.Fatal(err)
		}
	}
	shares[0].other, shares[1].other = servers[1].Gateway(), servers[0].Gateway()
	return servers[0], servers[1], shares[0]
}

// whoami asks for the client's user and topics.
func (p *phone) whoami(id int) []byte {
	p.t.Helper()
	p.write(request(id, "sluice.Whoami", ""))
	for {
		_, answer, err := p.next()
		if err != nil {
			p.t.Fatal(err)
		}
		if bytes.Contains(answer, []byte(`"user":`)) {
			return answer
		}
	}
}

func TestSessionsMoveBetweenGateways(t *testing.T) {
	t.Parallel()
	a, b, _ := startTwo(t)
	ticket := leave(t, a, "ann", "news")
	first, next := resume(t, b, ticket)
	if who := first.whoami(1); !bytes.Contains(who, []byte(`"user":"ann"`)) || !bytes.Contains(who, []byte(`"news"`)) {
		t.Fatalf("on the other gateway the client is %s", who)
	}
	if st := a.Gateway().Stats(); st.Sessions.Detached != 0 || st.SessionsGiven != 1 || account(a, engine.KindSessions) != 0 {
		t.Errorf("the first still has %+v", st.Sessions)
	}
	// Back again, from a connection that is alive, which is told why it ends.
	second, _ := resume(t, a, next)
	for {
		if _, body, err := first.next(); err != nil {
			break
		} else if bytes.Contains(body, []byte("news")) {
			t.Errorf("the older connection got %q", body)
		}
	}
	if who := second.whoami(2); !bytes.Contains(who, []byte(`"user":"ann"`)) || !bytes.Contains(who, []byte(`"news"`)) {
		t.Errorf("back on the first gateway the client is %s", who)
	}
	if n := b.Engine().Stats().Closed[engine.ReasonSessionTakenOver]; n != 1 {
		t.Errorf("%d connections have ended as taken over, want 1", n)
	}
	// Every ticket but the newest is spent on both.
	for _, s := range []*server.Server{a, b} {
		for _, spent := range []string{ticket} {
			p := dial(t, s)
			p.connect("", `,"session_id":"`+spent+`"`)
			if first, body, err := p.next(); err == nil && bytes.Contains(body, []byte("session_id")) {
				t.Errorf("a spent ticket was good: %#x %q", first, body)
			}
		}
	}
	if st := a.Gateway().Stats(); st.Sessions.Attached != 1 {
		t.Errorf("the session has gone: %+v", st.Sessions)
	}
}

// A ticket of a session that nobody has leads to an ordinary login, where there is a token.
func TestUnknownSessionsElsewhere(t *testing.T) {
	t.Parallel()
	a, b, share := startTwo(t)
	ticket := leave(t, a, "ann", "news")
	for _, l := range a.Gateway().Sessions(session.SessionID{}, 10, func(*session.Listed) bool { return true }) {
		a.Gateway().EndSession(l.ID)
	}
	share.mu.Lock()
	if len(share.ended) != 1 {
		t.Errorf("the other gateways were told of %d ends", len(share.ended))
	}
	share.mu.Unlock()
	p := dial(t, b)
	p.connect("bob", fmt.Sprintf(`,"session_id":%q`, ticket))
	p.wantCode(0)
	if who := p.whoami(1); !bytes.Contains(who, []byte(`"user":"bob"`)) || bytes.Contains(who, []byte("news")) {
		t.Errorf("the client is %s", who)
	}
	if st := b.Gateway().Stats(); st.SessionsNotTaken != 1 || st.SessionsTaken != 0 {
		t.Errorf("%d not taken, %d taken", st.SessionsNotTaken, st.SessionsTaken)
	}
}

// A share without a common key could take nothing over.
func TestShareWantsAKey(t *testing.T) {
	if err := gateway.Share(start(t, nil).Gateway(), new(neighbour)); !errors.Is(err, gateway.ErrNoSessionKey) {
		t.Errorf("got %v, want %v", err, gateway.ErrNoSessionKey)
	}
}
