package clustertest

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// What a client publishes on one gateway arrives in order, once, at subscribers on all.
func TestPublish(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	a, b, c := list[0].login(), list[1].login(), list[2].login()
	here := list[0].login()
	for _, sub := range []*client{here, b, c} {
		sub.subscribe("news")
	}
	const n = 5000
	for i := 1; i <= n; i++ {
		if err := a.send("sluice.Publish", message("news", i)); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for _, sub := range []*client{here, b, c} {
		all.Go(func() {
			for i := 1; i <= n; i++ {
				if m, err := sub.push(patience); err != nil || m != i {
					t.Errorf("push %d, %v, want %d", m, err, i)
					return
				}
			}
		})
	}
	all.Wait()
	// Nothing else, and nothing of topics that nobody has subscribed to.
	a.call("sluice.Publish", message("other", 1))
	b.publish("news", n+1)
	for _, sub := range []*client{here, c} {
		sub.want(n+1, n+1)
	}
}

// What is published after a subscription is answered reaches the subscriber, on whichever gateways.
func TestNothingMissed(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	a, b := list[0].login(), list[1].login()
	rounds := 200
	if testing.Short() {
		rounds = 50
	}
	for i := range rounds {
		topic := fmt.Sprintf("room/%d", i%20)
		b.subscribe(topic)
		a.publish(topic, i)
		if n, err := b.push(patience); err != nil || n != i {
			for _, g := range list {
				_, metrics := g.get("/metrics")
				for line := range strings.SplitSeq(metrics, "\n") {
					if strings.HasPrefix(line, "sluice_cluster_") && !strings.HasSuffix(line, " 0") {
						t.Logf("gateway %d: %s", g.id, line)
					}
				}
			}
			t.Fatalf("round %d: %d, %v", i, n, err)
		}
		b.unsubscribe(topic)
	}
}

// The same with three NATS servers, each gateway on its own.
func TestNothingMissedOverRoutes(t *testing.T) {
	t.Parallel()
	long(t)
	servers := startCluster(t, 3)
	list := make([]*gateway, 3)
	for i := range list {
		list[i] = serve(t, i+1, "--cluster", servers[i].url())
	}
	for _, g := range list {
		g.knows(3)
	}
	a, b, c := list[0].login(), list[1].login(), list[2].login()
	for i := range 1000 {
		topic := fmt.Sprintf("room/%d", i)
		for _, sub := range []*client{b, c} {
			sub.subscribe(topic)
		}
		a.publish(topic, i)
		for _, sub := range []*client{b, c} {
			if n, err := sub.push(patience); err != nil || n != i {
				t.Fatalf("round %d: %d, %v", i, n, err)
			}
		}
	}
}

// heard counts what a subscriber gets until stop, and wants it in order, each once at most.
func heard(t *testing.T, c *client, stop <-chan struct{}, count *int, last *int) {
	for {
		n, err := c.push(200 * time.Millisecond)
		switch {
		case err == io.EOF:
			select {
			case <-stop:
				return
			default:
			}
		case err != nil:
			t.Errorf("a subscriber: %v", err)
			return
		case n <= *last:
			t.Errorf("push %d behind %d", n, *last)
			return
		default:
			*count++
			*last = n
		}
	}
}

// run publishes numbers from a for a while, with f in between, and returns how many there were.
func run(t *testing.T, a *client, topic string, f func()) int {
	t.Helper()
	stop := make(chan struct{})
	n := 0
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			n++
			if err := a.send("sluice.Publish", message(topic, n)); err != nil {
				t.Errorf("publish %d: %v", n, err)
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	f()
	close(stop)
	publishing.Wait()
	return n
}

// NATS is killed and comes back: subscribers on the same gateway miss nothing, the others get what is
// published once it is back, in order and nothing twice.
func TestNATSKilled(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	a, here, there := list[0].login(), list[0].login(), list[1].login()
	here.subscribe("news")
	there.subscribe("news")
	stop := make(chan struct{})
	var counts, lasts [2]int
	var hearing sync.WaitGroup
	for i, c := range []*client{here, there} {
		hearing.Go(func() { heard(t, c, stop, &counts[i], &lasts[i]) })
	}
	n := run(t, a, "news", func() {
		time.Sleep(300 * time.Millisecond)
		s.stop()
		time.Sleep(time.Second)
		s.start()
		for _, g := range list {
			await(t, "the connection", func() bool { return g.metric(`sluice_cluster_connected{connection="data"}`) == 1 })
		}
		time.Sleep(500 * time.Millisecond)
	})
	a.publish("done", 1) // all that was sent has been handled
	time.Sleep(300 * time.Millisecond)
	close(stop)
	hearing.Wait()
	if counts[0] != n {
		t.Errorf("on the same gateway %d of %d arrived", counts[0], n)
	}
	if lasts[1] != n || counts[1] == n {
		t.Errorf("on the other %d of %d arrived, the last %d", counts[1], n, lasts[1])
	}
	t.Logf("%d published, %d arrived on the other gateway", n, counts[1])
}

// A gateway that stands still costs the others little, and gets what is published when it runs again.
func TestGatewayStopped(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	a, b, c := list[0].login(), list[1].login(), list[2].login()
	for _, sub := range []*client{b, c} {
		sub.subscribe("news")
	}
	a.publish("news", 1)
	b.want(1, 1)
	c.want(1, 1)
	list[2].signal(syscall.SIGSTOP)
	// A subscription waits for the one that does not answer, for a moment.
	begun := time.Now()
	b.subscribe("other")
	if d := time.Since(begun); d > patience {
		t.Errorf("a subscription took %v", d)
	}
	for i := 2; i <= 200; i++ {
		a.publish("news", i)
	}
	b.want(2, 200)
	if d := time.Since(begun); d > patience {
		t.Errorf("200 publishes took %v", d)
	}
	list[2].signal(syscall.SIGCONT)
	c.want(2, 200)
}

// A gateway that is killed is forgotten; the next of its id has its subscribers served at once.
func TestGatewayKilled(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	a, b := list[0].login(), list[1].login()
	b.subscribe("news")
	a.publish("news", 1)
	b.want(1, 1)
	list[1].kill()
	a.publish("news", 2)
	again := serve(t, 2, "--cluster", s.url())
	again.knows(2)
	list[0].knows(2)
	c := again.login()
	c.subscribe("news")
	a.publish("news", 3)
	c.want(3, 3)
	c.publish("back", 1)
	d := list[0].login()
	d.subscribe("back")
	c.publish("back", 2)
	d.want(2, 2)
}

// When the leader of JetStream dies, topics flow on and nobody loses his server id.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	long(t)
	servers := startCluster(t, 3)
	urls := servers[0].url() + "," + servers[1].url() + "," + servers[2].url()
	list := serveAll(t, 2, "--cluster", urls)
	a, b := list[0].login(), list[1].login()
	b.subscribe("news")
	for _, s := range servers {
		if s.JetStreamIsStreamLeader("$G", "KV_sluice_default_nodes") {
			s.stop()
			break
		}
	}
	await(t, "connections", func() bool {
		return list[0].metric(`sluice_cluster_connected{connection="data"}`) == 1 &&
			list[1].metric(`sluice_cluster_connected{connection="data"}`) == 1
	})
	time.Sleep(12 * time.Second) // an election
	a.publish("news", 1)
	b.want(1, 1)
	for _, g := range list {
		g.knows(2)
		await(t, "a renewal", func() bool { return g.metric("sluice_cluster_lease_age_seconds") < 3 })
	}
}

// Through a line that stands still, the gateway notices that NATS is away, and is back when it flows.
func TestLineStalled(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	p := startProxy(t, s.options.Port)
	a := serve(t, 1, "--cluster", s.url())
	b := serve(t, 2, "--cluster", p.url())
	a.knows(2)
	b.knows(2)
	from, to := a.login(), b.login()
	to.subscribe("news")
	from.publish("news", 1)
	to.want(1, 1)
	p.stall(true)
	await(t, "the loss of the connection", func() bool { return b.metric(`sluice_cluster_connected{connection="data"}`) == 0 })
	// Clients there are served on.
	other := b.login()
	other.subscribe("local")
	to.call("sluice.Publish", message("local", 7))
	other.want(7, 7)
	p.stall(false)
	await(t, "the connection", func() bool { return b.metric(`sluice_cluster_connected{connection="data"}`) == 1 })
	a.knows(2)
	await(t, "a message through it", func() bool {
		from.publish("news", 2)
		n, err := to.push(100 * time.Millisecond)
		return err == nil && n == 2
	})
}

// What a gateway publishes when it has stood still reaches those who have subscribed elsewhere meanwhile,
// though it has known before that nobody wanted it, and hears of them behind the publish.
func TestStoppedPublisher(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	a, b := list[0].login(), list[1].login()
	for round := range 4 {
		topic := fmt.Sprintf("news/%d", round)
		for i := range 20 { // nobody wants it, and the gateway gets to know that
			a.publish(topic, i)
			time.Sleep(5 * time.Millisecond)
		}
		list[0].signal(syscall.SIGSTOP)
		b.subscribe(topic)
		if err := a.send("sluice.Publish", message(topic, 1)); err != nil {
			t.Fatal(err)
		}
		list[0].signal(syscall.SIGCONT)
		b.want(1, 1)
		b.unsubscribe(topic)
		if h, _, err := a.packet(patience); err != nil || h.Type != gosoc.TypeSendResp {
			t.Fatalf("the publish is answered by a packet of type %d, %v", h.Type, err)
		}
	}
}
