package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A total that many small accounts use up, none of them above the high-water mark, is kept as well.
func TestManySmallAccountsAreShed(t *testing.T) {
	const total, each, clients = 1 << 20, 60 << 10, 100
	e, addr := startLine(t, Config{BacklogTotal: total, InputBacklog: 1 << 20, LoginBytes: 1 << 20}, ListenConfig{})
	honest := dialLine(t, addr)
	honest.send("ECHO hello")
	honest.expect("hello")
	for range clients {
		c := dialLine(t, addr)
		if _, err := c.Write([]byte("ECHO " + strings.Repeat("x", each))); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the total to be kept", func() bool {
		s := e.Stats()
		return s.Accepted == clients+1 && s.BytesIn >= clients*each && s.Total <= total+total/urgentPart
	})
	if n := e.Stats().Closed[ReasonBacklogTotal]; n == 0 || n > clients*7/8 {
		t.Errorf("%d of %d were shed", n, clients)
	}
	honest.send("ECHO still here")
	honest.expect("still here")
}

// Who has next to nothing does not go for what others have, of whatever loop.
func TestSmallAccountsAreSpared(t *testing.T) {
	const total, clients = 1 << 20, 20
	e, addr := startLine(t, Config{Loops: 2, BacklogTotal: total}, ListenConfig{})
	for range clients {
		c := dialLine(t, addr)
		c.send("ECHO here")
		c.expect("here")
		if _, err := c.Write([]byte("EC")); err != nil { // 1 KiB
			t.Fatal(err)
		}
	}
	waitFor(t, "what they keep", func() bool { return e.Stats().Accounts[KindInput] >= clients<<10 })
	e.Charge(KindHandshakes, 2*total) // of others
	defer e.Charge(KindHandshakes, -2*total)
	looks := e.Now() + 5*sievedFor
	for _, l := range e.loops {
		waitFor(t, "looks", func() bool { l.mailbox.postTick(); return l.lookedAt.Load() > looks })
	}
	if n := e.Stats().Closed[ReasonBacklogTotal]; n > 0 {
		t.Errorf("%d were shed", n)
	}
}

// What waits of clients that have left goes on its receivers' accounts when the total is used up: others
// are not shed for it.
func TestAbandonedPublishesDoNotWait(t *testing.T) {
	const total = 10 << 20
	e, addr := startLine(t, Config{Loops: 1, BacklogTotal: total, SendBuffer: 16 << 10, Lag: 4 << 20, LoginBytes: 1 << 20}, ListenConfig{})
	subscribe := func(topic string) *lineClient {
		c := dialLine(t, addr)
		c.send("SUB " + topic)
		c.expect("SUBSCRIBED true")
		return c
	}
	innocent := subscribe("mine") // has 3 MiB unread, which it may
	drip := subscribe("t")
	payload := strings.Repeat("x", 512<<10)
	pub := e.NewPublisher()
	held := 0
	for range 40 {
		held++
		if err := pub.Publish([]byte("mine"), Push{Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
		pub.Flush()
		if e.Stats().Accounts[KindShared] >= 3<<20 {
			break
		}
	}
	time.Sleep(heavyFor*time.Millisecond + 100*time.Millisecond)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // reads a little now and then: its topic's publishers wait for it
		defer close(done)
		b := make([]byte, 1<<10)
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				_ = drip.SetReadDeadline(time.Now().Add(time.Second))
				_, _ = drip.Read(b)
			}
		}
	}()
	already := e.Stats().Publishes
	for i := range 40 {
		c := dialLine(t, addr)
		c.send(fmt.Sprintf("PUB t %d%s", i, payload))
		waitFor(t, "the publish", func() bool { return e.Stats().Publishes >= already+uint64(i)+1 })
		c.Close()
	}
	waitFor(t, "the slow reader to go", func() bool { return e.Stats().Accounts[KindDeferred] == 0 })
	s := e.Stats()
	if s.Closed[ReasonSlowConsumer]+s.Closed[ReasonBacklogTotal] != 1 || e.Stats().Topics != 1 {
		t.Errorf("closed: %v; %d topics are left", s.Closed, s.Topics)
	}
	if s.Total > total+total/urgentPart {
		t.Errorf("%d bytes are kept, %d are allowed", s.Total, total)
	}
	close(stop)
	<-done
	for lines := 0; lines < held; lines++ { // the other has lost nothing
		innocent.expect(payload)
	}
}
