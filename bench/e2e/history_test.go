package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startHistory(t *testing.T, args ...string) *process {
	return startDev(t, append([]string{"--history", "none*=0,0s", "--history", "short=5,1m", "--history", "brief=100,2s",
		"--history", "*=1000,1m"}, args...)...)
}

// publishNumbers has a client of its own publish numbers to a topic.
func (p *process) publishNumbers(t *testing.T, topic string, from, to int) {
	t.Helper()
	c := p.login(t, modes[0], "")
	for i := from; i <= to; i++ {
		c.wantOK("sluice.Publish", publish(topic, strconv.Itoa(i)))
	}
	c.hangUp()
}

func (c *client) wantNumbers(from, to int) {
	c.tb.Helper()
	for i := from; i <= to; i++ {
		c.wantPush("push", strconv.Itoa(i))
	}
}

// awaitDetached waits until the gateway has noticed that the connection of a user's session is gone.
func (p *process) awaitDetached(t *testing.T, user string) {
	t.Helper()
	p.await(func() bool {
		status, body := p.admin(t, "/api/v1/sessions?state=detached&user="+user)
		return status == 200 && strings.Contains(body, `"state":"detached"`)
	}, "the session to wait")
}

const gapPush = `{"topic":"%s","lost":true}`

// A GOSOC client that was cut off gets what it missed, in order and once, then what comes.
func TestHistoryResume(t *testing.T) {
	t.Parallel()
	p := startHistory(t)
	for _, m := range []mode{modes[0], modes[len(modes)-1]} {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			topic := "room." + m.String()
			c, now := p.begin(t, m, "ann of "+m.String())
			c.subscribe(topic, "none of "+m.String())
			p.publishNumbers(t, topic, 1, 3)
			c.wantNumbers(1, 3)
			for round := range 3 {
				c.hangUp()
				from := 4 + 110*round
				p.publishNumbers(t, topic, from, from+99)
				p.publishNumbers(t, "none of "+m.String(), 1, 2)
				c, now = p.resume(t, m, now.SessionID)
				c.wantNumbers(from, from+99)
				p.publishNumbers(t, topic, from+100, from+109)
				c.wantNumbers(from+100, from+109)
				c.wantEcho(`"behind them"`)
			}
		})
	}
}

// A session that another connection takes over goes on where the older one was.
func TestHistoryTakeOver(t *testing.T) {
	t.Parallel()
	p := startHistory(t)
	c, now := p.begin(t, modes[0], "ann")
	c.subscribe("room")
	for i := range 6 {
		p.publishNumbers(t, "room", 10*i, 10*i+4)
		c.wantNumbers(10*i, 10*i+4)
		time.Sleep(50 * time.Millisecond) // the kernel acknowledges late
		var next *client
		next, now = p.resume(t, modes[0], now.SessionID)
		c.wantDisconnect(1)
		c = next
		p.await(func() bool { return len(c.whoami().Topics) == 1 }, "the topic to move")
		p.publishNumbers(t, "room", 10*i+5, 10*i+9)
		c.wantNumbers(10*i+5, 10*i+9)
	}
}

func TestHistoryGaps(t *testing.T) {
	t.Parallel()
	p := startHistory(t)
	for _, tt := range []struct {
		topic string
		away  func(t *testing.T)
		gap   bool
		from  int // what is left, up to 110
	}{
		{"short", func(t *testing.T) { p.publishNumbers(t, "short", 101, 110) }, true, 106},
		{"brief", func(t *testing.T) {
			p.publishNumbers(t, "brief", 101, 105)
			time.Sleep(2100 * time.Millisecond) // its age
			p.publishNumbers(t, "brief", 106, 110)
		}, true, 106},
		{"quiet", func(t *testing.T) {}, false, 111},
		{"enough", func(t *testing.T) { p.publishNumbers(t, "enough", 101, 110) }, false, 101},
	} {
		t.Run(tt.topic, func(t *testing.T) {
			t.Parallel()
			c, ticket := p.begin(t, modes[0], "of "+tt.topic)
			c.subscribe(tt.topic)
			c.hangUp()
			p.awaitDetached(t, "of+"+tt.topic)
			tt.away(t)
			c, _ = p.resume(t, modes[0], ticket.SessionID)
			if tt.gap {
				c.wantPush("sluice.Gap", fmt.Sprintf(gapPush, tt.topic))
			}
			c.wantNumbers(tt.from, 110)
			c.wantEcho(`"and that is all"`)
		})
	}
}

