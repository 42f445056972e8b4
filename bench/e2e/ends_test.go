package e2e

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEndsAreLogged: every end of every connection is in the log, with reason, protocol and peer, and
// with the uniqId of a client that had one.
func TestEndsAreLogged(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--log-level", "debug", "--login-timeout", "2s")
	dial := func(send string) net.Conn {
		t.Helper()
		c, err := net.DialTimeout("tcp", p.addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, send); err != nil {
			t.Fatal(err)
		}
		return c
	}
	const connect = "\x10\x1c\x05GOSOC\x01\x00\x00\x3c\x11{\"token\":\"alice\"}"
	upgrade := "GET /netsvr HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	answered := func(c net.Conn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name, send              string
		hangUp                  bool // once it has been answered
		level, reason, protocol string
		id                      bool
	}{
		{"nothing of ours", "\xff\xff\xff\xff", false, "INFO", "unknown-protocol", "unknown", false},
		{"silent", "", false, "INFO", "login-timeout", "unknown", false},
		{"a bad request", "GET / HTTP/1.1\r\nbad\r\n\r\n", false, "INFO", "upgrade-refused", "http", false},
		{"malformed", connect + "\x00\x00", false, "INFO", "malformed", "gosoc", true},
		{"a client that leaves", strings.Replace(connect, "alice", "peter", 1), true, "DEBUG", "peer-closed", "gosoc", true},
		{"a guest that leaves", upgrade, true, "DEBUG", "peer-closed", "netsvr", true},
	} {
		c := dial(tc.send)
		peer := c.LocalAddr().String()
		if tc.hangUp {
			answered(c)
			c.Close()
		} else {
			_, _ = io.Copy(io.Discard, c)
		}
		want := fmt.Sprintf(`level=%s msg="connection ended" reason=%s protocol=%s peer=%s`, tc.level, tc.reason, tc.protocol, peer)
		if tc.id {
			want += " uniqId="
		}
		if !p.await(func() bool { return strings.Contains(p.stderr.String(), want) }, tc.name+": "+want) {
			t.Logf("%s", tail(p.stderr.String()))
		}
	}

	// A flood has a sample of lines, and their number.
	const flood = 400
	for range flood {
		c := dial("\xff\xff\xff\xff")
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	count := func() (lines, omitted int) {
		log := p.stderr.String()
		lines = strings.Count(log, `msg="connection ended" reason=unknown-protocol`)
		for _, m := range regexp.MustCompile(`each without a line of its own" reason=unknown-protocol omitted=(\d+)`).FindAllStringSubmatch(log, -1) {
			n := 0
			_, _ = fmt.Sscan(m[1], &n)
			omitted += n
		}
		return lines, omitted
	}
	p.await(func() bool { lines, omitted := count(); return lines+omitted == flood+1 }, "every end of a flood to be told of")

	// Ours at the end.
	c := dial(strings.Replace(connect, "alice", "karen", 1))
	answered(c)
	p.signal(syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, c)
	c.Close()
	p.wantExit(0)
	if want := "reason=shutdown protocol=gosoc peer=" + c.LocalAddr().String() + " uniqId="; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("no %q in the log\n%s", want, tail(p.stderr.String()))
	}
}
