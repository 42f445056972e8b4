package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// What customers say, in the order of the checks, with text and with binary messages.
func TestNetsvrMessages(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--client-max-message", "1KiB")
	l := s.l
	c, id := s.open()
	const limit = 1 << 10
	for _, op := range []byte{netsvrText, netsvrBinary} {
		say := func(text string) { c.write(netsvrFrame(0x80|op, []byte(text))) }
		say(workerPing)
		c.want(op, workerPong)
		for _, wrong := range []string{
			"", "0", "00", "01", "000", "0a1", " 01", "~u3", "-01", "+01", "1e1", "0x1", "001"[:2], "00 1", "\x000\x001", "١٢٣", "abc", workerPong,
			"~3yPvmnz", "000" + strings.Repeat("x", limit),
		} {
			say(wrong)
			c.want(op, "WorkerId wrong")
		}
		for _, long := range []string{"001", "000", "bad", workerPing} {
			say(long + strings.Repeat("x", limit+4-len(long)))
			c.want(op, "Message too large") // that comes before a wrong id
		}
		say("001" + strings.Repeat("x", limit))
		l.wantTransferOf(id, "", strings.Repeat("x", limit))
		say("001")
		l.wantTransferOf(id, "", "")
		say("001" + workerPing)
		l.wantTransferOf(id, "", workerPing)
		say("002for nobody")
		say("999for nobody")
		c.wantAlive()
		l.wantNoEvent(10 * time.Millisecond)
	}
	c.sayBinary("001\xFF\x00any bytes")
	l.wantTransferOf(id, "", "\xFF\x00any bytes")

	// In fragments, with control frames between, empty ones, and split in the middle of a character.
	text := "001in fragments é∀"
	for i := range len(text) {
		c.write(netsvrFrame(netsvrText, []byte(text[:i])))
		c.write(netsvrFrame(0x80|netsvrPing, []byte{byte(i)}))
		c.write(netsvrFrame(netsvrContinuation, nil))
		c.write(netsvrFrame(0x80|netsvrPong, []byte("unasked")))
		c.write(netsvrFrame(0x80|netsvrContinuation, []byte(text[i:])))
		c.want(netsvrPong, string([]byte{byte(i)}))
		l.wantTransferOf(id, "", text[3:])
	}
	// Too large in fragments: said once, and the rest is skipped.
	c.write(netsvrFrame(netsvrText, []byte("001"+strings.Repeat("x", limit))))
	c.write(netsvrFrame(netsvrContinuation, []byte("x")))
	c.want(netsvrText, "Message too large")
	c.write(netsvrFrame(netsvrContinuation, []byte(strings.Repeat("x", 10*limit))))
	c.write(netsvrFrame(0x80|netsvrContinuation, nil))
	c.wantAlive()
	// 60 MB are skipped as they come.
	skip := netsvrFrame(0x80|netsvrBinary, make([]byte, 60<<20))
	c.write(skip)
	c.want(netsvrBinary, "Message too large")
	c.wantAlive()
	for _, n := range []int{0, 1, 125} {
		c.write(netsvrFrame(0x80|netsvrPing, []byte(strings.Repeat("p", n))))
		c.want(netsvrPong, strings.Repeat("p", n))
	}
	s.p.wantPeakBelow(150 << 20)
}