// All topics together keep no more than they may: the oldest messages go.
func TestHistoryTotal(t *testing.T) {
	t.Parallel()
	p := startHistory(t, "--history-total", "64KiB")
	c, ticket := p.begin(t, modes[0], "ann")
	c.subscribe("room")
	c.hangUp()
	p.awaitDetached(t, "ann")
	pub := p.login(t, modes[0], "")
	filler := fmt.Sprintf(`"%01000d"`, 0)
	for range 100 {
		pub.wantOK("sluice.Publish", publish("room", filler))
	}
	c, _ = p.resume(t, modes[0], ticket.SessionID)
	c.wantPush("sluice.Gap", fmt.Sprintf(gapPush, "room"))
	n := 0
	for msg := c.wantMessage(sendReq); ; msg = c.wantMessage(sendReq) {
		if msg.payload == `"end"` {
			break
		}
		if n++; n == 20 {
			pub.wantOK("sluice.Publish", publish("room", `"end"`))
		}
	}
	if n < 30 || n > 64 {
		t.Errorf("%d messages of 1 KiB are left of 64 KiB", n)
	}
}

func TestHistoryLast(t *testing.T) {
	t.Parallel()
	p := startHistory(t)
	p.publishNumbers(t, "room", 1, 10)
	c := p.login(t, modes[0], "")
	c.wantStatus("sluice.Subscribe", `{"topics":["room"],"last":"3"}`, 4)
	c.wantStatus("sluice.Subscribe", `{"topics":["room"],"last":-3}`, 4)
	c.wantOK("sluice.Subscribe", `{"topics":["room"],"last":3}`)
	c.wantNumbers(8, 10)
	p.publishNumbers(t, "room", 11, 12)
	c.wantNumbers(11, 12)
}

