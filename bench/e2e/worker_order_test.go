package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Commands of one link are carried out in order, also those that run on different loops.
func TestWorkerOrder(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l := p.workerFor(t, 2)
	a, idA := p.netsvrKnown(t, l, 2)
	b, idB := p.netsvrKnown(t, l, 2)
	g := p.login(t, modes[0], "")
	idG := ""
	for _, id := range l.uniqIDs() {
		if id != idA && id != idB {
			idG = id
		}
	}
	const rounds = 1000
	go func() { // the reader of pushes, so that the test can go on
		for range rounds {
			a.wantText("published")
		}
	}()
	for i := range rounds {
		topic := fmt.Sprint("topic", i)
		// subscribe, then count
		l.send(workerTopicSubscribe, workerMsg(nil).text(1, idA).text(2, topic))
		l.send(workerTopicSubscribe, workerMsg(nil).text(1, idG).text(2, topic))
		if got := l.ask(workerTopicUniqIDCount, workerList(topic)).countMap(2); got[topic] != 2 {
			t.Fatalf("round %d: %v", i, got)
		}
		// publish right behind a subscription
		l.send(workerTopicSubscribe, workerMsg(nil).text(1, idB).text(2, "now"+topic))
		l.send(workerTopicPublish, workerCast("now"+topic, "at once"))
		l.send(workerTopicPublish, workerCast(topic, "published"))
		// rename, then cast to the new name and to the old one
		name := fmt.Sprint("b", i)
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, idB).text(2, name))
		l.send(workerSingleCast, workerCast(idB, "to the old name"))
		l.send(workerSingleCast, workerCast(name, "to the new name"))
		if got := l.online(idB, name); len(got) != 1 || got[0] != name {
			t.Fatalf("round %d: online %q, want %q", i, got, name)
		}
		idB = name
		b.wantText("at once")
		b.wantText("to the new name")
		g.wantPush("push", "published")
		// force off, then ask
		c, id := p.netsvrKnown(t, l, 2)
		l.send(workerForceOffline, workerList(id))
		l.wantUnknown(id)
		c.wantCut()
		// unsubscribe, then publish and count
		l.send(workerTopicUnsubscribe, workerMsg(nil).text(1, idB).text(2, "now"+topic))
		l.send(workerTopicPublish, workerCast("now"+topic, "too late"))
		if got := l.ask(workerTopicUniqIDCount, workerList("now"+topic)).countMap(2); len(got) != 0 {
			t.Fatalf("round %d: %v", i, got)
		}
	}
	b.wantAlive()
	l.send(workerTopicDelete, workerMsg(nil).text(1, l.topics()...))
	l.wantTopics()
}

// Replies and pushes of one link reach a client in the order in which they were sent.
func TestWorkerReplyOrder(t *testing.T) {
	t.Parallel()
	p := startNetsvr(t)
	l := p.workerServer(t, 1)
	var clients []*client
	const rounds, window = 50, 8
	for range 10 {
		clients = append(clients, p.login(t, modes[0], ""))
	}
	for range rounds {
		for i, c := range clients {
			for id := range window {
				c.write(c.mode.ask(uint16(id), "x", fmt.Sprint(i)))
			}
		}
		var wire []byte
		for range len(clients) * window {
			r := l.event(workerRequest)
			id := r.text(1)
			wire = append(wire, workerCommand(workerReply, workerReplyTo(r, 0, r.text(8)))...)
			if r.num(6)%3 == 0 { // so that some replies follow one another
				wire = append(wire, workerCommand(workerSingleCast, workerCast(id, fmt.Sprint("behind ", r.num(6))))...)
			}
			wire = append(wire, workerCommand(workerPush, workerMsg(nil).text(1, id).text(3, "mark").text(5, "behind"))...)
		}
		l.sendRaw(wire)
		for i, c := range clients {
			for id := range window {
				c.wantReply(uint16(id), fmt.Sprint(i))
				got := c.wantMessage(sendReq)
				if got.route == "push" {
					got = c.wantMessage(sendReq)
				}
				if got.route != "mark" {
					t.Fatalf("got a push of route %q", got.route)
				}
			}
		}
	}
	// A reply of any length between short ones.
	c := clients[0]
	for _, n := range []int{0, 4 << 10, 4<<10 + 1, 32 << 10, 1 << 20} {
		for id := range 3 {
			c.write(c.mode.ask(uint16(id), "x", "1"))
		}
		var wire []byte
		big := strings.Repeat("x", n)
		for id := range 3 {
			payload := "short"
			if id == 1 {
				payload = big
			}
			wire = append(wire, workerCommand(workerReply, workerReplyTo(l.event(workerRequest), 0, payload))...)
		}
		l.sendRaw(wire)
		c.wantReply(0, "short")
		if n == 0 {
			big = `{"status":0,"data":{}}` // in its place: clients do not take an empty one
		}
		c.wantReply(1, big)
		c.wantReply(2, "short")
	}
}
