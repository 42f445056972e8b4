package admin_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

// longbridgeAsk sends a request of Longbridge, auth (2) or reconnect (3), whose first field is a text, and
// returns the status and the text of the answer's first field, on a connection of its own.
func longbridgeAsk(t *testing.T, s *server.Server, cmd byte, text string) (conn net.Conn, status byte, answer string) {
	t.Helper()
	_, addr, _ := strings.Cut(s.Addrs()[0], "://")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	field := []byte{0x0a, byte(len(text))}
	if len(text) > 127 {
		field = []byte{0x0a, byte(len(text)) | 0x80, byte(len(text) >> 7)}
	}
	body := append(field, text...)
	// A handshake; then a request, its number, its time-out and its length.
	packet := []byte{0x11, 0x09, 0x01, cmd, 0, 0, 0, 7, 0, 0, 0, byte(len(body) >> 8), byte(len(body))}
	packet = append(packet, body...)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 10)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(head[7])<<16|int(head[8])<<8|int(head[9]))
	if _, err := io.ReadFull(conn, rest); err != nil {
		t.Fatal(err)
	}
	if len(rest) > 2 && rest[0] == 0x0a {
		n, from := int(rest[1]), 2
		if n > 127 {
			n, from = n&0x7f|int(rest[2])<<7, 3
		}
		answer = string(rest[from : from+n])
	}
	return conn, head[6], answer
}

type sessionView struct {
	ID, User, State, Connection, UniqID, Session string
	Topics                                       int
	TopicNames                                   []string
	Client                                       *row
}

type sessionsEnded struct {
	Sessions, Connections int
	Known                 bool
}

