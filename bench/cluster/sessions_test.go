package clustertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// overtaken is what connect returns for a login that a later one has overtaken: it is told that it is in,
// and at once that it was kicked out.
const overtaken gosoc.ReturnCode = 0xfe

// connect connects a client with a token or a session's ticket, and returns the code of the answer and
// the next ticket.
func (g *gateway) connect(payload map[string]any) (c *client, code gosoc.ReturnCode, ticket string) {
	conn, err := net.DialTimeout("tcp", g.addr, patience)
	if err != nil {
		g.t.Error(err)
		return nil, 0xff, ""
	}
	g.t.Cleanup(func() { conn.Close() })
	c = &client{t: g.t, conn: conn}
	text, _ := json.Marshal(payload)
	b, _ := gosoc.Compact.AppendConnect(nil, gosoc.Connect{Version: gosoc.Version, Payload: text})
	_, _ = conn.Write(b)
	h, body, err := c.packet(patience)
	if err != nil || h.Type != gosoc.TypeConnAck || len(body) != 2 {
		g.t.Errorf("gateway %d answers %x of type %d, %v", g.id, body, h.Type, err)
		return c, 0xff, ""
	}
	if code = gosoc.ReturnCode(body[1]); code != gosoc.Accepted {
		return c, code, ""
	}
	if h, body, err = c.packet(patience); err != nil {
		g.t.Errorf("no ticket: %v", err)
	}
	if h.Type == gosoc.TypeDisconnect {
		return c, overtaken, ""
	}
	_, ticket, _ = strings.Cut(string(body), `"session_id":"`)
	ticket, _, _ = strings.Cut(ticket, `"`)
	return c, code, ticket
}

func (g *gateway) begin(user string) (c *client, ticket string) {
	g.t.Helper()
	c, code, ticket := g.connect(map[string]any{"token": user, "session": true})
	if code != gosoc.Accepted || ticket == "" {
		g.t.Fatalf("gateway %d: code %d, ticket %q", g.id, code, ticket)
	}
	return c, ticket
}

func (g *gateway) comeBack(ticket string) (c *client, next string) {
	g.t.Helper()
	c, code, next := g.connect(map[string]any{"session_id": ticket})
	if code != gosoc.Accepted || next == "" {
		g.t.Fatalf("gateway %d does not resume: code %d, ticket %q", g.id, code, next)
	}
	return c, next
}

// is checks who a client is and what it hears.
func (c *client) is(user, topic string) {
	c.t.Helper()
	if err := c.send("sluice.Whoami", ""); err != nil {
		c.t.Fatal(err)
	}
	h, body, err := c.packet(patience)
	if err != nil || h.Type != gosoc.TypeSendResp || !bytes.Contains(body, fmt.Appendf(nil, `"user":%q`, user)) ||
		!bytes.Contains(body, fmt.Appendf(nil, "%q", topic)) {
		c.t.Fatalf("got %q, %v, want %s with topic %s", body, err, user, topic)
	}
}

// written waits until all that a gateway has to write of sessions is.
func (g *gateway) written(sessions int) {
	g.t.Helper()
	time.Sleep(1200 * time.Millisecond) // changes are written at most once a second
	await(g.t, "sessions to be written", func() bool {
		return g.metric("sluice_cluster_sessions_queued") == 0 && g.metric("sluice_cluster_sessions") == float64(sessions)
	})
}

// A session goes with its client to other gateways: detached, alive, and after SIGKILL and an orderly
// stop of its gateway.
func TestSessionsMove(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
	c, ticket := list[0].begin("ann")
	c.subscribe("news")
	spent := ticket
	list[0].written(1)
	c.conn.Close()

	first, ticket := list[1].comeBack(ticket)
	first.is("ann", "news")
	second, ticket := list[2].comeBack(ticket) // from a connection that lives
	second.is("ann", "news")
	h, _, err := first.packet(patience)
	if err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older connection got a packet of type %d, %v, want Disconnect", h.Type, err)
	}
	for _, g := range list {
		if _, code, _ := g.connect(map[string]any{"session_id": spent}); code == gosoc.Accepted {
			t.Errorf("gateway %d takes a spent ticket", g.id)
		}
	}
	if !second.online() {
		t.Error("a spent ticket has ended the connection")
	}

	list[2].written(1)
	list[2].kill()
	third, ticket := list[0].comeBack(ticket)
	third.is("ann", "news")

	third.subscribe("more")
	list[0].terminate() // at once: all is written
	fourth, _ := list[1].comeBack(ticket)
	fourth.is("ann", "more")
	if n := list[1].metric(`sluice_cluster_sessions_moved_total{how="taken"}`); n != 2 {
		t.Errorf("%v sessions were taken over, want 2", n)
	}
}

// Of two that show one ticket at once one wins.
func TestRacingResumptions(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
	c, ticket := list[0].begin("ann")
	list[0].written(1)
	for round := range 10 {
		if round%2 == 0 {
			c.conn.Close()
			time.Sleep(20 * time.Millisecond)
		}
		var wg sync.WaitGroup
		var won [3]*client
		var next [3]string
		for i := range list {
			if i == round%3 {
				continue
			}
			wg.Go(func() {
				if got, code, ticket := list[i].connect(map[string]any{"session_id": ticket}); code == gosoc.Accepted {
					won[i], next[i] = got, ticket
				}
			})
		}
		wg.Wait()
		winners := 0
		for i, w := range won {
			if w != nil {
				winners++
				c, ticket = w, next[i]
			}
		}
		if winners != 1 {
			t.Fatalf("round %d: %d of two have resumed one session", round, winners)
		}
		time.Sleep(600 * time.Millisecond)
	}
}

// Without NATS a gateway resumes what it knows, and refuses the rest.
func TestSessionsWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
	c, ticket := list[0].begin("ann")
	c.subscribe("news")
	list[0].written(1)
	s.Shutdown()
	await(t, "the loss to be seen", func() bool { return list[1].metric(`sluice_cluster_connected{connection="control"}`) == 0 })
	c.conn.Close()
	if _, code, _ := list[1].connect(map[string]any{"session_id": ticket}); code == gosoc.Accepted {
		t.Error("another gateway resumes a session without NATS")
	}
	if n := list[1].metric(`sluice_cluster_sessions_refused_total{reason="away"}`); n != 1 {
		t.Errorf("%v refusals were counted, want 1", n)
	}
	c, _ = list[0].comeBack(ticket)
	c.is("ann", "news")
}