// bufferedConn reads what a client has read ahead first.
type bufferedConn struct {
	net.Conn
	r io.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// Longbridge's Reconnect gets what was missed; a gap is a push of the command of --gap-cmd.
func TestHistoryReconnect(t *testing.T) {
	t.Parallel()
	p := startHistory(t, "--gap-cmd", "77")
	c, status, auth := p.longbridgeAuth(t, "ann", nil)
	if status != 0 {
		t.Fatal(status, auth)
	}
	c.write(longbridgeRequest(201, 2, []byte(`{"topics":["room","short"]}`)))
	if status, body := c.longbridgeAnswer(); status != 0 {
		t.Fatalf("subscribe: %d %s", status, body)
	}
	p.publishNumbers(t, "room", 1, 2)
	wantPush := func(cmd byte, body string) {
		t.Helper()
		head, got := longbridgePacket(t, bufferedConn{c.conn, c.r})
		if head[0] != 3 || head[1] != cmd || string(got) != body {
			t.Fatalf("packet %x %s, want a push of %d, %s", head, got, cmd, body)
		}
	}
	wantPush(100, "1")
	wantPush(100, "2")
	c.hangUp()
	p.publishNumbers(t, "room", 3, 60)
	p.publishNumbers(t, "short", 1, 6)
	c = p.dial(t, modes[0])
	c.write(append(unhex("1109"), longbridgeRequest(3, 1, workerMsg(nil).text(1, auth.text(1)))...))
	if status, body := c.longbridgeResponse(); status != 0 {
		t.Fatal(status, body)
	}
	short, room := 2, 3
	for range 58 + 6 {
		head, got := longbridgePacket(t, bufferedConn{c.conn, c.r})
		switch {
		case head[1] == 77:
			if string(got) != fmt.Sprintf(gapPush, "short") || short != 2 {
				t.Fatalf("gap %s", got)
			}
		case string(got) == strconv.Itoa(room):
			room++
		case string(got) == strconv.Itoa(short):
			short++
		default:
			t.Fatalf("packet %x %s, want %d of room or %d of short", head, got, room, short)
		}
	}
}

// A reload takes histories away, and gives them.
func TestHistoryReload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sluice.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("dev = true\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`history = ["room=10,1m"]`)
	p := startServe(t, "--config", file, "--listen", "tcp://127.0.0.1:0")
	c, now := p.begin(t, modes[0], "ann")
	c.subscribe("room", "news")
	p.publishNumbers(t, "room", 1, 1)
	p.publishNumbers(t, "news", 2, 2)
	c.wantNumbers(1, 2)
	write(`history = ["news=10,1m"]`)
	p.signal(syscall.SIGHUP)
	p.await(func() bool { return strings.Contains(p.stderr.String(), "reloaded") }, "the reload")
	p.publishNumbers(t, "news", 3, 3)
	c.wantNumbers(3, 3)
	c.hangUp()
	p.publishNumbers(t, "news", 4, 5)
	c, _ = p.resume(t, modes[0], now.SessionID)
	c.wantNumbers(4, 5)
}

// A worker publishes and learns the position, reads what is kept behind one, and subscribes a client that
// gets the last of it first.
func TestHistoryOfWorkers(t *testing.T) {
	t.Parallel()
	const history, publishAt, topicSubscribe = 900009009, 900009010, 900002007
	p := startHistory(t)
	l := p.workerFor(t, 7)
	var at []workerFields
	for i := range 8 {
		got := l.ask(publishAt, workerMsg(nil).text(1, "short").bytes(4, []byte(strconv.Itoa(i+1))))
		if got.num(2) != 1 || got.subs(3)[0].num(2) != int64(i+1) {
			t.Fatalf("published %d: %v", i+1, got)
		}
		at = append(at, got.subs(3)[0])
	}
	if got := l.ask(publishAt, workerMsg(nil).text(1, "none.of that").bytes(4, []byte("x"))); got.num(2) != 0 {
		t.Errorf("a topic without history: %v", got)
	}
	read := func(m workerMsg) (items []string, all workerFields) {
		t.Helper()
		all = l.ask(history, m)
		if all.num(2) != 1 || all.subs(4)[0].num(2) != 8 || all.subs(4)[0].num(1) != at[0].num(1) {
			t.Fatalf("history: %v", all)
		}
		for _, item := range all.subs(5) {
			if ms := time.Now().UnixMilli() - item.num(2); ms < -5000 || ms > 60_000 || item.text(3) != "push" || item.num(4) != 100 {
				t.Fatalf("item: %v", item)
			}
			items = append(items, fmt.Sprint(item.num(1), ":", item.text(5)))
		}
		return items, all
	}
	position := func(i int) workerMsg { return workerMsg(nil).num(1, at[i-1].num(1)).num(2, int64(i)) }
	for _, tt := range []struct {
		m    workerMsg
		want string
		lost int64
	}{
		{workerMsg(nil).text(1, "short"), "[4:4 5:5 6:6 7:7 8:8]", 0},
		{workerMsg(nil).text(1, "short").num(3, 2), "[4:4 5:5]", 0},
		{workerMsg(nil).text(1, "short").bytes(2, position(5)), "[6:6 7:7 8:8]", 0},
		{workerMsg(nil).text(1, "short").bytes(2, position(8)), "[]", 0},
		{workerMsg(nil).text(1, "short").bytes(2, position(2)), "[4:4 5:5 6:6 7:7 8:8]", 1},
		{workerMsg(nil).text(1, "short").bytes(2, workerMsg(nil).num(1, 5).num(2, 8)), "[4:4 5:5 6:6 7:7 8:8]", 1},
		{workerMsg(nil).text(1, "short").num(4, 2), "[7:7 8:8]", 0},
	} {
		if got, all := read(tt.m); fmt.Sprint(got) != tt.want || all.num(3) != tt.lost {
			t.Errorf("%x: %v, lost %d, want %s", []byte(tt.m), got, all.num(3), tt.want)
		}
	}
	if got := l.ask(history, workerMsg(nil).text(1, "none.of that")); got.num(2) != 0 || len(got.subs(5)) != 0 {
		t.Errorf("a topic without history: %v", got)
	}
	c := p.login(t, modes[0], token("ann"))
	l.send(topicSubscribe, workerMsg(nil).text(1, c.whoami().UniqID).text(2, "short").num(100, 3))
	c.wantPush("push", "6")
	c.wantPush("push", "7")
	c.wantPush("push", "8")
}
