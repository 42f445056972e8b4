package main

import (
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// resumable logs a Longbridge client in, whose session can be resumed.
func (o *operated) resumable(t *testing.T, user string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", o.clientAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// A handshake; auth, its number, its time-out and its length; field 1, the token.
	packet := append([]byte{0x11, 0x09, 0x01, 2, 0, 0, 0, 7, 0, 0, 0, 0, byte(len(user) + 2), 0x0a, byte(len(user))}, user...)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 10)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(conn, head); err != nil || head[6] != 0 {
		t.Fatalf("login: % x, %v", head, err)
	}
	return conn
}

// sessions lists those of a user until there are so many detached.
func (o *operated) sessions(t *testing.T, user string, detached int) (list []sessionInfo) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		list = nil
		n := 0
		for line := range strings.Lines(o.must(t, "sessions", "--user", user, "--json")) {
			var v sessionInfo
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			if v.State == "detached" {
				n++
			}
			list = append(list, v)
		}
		if n == detached {
			return list
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are detached, want %d", n, detached)
		}
	}
}

// sessionsTable checks a table of an attached session and a detached one: it names the connection as
// all others do, and what is kept of the detached one alone.
func sessionsTable(t *testing.T, out string, list []sessionInfo) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 {
		t.Fatalf("%q", out)
	}
	for i, v := range list {
		cells := strings.Fields(lines[i+1])
		if len(cells) != 7 || cells[0] != v.ID || cells[4] == "-" || cells[4] == "0s" || cells[5] != "0" {
			t.Fatalf("%q", lines[i+1])
		}
		attached := v.State == "attached"
		if (cells[3] == "-") == attached || (cells[6] == "-") != attached || attached && (cells[3] != v.UniqID || v.UniqID == "") {
			t.Errorf("%q of %+v", lines[i+1], v)
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	held := o.resumable(t, "ann")
	o.resumable(t, "ann").Close()
	list := o.sessions(t, "ann", 1)
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	sessionsTable(t, o.must(t, "sessions", "--user", "ann"), list)
	out := o.must(t, "session", "--user", "ann")
	for _, want := range []string{"session            " + list[0].ID, "session            " + list[1].ID, "\nstate              attached\n", "\nstate              detached\n",
		"\npeer               " + held.LocalAddr().String(), "until its client comes back", "\n\nsession "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out := o.must(t, "session", "--user", "ann", "--json"); strings.Count(out, "\n") != 2 || !strings.Contains(out, `"client":null`) {
		t.Errorf("as JSON: %s", out)
	}
	if out := o.must(t, "session", list[0].ID, "--json"); !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 {
		t.Errorf("one, as JSON: %s", out)
	}
	if out := o.must(t, "session", "--user", "ann", "--end"); out != "ended 2 sessions and 1 connection\n" {
		t.Errorf("--end prints %q", out)
	}
	if _, err := io.Copy(io.Discard, held); err != nil {
		t.Errorf("the client: %v", err)
	}
	for _, args := range [][]string{{"--user", "ann"}, {"--user", "ann", "--end"}, {list[0].ID}, {"nobody"}, {"nobody", "--end"}} {
		code, out, errs := o.do("session", args...)
		wantLine(t, code, exitNotFound, out, errs, "session")
	}
	if out := o.must(t, "session", strings.Repeat("0a", 16), "--end"); !strings.Contains(out, "not known here") {
		t.Errorf("the end of an unknown one prints %q", out)
	}
	for _, args := range [][]string{{}, {"a", "--user", "b"}} {
		code, out, errs := o.do("session", args...)
		wantLine(t, code, exitUsage, out, errs, "--user ID")
	}
	// By the uniqId of its connection.
	bob := o.resumable(t, "bob")
	var row struct{ UniqID string }
	if err := json.Unmarshal([]byte(o.must(t, "conns", "--user", "bob", "--json")), &row); err != nil {
		t.Fatal(err)
	}
	if out := o.must(t, "session", row.UniqID); !strings.Contains(out, "bob") {
		t.Errorf("by uniqId: %q", out)
	}
	if out := o.must(t, "session", row.UniqID, "--end", "--json"); out != `{"sessions":1,"connections":1,"known":true}`+"\n" {
		t.Errorf("--end prints %q", out)
	}
	if _, err := io.Copy(io.Discard, bob); err != nil {
		t.Errorf("the client: %v", err)
	}
	code, out, errs := sluice("session", "x", "--end", "--admin", o.AdminURL(), "--admin-token-file", o.read)
	wantLine(t, code, exitFailed, out, errs, "role full")
}