// Frames that RFC 6455 forbids end the connection with the code it gives; nobody else notices.
func TestNetsvrMalformedFrames(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--client-max-message", "1KiB")
	healthy, healthyID := s.open()
	big := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x82, 0xFF}, n) }
	joined := func(frames ...[]byte) []byte { return slices.Concat(frames...) }
	for _, bad := range []struct {
		name string
		wire []byte
		code uint16
	}{
		{"not masked", []byte{0x81, 0x02, 'h', 'i'}, 1002},
		{"RSV1 without compression", netsvrFrame(0xC1, []byte("001x")), 1002},
		{"RSV2", netsvrFrame(0xA1, []byte("001x")), 1002},
		{"RSV3", netsvrFrame(0x91, []byte("001x")), 1002},
		{"opcode 3", netsvrFrame(0x83, []byte("x")), 1002},
		{"opcode B", netsvrFrame(0x8B, nil), 1002},
		{"fragmented ping", netsvrFrame(netsvrPing, nil), 1002},
		{"long ping", netsvrFrame(0x80|netsvrPing, make([]byte, 126)), 1002},
		{"continuation of nothing", netsvrFrame(0x80|netsvrContinuation, []byte("x")), 1002},
		{"a message within another", joined(netsvrFrame(netsvrText, []byte("001")), netsvrFrame(0x81, []byte("001"))), 1002},
		{"length not in its shortest form", []byte{0x81, 0xFE, 0, 5, 1, 2, 3, 4, 'h', 'e', 'l', 'l', 'o'}, 1002},
		{"64-bit length not in its shortest form", joined(big(5), make([]byte, 9)), 1002},
		{"length above 63 bits", joined(big(1<<63), make([]byte, 4)), 1002},
		{"close of one byte", netsvrFrame(0x88, []byte{3}), 1002},
		{"close with 1005", netsvrFrame(0x88, []byte{3, 0xED}), 1002},
		{"close with 999", netsvrFrame(0x88, []byte{3, 0xE7}), 1002},
		{"close with bad text", netsvrFrame(0x88, []byte{3, 0xE8, 0xFF}), 1007},
		{"bad text", netsvrFrame(0x81, []byte("001\xFF")), 1007},
		{"bad text in fragments", joined(netsvrFrame(0x01, []byte("001\xE2")), netsvrFrame(0x80, []byte("\x28"))), 1007},
		{"text cut within a character", netsvrFrame(0x81, []byte("001\xE2\x82")), 1007},
		{"longer than is skipped", joined(big(1<<40), make([]byte, 4)), 1009},
	} {
		t.Run(bad.name, func(t *testing.T) {
			c, id := s.open()
			c.tb = t
			c.write(bad.wire)
			c.wantClose(bad.code)
			s.l.wantClosed(id, "")
		})
	}
	// A close frame is echoed.
	for _, payload := range []string{"", "\x03\xE8", "\x03\xE9going away", "\x0F\xA0its own"} {
		c, id := s.open()
		c.write(netsvrFrame(0x80|netsvrClose, []byte(payload)))
		c.want(netsvrClose, payload)
		c.wantCut()
		s.l.wantClosed(id, "")
	}
	// A million fragments of nothing.
	c, id := s.open()
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.conn.Write(slices.Repeat(netsvrFrame(netsvrText, nil), 1))
	_, _ = c.conn.Write(slices.Repeat(netsvrFrame(netsvrContinuation, nil), 20_000))
	if op, got, err := c.next(patience); err == nil && op != netsvrClose {
		t.Errorf("got opcode %x %q", op, got)
	}
	c.hangUp()
	s.l.wantClosed(id, "")
	healthy.say("001still there")
	s.l.wantTransferOf(healthyID, "", "still there")
}

func TestNetsvrPushOpcode(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"text", "binary"} {
		s := startScene(t, "--push-opcode", op)
		c, id := s.open()
		s.subscribe(id, "t")
		want := byte(netsvrText)
		if op == "binary" {
			want = netsvrBinary
		}
		s.l.send(workerSingleCast, workerCast(id, "1"))
		s.l.send(workerBroadcast, workerMsg(nil).text(1, "2"))
		s.l.send(workerTopicPublish, workerCast("t", "3"))
		for _, data := range []string{"1", "2", "3"} {
			c.want(want, data)
		}
		c.wantAlive() // a reply has the opcode of what it replies to
	}
}

