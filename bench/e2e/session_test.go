package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A ticket is what the push of route sluice.Session tells.
type ticket struct {
	SessionID string `json:"session_id"`
	Expires   int64  `json:"expires"` // unix milliseconds
}

// wantTicket wants the push that follows ConnAck.
func (c *client) wantTicket() ticket {
	c.tb.Helper()
	msg := c.wantMessage(sendReq)
	var got ticket
	if err := json.Unmarshal([]byte(msg.payload), &got); err != nil || msg.route != "sluice.Session" || got.SessionID == "" {
		c.tb.Fatalf("push %q is %q, want a ticket", msg.route, msg.payload)
	}
	return got
}

// begin logs in and asks for a ticket.
func (p *process) begin(tb testing.TB, m mode, user string) (*client, ticket) {
	tb.Helper()
	c := p.login(tb, m, fmt.Sprintf(`{"token":%q,"session":true}`, user))
	return c, c.wantTicket()
}

func resume(id string) string { return fmt.Sprintf(`{"session_id":%q,"session":true}`, id) }

// resume logs in with a ticket and gets the next one.
func (p *process) resume(tb testing.TB, m mode, id string) (*client, ticket) {
	tb.Helper()
	c := p.login(tb, m, resume(id))
	next := c.wantTicket()
	if next.SessionID == id {
		tb.Fatal("the ticket was not rotated")
	}
	return c, next
}

func (p *process) wantTicketRefused(tb testing.TB, id string) {
	tb.Helper()
	c := p.dial(tb, modes[0])
	c.write(c.mode.connect(0, resume(id)))
	c.wantConnAck(badToken)
	c.wantEOF()
}

func TestResume(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		user := "user of " + m.String()
		c, first := p.begin(t, m, user)
		if left := time.Until(time.UnixMilli(first.Expires)); left < 29*time.Minute || left > 31*time.Minute {
			t.Errorf("the ticket expires in %v, want 30 minutes", left)
		}
		c.subscribe("a", "b", "c")
		c.wantOK("sluice.Unsubscribe", `{"topics":["b"]}`)
		was := c.whoami()
		c.hangUp()
		// Any mode may resume what another began.
		now := first
		for _, next := range modes {
			var r *client
			r, now = p.resume(t, next, now.SessionID)
			who := r.whoami()
			if who.User != user || who.UniqID == was.UniqID || !slices.Equal(slices.Sorted(slices.Values(who.Topics)), []string{"a", "c"}) {
				t.Fatalf("%+v, want %q with topics a and c and an id of its own", who, user)
			}
			publisher := p.login(t, modes[0], "")
			publisher.wantOK("sluice.Publish", publish("a", `"for you"`))
			r.wantPush("push", `"for you"`)
			r.write(next.packet(disconnect, 0, []byte{0}))
			r.wantEOF()
			publisher.hangUp()
		}
	})
}

// Who did not ask for a ticket gets none.
func TestNoTicketUnasked(t *testing.T) {
	p := startDev(t)
	for _, payload := range []string{`{"token":"a"}`, `{"token":"a","session":false}`} {
		c := p.login(t, modes[0], payload)
		c.wantQuiet(50 * time.Millisecond)
		c.hangUp()
	}
}

// The newest wins: the connection that holds the session is told off, and its topics move.
func TestResumeWhileConnected(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	eachMode(t, modes, func(t *testing.T, m mode) {
		c, first := p.begin(t, m, "held")
		c.subscribe("here")
		now := first
		for range 6 { // with luck on both loops
			r, next := p.resume(t, m, now.SessionID)
			c.wantDisconnect(1)
			c.wantEOF()
			p.await(func() bool { return slices.Equal(r.whoami().Topics, []string{"here"}) }, "the topics to move")
			if got := r.whoami().User; got != "held" {
				t.Fatalf("user %q, want held", got)
			}
			c, now = r, next
		}
		c.hangUp()
	})
}

