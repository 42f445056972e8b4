package clustertest

import (
	"io"
	"sync"
	"testing"
	"time"
)

// A gateway is cut off from NATS, without a word, for longer than it takes the others to suspect it, and
// then is back. Its clients are served on, what they subscribe to meanwhile is honoured, and what is
// published behind that misses nobody and comes once, in order, in both directions.
func TestPartition(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	p := startProxy(t, s.options.Port)
	a := serve(t, 1, "--cluster", s.url())
	b := serve(t, 2, "--cluster", p.url())
	c := serve(t, 3, "--cluster", s.url())
	list := []*gateway{a, b, c}
	for _, g := range list {
		g.knows(3)
	}
	stop := make(chan struct{})
	var hearing sync.WaitGroup
	counts, lasts := make([]int, 3), make([]int, 3)
	for i, g := range list {
		sub := g.login()
		sub.subscribe("news")
		hearing.Go(func() { heard(t, sub, stop, &counts[i], &lasts[i]) })
	}
	late := b.login() // subscribes while its gateway is alone
	back := a.login()
	back.subscribe("back")
	connected := func(is float64) func() bool {
		return func() bool {
			return b.metric(`sluice_cluster_connected{connection="data"}`) == is &&
				b.metric(`sluice_cluster_connected{connection="control"}`) == is
		}
	}
	n := run(t, a.login(), "news", func() {
		time.Sleep(300 * time.Millisecond)
		p.stall(true)
		await(t, "the loss of the connection", connected(0))
		begun := time.Now()
		late.subscribe("late")
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("a subscription of a gateway that is alone takes %v", d)
		}
		time.Sleep(7 * time.Second)
		p.stall(false)
		await(t, "the connection", connected(1))
		for _, g := range list {
			g.knows(3)
		}
		time.Sleep(2 * time.Second)
	})
	for _, g := range []*gateway{a, c} { // by now it is known who wants what
		pub := g.login()
		pub.publish("late", g.id)
		late.want(g.id, g.id)
	}
	pub := b.login()
	for i := 1; i <= 50; i++ {
		pub.publish("back", i)
	}
	back.want(1, 50)
	if m, err := late.push(200 * time.Millisecond); err != io.EOF {
		t.Errorf("%d came twice, %v", m, err)
	}
	time.Sleep(300 * time.Millisecond)
	close(stop)
	hearing.Wait()
	for i, g := range list {
		if cut := g == b; lasts[i] != n || (counts[i] == n) == cut {
			t.Errorf("gateway %d: %d of %d arrived, the last %d", g.id, counts[i], n, lasts[i])
		}
	}
	t.Logf("%d published, %d arrived where the line was cut", n, counts[1])
}
