package clustertest

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stranger that says 10,000 things a second on all subjects, garbage and what it has heard, costs CPU time
// and nothing else: messages come as before, and the log says it a few times.
func TestFlood(t *testing.T) { // alone, since it measures
	long(t)
	s := launchNATS(t)
	list := serveAll(t, 2, append(rooms, "--cluster", s.url)...)
	sub := list[1].login()
	sub.subscribe("news", "room.1")
	m := measure(t, sub)
	x := newStranger(t, s.url)
	src := list[0].source("news", 2*time.Millisecond, 64)
	x.await("sluice.default.n.all")
	x.await("sluice.default.t.")
	heard := x.take()
	before := m.figure(list[0].stretch(3*time.Second, list[1]))
	heap := list[1].heap()
	stop := make(chan struct{})
	said := 0
	var flood sync.WaitGroup
	flood.Go(func() {
		subjects := strangeSubjects()
		for next := time.Now(); ; next = next.Add(10 * time.Millisecond) {
			select {
			case <-stop:
				return
			case <-time.After(time.Until(next)):
			}
			for range 100 {
				said++
				subject, data := subjects[rand.IntN(len(subjects))], make([]byte, rand.IntN(300))
				if said%2 == 0 {
					f := heard[rand.IntN(len(heard))]
					subject, data = f.Subject, f.Data
				}
				if strings.Contains(subject, ".h.") {
					continue
				}
				if err := x.nc.Publish(subject, data); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	during := m.figure(list[0].stretch(5*time.Second, list[1]))
	late := list[0].login()
	late.subscribe("late")
	pub := list[1].login()
	pub.publish("late", 1)
	late.want(1, 1)
	close(stop)
	flood.Wait()
	after := m.figure(list[0].stretch(2*time.Second, list[1]))
	src.end()
	for _, f := range []struct {
		name string
		figure
	}{{"before", before}, {"flood", during}, {"behind it", after}} {
		t.Logf("%-12s %7.0f/s, p50 %v, p99 %v, %v CPU per message", f.name, f.rate, f.p50, f.p99, f.cpu)
	}
	t.Logf("%d things were said", said)
	if during.rate < before.rate*0.7 {
		t.Errorf("%.0f messages a second in a flood, %.0f before", during.rate, before.rate)
	}
	for _, g := range list {
		g.knows(2)
		if n := len(g.stderr.String()); n > 256<<10 {
			t.Errorf("gateway %d has written %d bytes of log", g.id, n)
		}
		if n := g.sum("sluice_cluster_frames_ignored_total") + g.sum("sluice_cluster_commands_ignored_total"); n < float64(said)/4 {
			t.Errorf("gateway %d has ignored %v", g.id, n)
		}
		if n := g.sum("sluice_cluster_dropped_total"); n != 0 {
			t.Errorf("gateway %d has dropped %v", g.id, n)
		}
	}
	if now := list[1].heap(); now > heap+64<<20 {
		t.Errorf("a gateway takes %.0f MiB, %.0f before", now/(1<<20), heap/(1<<20))
	}
	reasons(t, list...)
}
