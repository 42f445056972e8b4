package clustertest

import (
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A duet is publishers of numbered messages to room.1, one after the other's answer, on several gateways,
// and subscribers of all.
type duet struct {
	t     *testing.T
	list  []*gateway
	pubs  []*gateway // of publishers
	subs  []*client
	stop  chan struct{}
	tasks sync.WaitGroup

	mu      sync.Mutex
	taken   []int // that were confirmed
	asked   int
	refused map[string]int
	stood   time.Duration // the longest time that passed between two confirmations
}

// perform begins to publish on some gateways; number n of publisher i is i*1e6 + n.
func perform(t *testing.T, list []*gateway, publishers int, pause time.Duration) *duet {
	t.Helper()
	d := &duet{t: t, list: list, stop: make(chan struct{}), refused: make(map[string]int)}
	for _, g := range list {
		c := g.login()
		c.subscribe("room.1")
		d.subs = append(d.subs, c)
	}
	for i := range publishers {
		d.pubs = append(d.pubs, list[i])
		c := list[i].login()
		d.tasks.Go(func() { d.publish(c, (i+1)*1_000_000, pause) })
	}
	return d
}

func (d *duet) publish(c *client, from int, pause time.Duration) {
	last := time.Now()
	for n := from + 1; ; n++ {
		select {
		case <-d.stop:
			return
		case <-time.After(pause):
		}
		if err := c.send("sluice.Publish", message("room.1", n)); err != nil {
			d.t.Error(err)
			return
		}
		_, body, err := c.packet(2 * patience)
		if err != nil {
			d.t.Error(err)
			return
		}
		d.mu.Lock()
		d.asked++
		if strings.Contains(string(body), `"status":0`) {
			d.taken = append(d.taken, n)
			d.stood = max(d.stood, time.Since(last))
			last = time.Now()
		} else {
			_, why, _ := strings.Cut(string(body), `"message":"`)
			why, _, _ = strings.Cut(why, `"`)
			d.refused[why]++
		}
		d.mu.Unlock()
	}
}

// check ends it. Subscribers have got the same, publishers' messages in their order, each once, and all that
// were confirmed; or a gap, where gaps says that there may be some.
func (d *duet) check(gaps bool) {
	d.t.Helper()
	close(d.stop)
	d.tasks.Wait()
	// A client is answered before its message is in the log. Behind it is what is published later on the same
	// gateway; what comes by another may be before.
	const end = 99_000_000
	for i, g := range d.pubs {
		c := g.login()
		await(d.t, "a publish", func() bool {
			if err := c.send("sluice.Publish", message("room.1", end+i)); err != nil {
				return false
			}
			_, body, err := c.packet(patience)
			return err == nil && strings.Contains(string(body), `"status":0`)
		})
	}
	var first []int
	for i, c := range d.subs {
		var list []int
		told := 0
		for ends := make(map[int]bool); len(ends) < len(d.pubs); {
			g, err := c.next(patience)
			if err != nil {
				d.t.Fatalf("subscriber %d: %v behind %v", i, err, list[max(0, len(list)-3):])
			}
			if g.gap {
				told++
				continue
			}
			if g.n >= end {
				ends[g.n] = true
				continue
			}
			list = append(list, g.n)
		}
		if told > 0 && !gaps {
			d.t.Errorf("subscriber %d is told of %d gaps", i, told)
		}
		lasts := make(map[int]int)
		for _, n := range list {
			if n <= lasts[n/1_000_000] {
				d.t.Errorf("subscriber %d: %d behind %d", i, n, lasts[n/1_000_000])
			}
			lasts[n/1_000_000] = n
		}
		got := make(map[int]bool, len(list))
		for _, n := range list {
			got[n] = true
		}
		counted := 0 // which did not get into the log
		for _, g := range d.list {
			counted += int(g.sum("sluice_cluster_history_refused_total"))
		}
		missing := slices.DeleteFunc(slices.Clone(d.taken), func(n int) bool { return got[n] })
		if len(missing) > counted && told == 0 {
			d.t.Errorf("subscriber %d lacks %d that were confirmed, %d were counted, the first %d", i, len(missing), counted, missing[0])
		}
		if i == 0 {
			first = list
		} else if told == 0 && !slices.Equal(list, first) {
			d.t.Errorf("subscriber %d got others, or in another order, than the first", i)
		}
	}
	d.t.Logf("%d of %d messages were confirmed, %d came; publishing stood still for %v at most; %v", len(d.taken), d.asked,
		len(first), d.stood.Round(time.Millisecond), d.refused)
}

// serveBeside starts gateways, each of which is told of one of the NATS servers, and finds the others.
func serveBeside(t *testing.T, servers natsCluster, n int, args ...string) []*gateway {
	t.Helper()
	list := make([]*gateway, n)
	for i := range list {
		list[i] = launch(t, i+1, append(args, "--cluster", servers[i].url)...)
	}
	for _, g := range list {
		g.serving().knows(n)
	}
	return list
}

const historyStream = "SLUICE_default_H"

// The stream's leader, one of three servers, is killed, and comes back, while two gateways publish: each
// confirmed message arrives once, on all gateways in one order.
func TestLogLeaderDies(t *testing.T) { // alone, since it keeps the machine busy
	long(t)
	servers := launchNATSCluster(t, 3)
	for _, storage := range []string{"memory", "file"} {
		t.Run(storage, func(t *testing.T) {
			list := serveBeside(t, servers, 3, append(rooms, "--cluster-history-storage", storage, "--cluster-name", storage)...)
			d := perform(t, list, 2, 2*time.Millisecond)
			for range 2 {
				time.Sleep(time.Second)
				i := servers.leader("SLUICE_" + storage + "_H")
				servers[i].kill()
				await(t, "the next leader", func() bool { return servers.leader("SLUICE_"+storage+"_H") != i })
				time.Sleep(time.Second)
				servers[i].start()
				servers.whole("SLUICE_" + storage + "_H")
			}
			d.check(false)
			for _, g := range list {
				t.Logf("gateway %d: %v sent again, %v twice, %v holes, %v reads", g.id, g.metric("sluice_cluster_history_again_total"),
					g.metric("sluice_cluster_history_twice_total"), g.metric("sluice_cluster_history_holes_total"),
					g.metric("sluice_cluster_history_reads_total"))
				g.terminate()
			}
		})
	}
}

// All three servers are restarted, one after the other, under load: nothing of histories is lost or comes
// twice, and gateways keep their server ids.
func TestServersRollingRestart(t *testing.T) { // alone, since it keeps the machine busy
	long(t)
	servers := launchNATSCluster(t, 3)
	list := serveBeside(t, servers, 3, append(rooms, "--cluster-history-storage", "file")...)
	plain := list[1].login()
	plain.subscribe("news")
	m := measure(t, plain)
	src := list[0].source("news", 2*time.Millisecond, 64)
	d := perform(t, list, 2, 2*time.Millisecond)
	for i := range servers {
		time.Sleep(time.Second)
		servers[i].terminate()
		time.Sleep(500 * time.Millisecond)
		servers[i].start()
		servers[i].listening()
		servers.whole(historyStream)
		servers.whole("KV_sluice_default_nodes")
	}
	d.check(false)
	at := time.Now()
	await(t, "plain messages", func() bool { return len(m.between(at, time.Now())) > 100 })
	src.end()
	for _, g := range list {
		g.knows(3)
		if g.metric("sluice_cluster_lease_held") != 1 {
			t.Errorf("gateway %d has lost its server id", g.id)
		}
	}
	reasons(t, list...)
}

// One of three servers stands still: its gateways go to others, and those of the others go on.
func TestServerStopped(t *testing.T) { // alone, since it measures
	long(t)
	servers := launchNATSCluster(t, 3)
	list := serveBeside(t, servers, 3)
	var meters []*meter
	for _, g := range list {
		c := g.login()
		c.subscribe("news")
		meters = append(meters, measure(t, c))
	}
	src := list[0].source("news", time.Millisecond, 64)
	time.Sleep(time.Second)
	before := meters[1].figure(list[0].stretch(3*time.Second, list[1]))
	servers[2].signal(syscall.SIGSTOP)
	first := meters[1].figure(list[0].stretch(500*time.Millisecond, list[1]))
	stopped := list[0].stretch(4500*time.Millisecond, list[1])
	after := meters[1].figure(stopped)
	moved := len(meters[2].between(stopped.to.Add(-time.Second), stopped.to))
	servers[2].signal(syscall.SIGCONT)
	time.Sleep(2 * time.Second)
	src.end()
	for _, f := range []struct {
		name string
		figure
	}{{"before", before}, {"first 0.5 s", first}, {"then", after}} {
		t.Logf("%-12s %7.0f/s, p50 %v, p99 %v, %v CPU per message", f.name, f.rate, f.p50, f.p99, f.cpu)
	}
	if after.rate < before.rate*0.7 {
		t.Errorf("%.0f messages a second beside a server that stands still, %.0f before", after.rate, before.rate)
	}
	if moved == 0 {
		t.Error("the stopped server's gateway gets nothing from another")
	}
	for _, g := range list {
		g.knows(3)
	}
	reasons(t, list...)
}

// The only server stands still for 5 s: clients are served on, publishes to histories fail or wait, and all
// goes on when it runs again.
func TestOnlyServerStopped(t *testing.T) {
	t.Parallel()
	long(t)
	s := launchNATS(t)
	list := serveAll(t, 3, append(rooms, "--cluster", s.url)...)
	local, pub := list[0].login(), list[0].login()
	local.subscribe("news")
	d := perform(t, list, 2, 5*time.Millisecond)
	time.Sleep(time.Second)
	if err := syscall.Kill(s.pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	var slowest time.Duration
	for n := 1; time.Since(begun) < 5*time.Second; n++ {
		at := time.Now()
		pub.publish("news", n)
		local.want(n, n)
		slowest = max(slowest, time.Since(at))
		time.Sleep(5 * time.Millisecond)
	}
	if err := syscall.Kill(s.pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	t.Logf("a plain message on one gateway took %v at most meanwhile", slowest)
	natsConnected(t, list...)
	for _, g := range list {
		g.knows(3)
	}
	time.Sleep(time.Second)
	d.check(false)
	reasons(t, list...)
}
