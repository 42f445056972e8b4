package clustertest

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/worker"
)

// What a worker changes comes behind what it has published before, and before what it publishes then, with
// each gateway on a NATS server of its own; so do changes of uniqId.
func TestChangesInOrderOverRoutes(t *testing.T) { // alone, since it keeps the machine busy
	long(t)
	servers := launchNATSCluster(t, 3)
	list := serveBeside(t, servers, 3)
	w, ctx := startWorker(t, list[0])
	type member struct {
		c    *client
		id   string
		want []string
	}
	var members []*member
	for i, g := range list {
		c, _ := g.loginAs(fmt.Sprint("user-", i))
		members = append(members, &member{c: c, id: c.uniqID()})
	}
	do := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 300
	room := []string{"room"}
	begun := time.Now()
	for n := range rounds {
		say := func(text string) []byte { return fmt.Appendf(nil, "%s %d", text, n) }
		publish := func(to ...*member) {
			for k := range 3 { // of which one may be in a frame with others
				text := fmt.Appendf(nil, "%d.%d", n, k)
				do(w.TopicPublish(ctx, room, text))
				for _, m := range to {
					m.want = append(m.want, string(text))
				}
			}
		}
		m, other := members[n%3], members[(n+1)%3]
		do(w.TopicPublish(ctx, room, say("to nobody")))
		do(w.TopicSubscribe(ctx, m.id, room, say("in")))
		m.want = append(m.want, string(say("in")))
		publish(m)
		do(w.TopicSubscribe(ctx, other.id, room, say("in")))
		other.want = append(other.want, string(say("in")))
		publish(m, other)
		next := fmt.Sprintf("%s-%d", m.id[:16], n)
		do(w.ConnInfoUpdate(ctx, worker.ConnInfoUpdate{UniqID: m.id, NewUniqID: next, NewTopics: []string{""}, Data: say("another")}))
		m.id, m.want = next, append(m.want, string(say("another")))
		publish(other)
		do(w.TopicUnsubscribe(ctx, other.id, room, say("out")))
		other.want = append(other.want, string(say("out")))
	}
	for i, m := range members {
		for k, want := range m.want {
			if got := m.c.text(); got != want {
				t.Fatalf("the client of gateway %d got %q as number %d, want %q", i+1, got, k, want)
			}
		}
	}
	t.Logf("%d changes in %v", 4*rounds, time.Since(begun))
	for _, g := range list {
		for _, kind := range []string{"lost", "overtaking", "bad"} {
			if n := g.metric(fmt.Sprintf("sluice_cluster_worker_commands_total{kind=%q}", kind)); n != 0 {
				t.Errorf("gateway %d: %v commands are %s", g.id, n, kind)
			}
		}
	}
}