// The anonymous have sessions too; kick-out is not for them, taking over is.
func TestResumeAnonymous(t *testing.T) {
	p := startDev(t)
	c, first := p.begin(t, modes[0], "")
	c.subscribe("x")
	r, _ := p.resume(t, modes[2], first.SessionID)
	c.wantDisconnect(1)
	c.wantEOF()
	p.await(func() bool { return slices.Equal(r.whoami().Topics, []string{"x"}) }, "the topics to move")
}

func TestTicketGrace(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c, first := p.begin(t, modes[0], "graceful")
	c.subscribe("kept")
	c.hangUp()
	c, second := p.resume(t, modes[0], first.SessionID)
	c.hangUp()
	c, third := p.resume(t, modes[0], first.SessionID) // as if the answer had been lost
	if got := c.whoami(); got.User != "graceful" || !slices.Equal(got.Topics, []string{"kept"}) {
		t.Errorf("%+v, want graceful with topic kept", got)
	}
	c.hangUp()
	time.Sleep(5500 * time.Millisecond)
	p.wantTicketRefused(t, first.SessionID)
	c, fourth := p.resume(t, modes[0], third.SessionID)
	if got := c.whoami(); got.User != "graceful" || !slices.Equal(got.Topics, []string{"kept"}) {
		t.Errorf("%+v, want graceful with topic kept", got)
	}
	c.hangUp()
	if second.SessionID == fourth.SessionID || third.SessionID == fourth.SessionID {
		t.Error("a ticket was given out twice")
	}
}

func TestTicketExpires(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--session-ttl", "1s")
	before := time.Now().Truncate(time.Millisecond)
	c, first := p.begin(t, modes[0], "late")
	if at := time.UnixMilli(first.Expires); at.Before(before.Add(time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("the ticket expires at %v, want 1 s after it was made, at %v or later", at, before)
	}
	c.hangUp()
	time.Sleep(1500 * time.Millisecond)
	p.wantTicketRefused(t, first.SessionID)
}

func TestForgedTickets(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--login-failures", "0")
	other := startDev(t)
	c, good := p.begin(t, modes[0], "victim")
	c.hangUp()
	stranger, foreign := other.begin(t, modes[0], "victim")
	stranger.hangUp()
	p.wantTicketRefused(t, foreign.SessionID)
	id := good.SessionID
	for i := range id {
		p.wantTicketRefused(t, id[:i]+string(otherLetter(id[i]))+id[i+1:])
	}
	for i := 1; i < len(id); i++ {
		p.wantTicketRefused(t, id[:i])
	}
	for _, bad := range []string{id + "A", id + "=", " " + id, id + "\n", id + id, strings.Repeat("A", len(id)), strings.Repeat("A", 20000), strings.ToUpper(id)} {
		p.wantTicketRefused(t, bad)
	}
	// All that did the session no harm.
	c, _ = p.resume(t, modes[0], id)
	if got := c.whoami().User; got != "victim" {
		t.Errorf("user %q, want victim", got)
	}
}

// otherLetter is a different letter of the same alphabet.
func otherLetter(b byte) byte {
	if b == 'A' {
		return 'B'
	}
	return 'A'
}

// With both, the session is tried first, then the token.
func TestTicketAndToken(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	c, good := p.begin(t, modes[0], "ann")
	c.subscribe("hers")
	c.hangUp()
	c = p.login(t, modes[0], fmt.Sprintf(`{"session_id":%q,"token":"bob","session":true}`, good.SessionID))
	c.wantTicket()
	if got := c.whoami(); got.User != "ann" || !slices.Equal(got.Topics, []string{"hers"}) {
		t.Errorf("%+v, want ann with topic hers", got)
	}
	c = p.login(t, modes[0], `{"session_id":"no such","token":"bob","session":true}`)
	fresh := c.wantTicket()
	if got := c.whoami(); got.User != "bob" || len(got.Topics) != 0 {
		t.Errorf("%+v, want bob without topics", got)
	}
	c.hangUp()
	c, _ = p.resume(t, modes[0], fresh.SessionID)
	if got := c.whoami().User; got != "bob" {
		t.Errorf("user %q, want bob", got)
	}
}

// After a restart with the same key the user is back; with another key nobody is.
func TestResumeAfterRestart(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "key")
	p := startDev(t, "--session-key", key)
	_, first := p.begin(t, modes[0], "lasting")
	p.stop()

	p = startDev(t, "--session-key", key)
	c, second := p.resume(t, modes[0], first.SessionID)
	if got := c.whoami().User; got != "lasting" {
		t.Errorf("user %q, want lasting", got)
	}
	c.subscribe("again")
	c.hangUp()
	c, third := p.resume(t, modes[0], second.SessionID)
	if got := c.whoami(); got.User != "lasting" || !slices.Equal(got.Topics, []string{"again"}) {
		t.Errorf("%+v, want lasting with topic again", got)
	}
	p.stop()

	startDev(t).wantTicketRefused(t, third.SessionID)
}