// sessionsOf goes through what the API says of sessions, and does with them.
func sessionsOf(t *testing.T, a *apiClient, s *server.Server) {
	t.Helper()
	const one, all = "/api/v1/sessions/{id}", "/api/v1/sessions"
	list := func(user string) (sessions []sessionView) {
		t.Helper()
		var page struct{ Sessions []sessionView }
		a.get(all, all+"?user="+user, 200, &page)
		return page.Sessions
	}
	conn, status, ticket := longbridgeAsk(t, s, 2, "eve")
	if status != 0 || ticket == "" {
		t.Fatalf("login: status %d, ticket %q", status, ticket)
	}
	id := list("eve")[0].ID
	var v sessionView
	a.get(one, all+"/-?id="+id, 200, &v)
	a.get(one, all+"/"+id+"?id=nobody", 404, nil)
	if v.ID != id || v.State != "attached" || v.Client == nil || v.Client.User != "eve" || v.Connection != v.Client.Connection {
		t.Fatalf("attached: %+v", v)
	}
	a.post("/api/v1/subscribe", `{"user":"eve","topics":["b","a"]}`, 200, nil)
	for _, name := range []string{v.Client.UniqID, v.Connection} { // it is found by its connection, too
		v = sessionView{}
		if a.get(one, all+"/"+name, 200, &v); v.ID != id || strings.Join(v.TopicNames, " ") != "a b" {
			t.Errorf("by %s: %+v", name, v)
		}
		if v.Topics != 2 || v.UniqID != v.Client.UniqID {
			t.Errorf("by %s: %d topics, uniqId %q", name, v.Topics, v.UniqID)
		}
	}
	// The list says of its connection the same.
	if l := list("eve")[0]; l.Topics != 2 || l.UniqID == "" || l.UniqID != v.Client.UniqID || l.Connection != v.Connection {
		t.Errorf("listed: %+v", l)
	}
	conn.Close()
	waitFor(t, "the session to be detached", func() bool { return list("eve")[0].State == "detached" })
	if l := list("eve")[0]; l.Topics != 2 || l.UniqID != "" || l.Connection != "" {
		t.Errorf("listed, detached: %+v", l)
	}
	v = sessionView{}
	if a.get(one, all+"/"+id, 200, &v); v.Client != nil || v.Connection != "" || strings.Join(v.TopicNames, " ") != "a b" {
		t.Errorf("detached: %+v", v)
	}

	// The end of one that waits for its client.
	var done sessionsEnded
	if a.decode("DELETE", one, all+"/"+id, "", 200, &done); done != (sessionsEnded{1, 0, true}) {
		t.Errorf("ended: %+v", done)
	}
	if a.get(one, all+"/"+id, 404, nil); len(list("eve")) != 0 {
		t.Error("it is still there")
	}
	if _, status, _ := longbridgeAsk(t, s, 3, ticket); status == 0 {
		t.Error("an ended session was resumed")
	}

	// All of a user, one of which has a connection that ends with it.
	held, _, _ := longbridgeAsk(t, s, 2, "fay")
	other, _, ticket := longbridgeAsk(t, s, 2, "fay")
	other.Close()
	waitFor(t, "one of two to be detached", func() bool {
		sessions := list("fay")
		return len(sessions) == 2 && (sessions[0].State == "detached") != (sessions[1].State == "detached")
	})
	if a.decode("DELETE", all, all+"?user=fay", "", 200, &done); done != (sessionsEnded{2, 1, true}) {
		t.Errorf("all of a user: %+v", done)
	}
	readToEnd(t, held)
	if _, status, _ := longbridgeAsk(t, s, 3, ticket); status == 0 {
		t.Error("an ended session was resumed")
	}
	if a.decode("DELETE", all, all+"?user=fay", "", 200, &done); done.Sessions != 0 {
		t.Errorf("none is left: %+v", done)
	}

	// One that nobody knows here, and what is none.
	unknown := strings.Repeat("0f", 16)
	a.get(one, all+"/"+unknown, 404, nil)
	if a.decode("DELETE", one, all+"/"+unknown, "", 200, &done); done.Known || done.Sessions != 1 {
		t.Errorf("of another gateway: %+v", done)
	}
	gosoc := member(t, s, "gus")
	defer gosoc.Close()
	var page page
	a.get("/api/v1/connections", "/api/v1/connections?user=gus", 200, &page)
	for _, name := range []string{"nobody", "00", page.Connections[0].UniqID, "0000000000000abc"} {
		a.get(one, all+"/"+name, 404, nil)
		a.decode("DELETE", one, all+"/"+name, "", 404, nil)
	}
	a.get(one, all+"/"+id+"?x=1", 400, nil)
	a.decode("DELETE", one, all+"/"+id+"?x=1", "", 400, nil)
	a.decode("DELETE", all, all, "", 400, nil)
	a.decode("DELETE", all, all+"?user=a&x=1", "", 400, nil)
}

// TestSessionRoles: who may read may not end.
func TestSessionRoles(t *testing.T) {
	s := startWithRoles(t)
	for token, want := range map[string][3]int{"read-token-0123456789": {200, 404, 403}, "full-token-0123456789": {200, 404, 200}, "": {401, 401, 401}} {
		for i, ask := range []struct{ method, target string }{
			{"GET", "/api/v1/sessions"}, {"GET", "/api/v1/sessions/" + strings.Repeat("0a", 16)}, {"DELETE", "/api/v1/sessions?user=x"},
		} {
			r, _ := http.NewRequestWithContext(t.Context(), ask.method, s.AdminURL()+ask.target, nil)
			if token != "" {
				r.Header.Set("X-Api-Key", token)
			}
			resp, err := web.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			var e struct{ Message string }
			_ = json.NewDecoder(resp.Body).Decode(&e)
			resp.Body.Close()
			if resp.StatusCode != want[i] || want[i] == 403 && !strings.Contains(e.Message, "role full") {
				t.Errorf("%s %s with %q: %d %s, want %d", ask.method, ask.target, token, resp.StatusCode, e.Message, want[i])
			}
		}
	}
}
