package e2e

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
)

// longbridgeLogin is a Longbridge client that has been let in, and its uniqId.
func (s *netsvrScene) longbridge() (*client, string) {
	s.Helper()
	c := s.p.dial(s, modes[0])
	// Version 1, protobuf; then Auth, request 1, with the token "otp-123".
	c.write(unhex("1109 0102000000010000 0000090a076f74702d313233"))
	head := make([]byte, 10)
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.r, head); err != nil || head[0] != 2 || head[6] != 0 {
		s.Fatalf("not let in: %x, %v", head, err)
	}
	if _, err := c.r.Discard(int(head[7])<<16 | int(head[8])<<8 | int(head[9])); err != nil {
		s.Fatal(err)
	}
	return c, s.l.event(workerConnOpen).text(1)
}

// wantLongbridgePush wants a push of command 100.
func (c *client) wantLongbridgePush(body string) {
	c.tb.Helper()
	want := fmt.Sprintf("\x03\x64%c%c%c%s", len(body)>>16, len(body)>>8&0xFF, len(body)&0xFF, body)
	got := make([]byte, len(want))
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		c.tb.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// Commands, lists and events are about clients of all protocols alike.
func TestNetsvrAllProtocols(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	w, idW := s.open()
	g, idG := s.gosoc()
	b, idB := s.longbridge()
	ids := slices.Sorted(slices.Values([]string{idW, idG, idB}))
	for _, id := range ids {
		if !netsvrUniqID(id, 0) {
			t.Errorf("uniqId %q", id)
		}
	}
	everybody := func(text string) {
		t.Helper()
		w.wantText(text)
		g.wantPush("push", text)
		b.wantLongbridgePush(text)
	}
	if got := l.uniqIDs(); !slices.Equal(got, ids) {
		t.Errorf("online %q, want %q", got, ids)
	}
	if got := l.ask(workerUniqIDCount, nil).num(2); got != 3 {
		t.Errorf("%d clients", got)
	}
	if got := l.online(ids...); !slices.Equal(got, ids) {
		t.Errorf("online %q, want %q", got, ids)
	}
	l.send(workerBroadcast, workerMsg(nil).text(1, "all"))
	everybody("all")
	l.send(workerMulticast, workerWith(ids, "many"))
	everybody("many")
	l.send(workerSingleCastBulk, workerWith([]string{idW, idG, idB}, "to w", "to g", "to b"))
	w.wantText("to w")
	g.wantPush("push", "to g")
	b.wantLongbridgePush("to b")
	for _, id := range ids {
		l.send(workerTopicSubscribe, workerMsg(nil).text(1, id).text(2, "t", "u").text(3, "in"))
	}
	everybody("in")
	l.send(workerTopicPublish, workerCast("t", "news"))
	everybody("news")
	l.send(workerTopicPublishBulk, workerWith([]string{"u"}, "1", "2"))
	everybody("1")
	everybody("2")
	if got := slices.Sorted(slices.Values(l.ask(workerTopicUniqIDList, workerList("t")).textMap(2)["t"].texts(1))); !slices.Equal(got, ids) {
		t.Errorf("subscribers %q, want %q", got, ids)
	}
	if got := l.ask(workerTopicUniqIDCount, workerMsg(nil).num(2, 1)).countMap(2); got["t"] != 3 || got["u"] != 3 || len(got) != 2 {
		t.Errorf("counts %v", got)
	}
	for i, id := range []string{idW, idG, idB} {
		name := fmt.Sprint("name ", i)
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, name).text(4, "session").text(5, "own").text(6, "named"))
		l.wantInfo(name, "session", "own")
	}
	everybody("named")
	l.send(workerTopicDelete, workerWith([]string{"own"}, "gone"))
	everybody("gone")
	l.wantTopics()
	l.send(workerConnInfoDelete, workerMsg(nil).text(1, "name 2").num(3, 1).text(5, "guest"))
	b.wantLongbridgePush("guest")
	l.wantInfo("name 2", "")
	// Guests alone: of the three that is the Longbridge client now.
	l.send(workerForceOfflineGuest, workerMsg(nil).text(1, "name 0", "name 1", "name 2"))
	l.wantClosed("name 2", "")
	if rest, err := io.ReadAll(b.r); err != nil && !over(err) {
		t.Errorf("the Longbridge client sees %q, %v", rest, err)
	}
	l.send(workerForceOffline, workerList("name 0", "name 1"))
	l.wantUnknown("name 0", "name 1", "name 2")
	for range 2 {
		if got := l.event(workerConnClose); got.text(2) != "session" {
			t.Errorf("closed: %q, %q", got.text(1), got.text(2))
		}
	}
}

// Whoever loses its id at once is not counted by the next query.
func TestNetsvrEvictedCount(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	_, taken := s.open()
	for round := range 100 {
		_, id := s.open()
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, taken))
		if got := l.ask(workerUniqIDCount, nil).num(2); got != 1 {
			t.Fatalf("round %d: %d online", round, got)
		}
		if got := l.uniqIDs(); !slices.Equal(got, []string{taken}) {
			t.Fatalf("round %d: online %q, want %q", round, got, taken)
		}
		l.event(workerConnClose)
	}
}