// With a journal, tickets that were used and sessions that were ended stay so after a restart; the
// newest ticket is good. Killed makes no difference.
func TestJournalAfterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	args := []string{"--session-key", filepath.Join(dir, "key"), "--session-journal", filepath.Join(dir, "journal")}
	p := startDev(t, args...)
	c, first := p.begin(t, modes[0], "ann")
	c.hangUp()
	_, second := p.resume(t, modes[0], first.SessionID)
	old, kicked := p.begin(t, modes[0], "ben")
	_, unused := p.begin(t, modes[0], "ben")
	old.wantDisconnect(1)
	old.wantEOF()
	p.await(func() bool { st, err := os.Stat(args[3]); return err == nil && st.Size() == 3*32 }, "the journal")
	p.signal(syscall.SIGKILL)
	<-p.exited
	p.stopped = true

	for range 2 {
		p = startDev(t, args...)
		p.wantTicketRefused(t, first.SessionID)
		p.wantTicketRefused(t, kicked.SessionID)
		newest := second
		c, second = p.resume(t, modes[0], second.SessionID)
		if got := c.whoami().User; got != "ann" {
			t.Errorf("user %q, want ann", got)
		}
		p.wantTicketRefused(t, first.SessionID)
		c, unused = p.resume(t, modes[0], unused.SessionID)
		if got := c.whoami().User; got != "ben" {
			t.Errorf("user %q, want ben", got)
		}
		p.stop()
		first = newest
	}
	startDev(t, append(args, "--drain", "2m")...)
	if st, err := os.Stat(args[3]); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	code, _, stderr := run(t, "serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "none", "--admin", "none",
		args[0], args[1], args[2], args[3])
	if code == 0 || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("a second gateway with the same journal: exit code %d, %q", code, stderr)
	}
	for _, bad := range [][]string{{"--session-journal", args[3]}, {"--session-key", args[1], "--session-journal", dir}} {
		for _, cmd := range []string{"check", "serve"} {
			code, _, stderr := run(t, append([]string{cmd, "--dev"}, bad...)...)
			if code != 2 || !strings.Contains(stderr, "--session-journal: ") {
				t.Errorf("%s %v: exit code %d, %q", cmd, bad, code, stderr)
			}
		}
	}
}

func TestKickOut(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	for _, older := range modes {
		for _, newer := range modes {
			t.Run(older.String()+" by "+newer.String(), func(t *testing.T) {
				old := p.login(t, older, token("one"))
				old.subscribe("topic")
				c := p.dial(t, newer)
				c.write(newer.connect(0, token("one")))
				c.wantConnAck(accepted)
				// The goodbye went first, so it is here.
				if got := old.waiting(); string(got) != string(older.packet(disconnect, 0, []byte{1})) {
					t.Errorf("the older connection has %x when the newer is accepted, want Disconnect 1", got)
				}
				old.wantDisconnect(1)
				old.wantEOF()
				c.wantEcho("1")
				if got := c.whoami(); got.User != "one" || len(got.Topics) != 0 {
					t.Errorf("%+v, want user one without topics", got)
				}
				c.hangUp()
			})
		}
	}
}