// Whoever is silent for too long is cut off; messages and control frames count, pushes do not.
func TestNetsvrClientIdle(t *testing.T) {
	t.Parallel()
	const idle = 5 * time.Second
	s := startScene(t, "--client-idle", idle.String())
	l := s.l
	start := time.Now()
	silent, idSilent := s.open()
	pushed, idPushed := s.open()
	live := make([]*netsvrCustomer, 4)
	ids := make([]string, 4)
	for i := range live {
		live[i], ids[i] = s.open()
	}
	half, _ := s.open()
	half.write(netsvrFrame(0x80|netsvrText, []byte("001x"))[:3])
	// Pushes go on until who gets them is gone, and the others live for longer than they might.
	begun := time.Now()
	closed := 0
	for ; closed < 3 || time.Since(begun) < idle+time.Second; time.Sleep(200 * time.Millisecond) {
		for {
			a, ok := l.take(&l.events, 0)
			if !ok {
				break
			}
			if took := time.Since(start); a.cmd == workerConnClose && took < idle-early {
				t.Errorf("%q is closed after %v, want %v", a.fields.text(1), took, idle)
			}
			if a.cmd == workerConnClose {
				closed++
			}
		}
		if time.Since(start) > 2*patience {
			t.Fatalf("%d closed after %v, want 3", closed, time.Since(start))
		}
		l.send(workerSingleCast, workerCast(idPushed, "push"))
		live[0].write(netsvrFrame(0x80|netsvrText, []byte("002")))
		live[1].wantAlive()
		live[2].write(netsvrFrame(0x80|netsvrPing, nil))
		live[2].want(netsvrPong, "")
		live[3].write(netsvrFrame(0x80|netsvrPong, nil))
	}
	if got := l.online(append(ids, idSilent, idPushed)...); !slices.Equal(got, slices.Sorted(slices.Values(ids))) {
		t.Errorf("online after %v: %q, want %q", time.Since(start), got, ids)
	}
	for _, c := range []*netsvrCustomer{silent, pushed, half} {
		op, got, err := c.next(patience)
		for c == pushed && string(got) == "push" {
			op, got, err = c.next(patience)
		}
		if err == nil && op != netsvrClose || err != nil && !over(err) {
			t.Errorf("got opcode %x, %v", op, err)
		}
	}
	for _, c := range live {
		c.wantAlive()
	}
}

