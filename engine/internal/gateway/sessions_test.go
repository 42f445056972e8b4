package gateway_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// leave logs a client in, has it subscribe to a topic, and ends it. It returns its ticket.
func leave(t *testing.T, s *server.Server, token, topic string) (ticket string) {
	t.Helper()
	before := s.Gateway().Stats().Sessions
	p := dial(t, s)
	p.connect(token, `,"session":true`)
	p.wantCode(0)
	_, push, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	_, ticket, _ = strings.Cut(string(push), `"session_id":"`)
	ticket, _, _ = strings.Cut(ticket, `"`)
	p.write(request(1, "sluice.Subscribe", `{"topics":["`+topic+`"]}`))
	p.wantReply(1)
	_ = p.conn.Close()
	await(t, "the session to wait", func() bool {
		st := s.Gateway().Stats().Sessions
		return st.Attached == 0 && st.Detached+int(st.OverUser+st.Evicted) == before.Detached+int(before.OverUser+before.Evicted)+1
	})
	return ticket
}

// A user has so many sessions that wait: the oldest goes, and comes back as its user only. The bound changes while the
// gateway runs, and clients without a user have none.
func TestMaxSessionsPerUser(t *testing.T) {
	t.Parallel()
	var text syncBuffer
	config := server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true,
		Gateway: gateway.Config{Login: login.Open{}, LoginFailures: -1, MaxSessionsPerUser: 2,
			Logger: slog.New(slog.NewTextHandler(&text, nil))},
	}
	s := start(t, func(c *server.Config) { *c = config })
	tickets := make([]string, 3)
	for i := range tickets {
		tickets[i] = leave(t, s, "ann", "news")
		leave(t, s, "", "news")
	}
	if st := s.Gateway().Stats().Sessions; st.OverUser != 1 || st.Detached != 5 {
		t.Errorf("%+v, want 1 evicted, 2 of ann and 3 of nobody", st)
	}
	restored := func(ticket string) bool {
		p := dial(t, s)
		p.connect("", `,"session_id":"`+ticket+`"`)
		p.wantCode(0)
		p.write(request(1, "sluice.Whoami", ""))
		var answer []byte
		for !bytes.Contains(answer, []byte(`"user":"ann"`)) {
			var err error
			if _, answer, err = p.next(); err != nil {
				t.Fatal(err)
			}
		}
		_ = p.conn.Close()
		await(t, "the client to be gone", func() bool { return s.Gateway().Stats().Sessions.Attached == 0 })
		return bytes.Contains(answer, []byte(`"news"`))
	}
	for _, i := range []int{2, 1, 0} { // the one that went is a new one when it comes back, and has another go
		if got := restored(tickets[i]); got != (i > 0) {
			t.Errorf("session %d comes back with its topic: %v", i, got)
		}
	}
	config.Gateway.MaxSessionsPerUser = -1
	if err := s.Update(config); err != nil {
		t.Fatal(err)
	}
	before := s.Gateway().Stats().Sessions
	for range 4 {
		leave(t, s, "ann", "news")
	}
	if st := s.Gateway().Stats().Sessions; st.OverUser != before.OverUser || st.Detached != before.Detached+4 {
		t.Errorf("without a bound: %+v, before %+v", st, before)
	}
	if text := text.String(); !strings.Contains(text, `msg="a session is forgotten: too many of its user wait" user=ann limit=2`) {
		t.Errorf("the log does not say whose: %s", text)
	}
}

// What goes for want of room, of all sessions or of one, is told each second that it does.
func TestForgottenSessionsAreLogged(t *testing.T) {
	t.Parallel()
	var text syncBuffer
	s := start(t, func(c *server.Config) {
		c.Gateway.Logger = slog.New(slog.NewTextHandler(&text, nil))
		c.Gateway.MaxSessions, c.Gateway.SessionBytes, c.Gateway.SessionTotal = 3, 512, 1024
	})
	long := strings.Repeat("x", 400)
	for i := range 4 {
		leave(t, s, fmt.Sprint("user-", i), long)
	}
	leave(t, s, "ann", strings.Repeat("y", 600))
	for _, line := range []string{
		`level=WARN msg="sessions are forgotten: too many in all" sessions=`,
		`limit=3`,
		`msg="texts and topics of sessions are not kept: too much of one" sessions=1 limit=512`,
		`level=WARN msg="texts and topics of sessions are not kept: too much of all" sessions=`,
		`limit=1024`,
	} {
		await(t, line, func() bool { return strings.Contains(text.String(), line) })
	}
}