// Requests behind a Connect that has to wait for the older connection's end are served after it.
func TestKickOutWithRequestsBehind(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	old := p.login(t, modes[0], token("busy"))
	for i := range 20 {
		m := modes[i%4]
		c := p.dial(t, m)
		b := m.connect(0, token("busy"))
		for id := range uint16(200) {
			b = append(b, m.ask(id, "sluice.Echo", "1")...)
		}
		c.write(b)
		c.wantConnAck(accepted)
		old.wantDisconnect(1)
		old.wantEOF()
		for id := range uint16(200) {
			c.wantReply(id, `{"status":0,"data":1}`)
		}
		old = c
	}
}

// The anonymous do not push each other out.
func TestAnonymousStay(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	var all []*client
	for range 20 {
		all = append(all, p.login(t, modes[0], ""))
	}
	for _, c := range all {
		c.wantEcho("1")
	}
}

// Fifty logins of one user at once: each gets an answer, and one is left.
func TestRacingLogins(t *testing.T) {
	t.Parallel()
	p := startDev(t)
	for round := range 6 {
		const racers = 50
		clients := make([]*client, racers)
		for i := range clients {
			clients[i] = p.dial(t, modes[i%4])
		}
		type result struct {
			racer int
			end   string
		}
		start, results := make(chan struct{}), make(chan result, racers)
		acked := make([]chan struct{}, racers)
		for i, c := range clients {
			acked[i] = make(chan struct{})
			go func() {
				<-start
				results <- result{i, raceOnce(c, fmt.Sprint("racer", round), acked[i])}
			}()
		}
		close(start)
		ends := make([]string, racers)
		for n := range racers {
			if n == racers-1 {
				// One is left. As nobody comes for it, it need not wait for long once it is in.
				last := slices.Index(ends, "")
				go func() {
					<-acked[last]
					time.Sleep(50 * time.Millisecond)
					_ = clients[last].conn.SetReadDeadline(time.Now())
				}()
			}
			r := <-results
			ends[r.racer] = r.end
		}
		var survivors []*client
		for i, end := range ends {
			switch end {
			case "kicked":
			case "alive":
				survivors = append(survivors, clients[i])
			default:
				t.Errorf("racer %d: %s", i, end)
			}
		}
		if len(survivors) != 1 {
			t.Fatalf("%d connections survived, want 1: %v", len(survivors), ends)
		}
		survivors[0].wantQuiet(20 * time.Millisecond)
		survivors[0].wantEcho("1")
		p.closeClients()
	}
}

// raceOnce logs in, and says how it ended. It closes acked when it is told whether it is in.
func raceOnce(c *client, user string, acked chan<- struct{}) string {
	if err := c.send(c.mode.connect(0, token(user))); err != nil {
		close(acked)
		return err.Error()
	}
	ack, err := c.next()
	close(acked)
	if err != nil {
		return err.Error()
	}
	if ack.typ != connAck || len(ack.body) != 2 {
		return ack.String()
	}
	if ack.body[1] != accepted {
		return ack.String()
	}
	bye, err := c.next()
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return "alive"
		}
		return err.Error()
	}
	if bye.typ != disconnect || len(bye.body) != 1 || bye.body[0] != 1 {
		return bye.String()
	}
	if _, err := c.next(); !errors.Is(err, io.EOF) {
		return fmt.Sprint("after Disconnect 1: ", err)
	}
	return "kicked"
}

// Users come and go with their last connection: nobody is kicked out by a ghost.
func TestReconnectStorm(t *testing.T) {
	p := startDev(t)
	for i := range 200 {
		c := p.login(t, modes[i%4], token("stormy"))
		switch i % 3 {
		case 0:
			c.reset()
		case 1:
			_ = c.conn.CloseWrite()
		}
	}
	c := p.login(t, modes[0], token("stormy"))
	c.wantQuiet(100 * time.Millisecond)
	c.wantEcho("1")
}

