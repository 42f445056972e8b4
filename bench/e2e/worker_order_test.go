package e2e

import (
	"fmt"
	"testing"
)

// Commands of one link are carried out in order, also those that run on different loops.
func TestWorkerOrder(t *testing.T) {
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