// --max-connections counts clients of all protocols, and not workers.
func TestNetsvrMaxConnections(t *testing.T) {
	t.Parallel()
	s := startScene(t, "--max-connections", "6")
	for range 10 {
		s.p.workerLink(t).wantAlive()
	}
	var in []*netsvrCustomer
	for range 4 {
		c, _ := s.open()
		in = append(in, c)
	}
	g, _ := s.gosoc()
	s.p.dial(t, modes[0]).write([]byte("G")) // says nothing more
	for range 5 {
		conn, err := net.Dial("tcp", s.p.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !over(err) {
			t.Errorf("the seventh read %d, %v", n, err)
		}
		conn.Close()
	}
	for _, c := range in {
		c.wantAlive()
	}
	in[0].hangUp()
	s.l.event(workerConnClose)
	g.hangUp()
	s.l.event(workerConnClose)
	s.p.await(func() bool { return s.p.openDescriptors() <= s.p.descriptors+11+4 }, "two to be gone")
	s.open()
	s.gosoc()
}

// Limits are per name, burst and rate; beyond them messages are dropped.
func TestNetsvrLimits(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--limit", "a=1@5", "--limit", "b=2-3,7@5", "--server-id", "9")
	l := p.workerLink(t)
	l.wantRegistered(workerRegistration(1, 0, 9))
	var others []*workerLink
	for _, id := range []int64{2, 3, 4, 7} {
		o := p.workerLink(t)
		o.wantRegistered(workerRegistration(id, 0, 9))
		others = append(others, o)
	}
	limits := func(m workerMsg) string {
		t.Helper()
		got := l.ask(workerLimit, m)
		if got.num(1) != 9 {
			t.Errorf("server id %d", got.num(1))
		}
		var all []string
		for _, item := range got.subs(2) {
			all = append(all, fmt.Sprint(item.text(1), "=", item.nums(3), "@", item.num(2)))
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	item := func(name string, n int64) []byte { return workerMsg(nil).text(1, name).num(2, n) }
	count := func(l *workerLink) (n int) {
		for {
			if _, ok := l.take(&l.events, 0); !ok {
				return n
			}
			n++
		}
	}
	if got := limits(nil); got != "a=[1]@5 b=[2 3 7]@5" {
		t.Errorf("limits %s", got)
	}
	c := p.netsvrOpen(t, "/netsvr")
	burst := func(n int, ids ...string) {
		t.Helper()
		for i := range n {
			c.say(ids[i%len(ids)] + "x")
		}
		c.wantAlive() // all are in the queues of their links, and answers come behind them
		for _, l := range append(others, l) {
			l.sync()
		}
	}
	start := time.Now()
	burst(40, "001")
	burst(40, "002", "003", "007", "004")
	most := 5 + int(time.Since(start).Seconds()*5) + 1
	if got := count(l); got < 5 || got > most {
		t.Errorf("%d of 40 messages got through, want 5 to %d", got, most)
	}
	if got := count(others[0]) + count(others[1]) + count(others[3]); got < 5 || got > most {
		t.Errorf("%d of 30 messages to three workers of one limit, want 5 to %d", got, most)
	}
	if got := count(others[2]); got != 10 {
		t.Errorf("%d of 10 messages to a worker without a limit", got)
	}
	// GOSOC requests are told so.
	g := p.login(t, modes[0], "")
	g.write(slices.Repeat(g.mode.sendReq(0, 0, "x", nil), 5))
	g.wantStatus("x", "{}", 5)
	l.sync()
	count(l)
	// The names are known, the values above 0; everything else is as if it were not there.
	change := workerMsg(nil).bytes(1, item("a", 50)).bytes(1, item("unknown", 7)).bytes(1, item("b", 0)).bytes(1, item("b", -3)).bytes(1, item("", 9))
	if got := limits(change); got != "a=[1]@50 b=[2 3 7]@5" {
		t.Errorf("limits %s", got)
	}
	time.Sleep(1200 * time.Millisecond) // the bucket fills, and the burst has changed with the rate
	start = time.Now()
	burst(200, "001")
	most = 50 + int(time.Since(start).Seconds()*50) + 1
	if got := count(l); got < 50 || got > most {
		t.Errorf("%d of 200 messages got through, want 50 to %d", got, most)
	}
	c.wantAlive() // heartbeats are free
}

// The limit of the worker that is told of customers is theirs when they connect, too.
func TestNetsvrConnectLimit(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t, "--limit", "a=1@5", "--open-worker", "1", "--custom-id-key", "id", "--allow-origin", "good.example")
	l := p.workerFor(t, 1)
	refusals := make(map[string]int)
	start := time.Now()
	for range 30 {
		_, status, body := p.netsvrUpgrade(t, netsvrHead("GET", "/netsvr"))
		refusals[fmt.Sprint(status, " ", body)]++
	}
	// The limit comes before the custom id, which comes before the Origin.
	most := 5 + int(time.Since(start).Seconds()*5) + 1
	if n := refusals["400 Custom uniqId wrong"]; n < 5 || n > most || n+refusals["503 Connect rate limited"] != 30 {
		t.Errorf("%v, want 5 to %d wrong ids", refusals, most)
	}
	p.netsvrRefused(t, 400, "", netsvrHead("GET", "/other")) // and behind the path
	l.wantNoEvent(10 * time.Millisecond)
	// GOSOC clients are not limited at their login.
	for range 10 {
		p.login(t, modes[0], "")
		l.event(workerConnOpen)
	}
}