func TestReloadOfTokens(t *testing.T) {
	file := tokensFile(t, "old ann", "same eve")
	p := startDev(t, "--login", "tokens:"+file)
	c := p.login(t, modes[0], token("old"))
	eve := p.login(t, modes[0], token("same"))
	reloads := 0
	reload := func(said string) {
		t.Helper()
		reloads++
		p.signal(syscall.SIGHUP)
		p.await(func() bool { return strings.Count(p.stderr.String(), "reload") == reloads }, "the reload")
		if !strings.Contains(p.stderr.String(), said) {
			t.Errorf("the log does not say %q\n%s", said, p.stderr)
		}
	}
	refused := func(tok string) {
		t.Helper()
		r := p.dial(t, modes[0])
		r.write(r.mode.connect(0, token(tok)))
		r.wantConnAck(badToken)
		r.wantEOF()
	}
	refused("new")
	writeTokens(t, file, "new bob", "same eve")
	reload("reloaded")
	p.login(t, modes[0], token("new")).hangUp()
	refused("old")
	c.wantDisconnect(1) // its token is not in the file any more
	c.wantEOF()
	eve.wantEcho("1")
	writeTokens(t, file, "a b c d e f g")
	reload("reload failed")
	p.login(t, modes[0], token("new")).hangUp()
	refused("a")
	eve.wantEcho("2")
}

// With --revoke keep a connection outlives its token, its session does not.
func TestReloadOfTokensKeeps(t *testing.T) {
	t.Parallel()
	file := tokensFile(t, "old ann", "same eve")
	p := startDev(t, "--login", "tokens:"+file, "--revoke", "keep")
	c := p.login(t, modes[0], `{"token":"old","session":true}`)
	ticket := c.wantTicket()
	writeTokens(t, file, "same eve")
	p.signal(syscall.SIGHUP)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "reloaded") }, "the reload")
	c.wantEcho("1")
	r := p.dial(t, modes[0])
	r.write(r.mode.connect(0, resume(ticket.SessionID)))
	r.wantConnAck(badToken)
	r.wantEOF()
	c.wantEcho("2")
}

// A user who leaves session after session behind loses the oldest of his own, and nobody else does.
func TestSessionsPerUser(t *testing.T) {
	t.Parallel()
	p := startDev(t, "--max-sessions-per-user", "2")
	const gone = `sluice_sessions_evicted_total{reason="max-sessions-per-user"}`
	leave := func(user string) ticket {
		waiting := func() float64 {
			all := p.metrics()
			return all[`sluice_sessions{state="detached"}`] + all[gone]
		}
		before := waiting()
		c, first := p.begin(t, modes[0], user)
		c.subscribe("kept")
		c.hangUp()
		p.await(func() bool { return waiting() == before+1 }, "the session to wait")
		return first
	}
	ben, nobody := leave("ben"), leave("")
	var ann []ticket
	for range 5 {
		ann = append(ann, leave("ann"))
		leave("")
	}
	if n := p.metrics()[gone]; n != 3 {
		t.Errorf("%v sessions have gone, want 3", n)
	}
	for _, tt := range []struct {
		name, user string
		ticket     ticket
		kept       bool
	}{{"ben's", "ben", ben, true}, {"nobody's", "", nobody, true}, {"ann's newest", "ann", ann[4], true}, {"ann's next", "ann", ann[3], true},
		{"ann's oldest", "ann", ann[0], false}} {
		c, _ := p.resume(t, modes[0], tt.ticket.SessionID)
		if who := c.whoami(); who.User != tt.user || (len(who.Topics) > 0) != tt.kept {
			t.Errorf("%s: %+v, want %q, with its topic: %v", tt.name, who, tt.user, tt.kept)
		}
		c.hangUp()
	}
}
