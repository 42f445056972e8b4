package clustertest

import (
	"testing"
	"time"
)

// A gateway whose line to NATS has 50 ms and 256 kB/s, and which is to get more than that, slows nobody
// down. It is told so, misses some, and is whole again when the line is.
func TestSlowLine(t *testing.T) { // alone, since it measures
	long(t)
	s := launchNATS(t)
	p := startProxy(t, s.port())
	list := []*gateway{serve(t, 1, "--cluster", s.url), serve(t, 2, "--cluster", s.url), serve(t, 3, "--cluster", p.url())}
	for _, g := range list {
		g.knows(3)
	}
	near, far := list[1].login(), list[2].login()
	near.subscribe("news", "other")
	far.subscribe("news")
	m, mFar := measure(t, near), measure(t, far)
	src := list[0].source("news", time.Millisecond, 2000) // 2 MB/s
	time.Sleep(time.Second)
	before := m.figure(list[0].stretch(3*time.Second, list[1]))
	heap := list[2].heap()
	p.slow(50*time.Millisecond, 256e3)
	// Until it is known that the line stays slow the others wait for it now and then.
	first := m.figure(list[0].stretch(12*time.Second, list[1]))
	during := m.figure(list[0].stretch(8*time.Second, list[1]))
	await(t, "the far gateway to be bypassed", func() bool { return list[0].metric("sluice_cluster_nodes_bypassed") == 1 })
	list[0].logged("does not keep up")
	if now := list[2].heap(); now > heap+64<<20 {
		t.Errorf("the far gateway takes %.0f MiB, %.0f before", now/(1<<20), heap/(1<<20))
	}
	// Who subscribes there is answered, and what is published behind that is not missed.
	late := list[2].login()
	late.subscribe("late")
	p.slow(0, 0)
	await(t, "the far gateway to be whole", func() bool { return list[0].metric("sluice_cluster_nodes_bypassed") == 0 })
	at := time.Now()
	await(t, "messages there", func() bool { return len(mFar.between(at.Add(time.Second), time.Now())) > 500 })
	list[2].logged("messages of another node have not come")
	after := m.figure(list[0].stretch(3*time.Second, list[1]))
	src.end()
	pub := list[1].login()
	pub.publish("late", 1)
	late.want(1, 1)
	for _, f := range []struct {
		name string
		figure
	}{{"before", before}, {"first 12 s", first}, {"slow line", during}, {"behind it", after}} {
		t.Logf("%-12s %7.0f/s, p50 %v, p99 %v, %v CPU per message", f.name, f.rate, f.p50, f.p99, f.cpu)
	}
	if during.rate < before.rate*0.7 {
		t.Errorf("%.0f messages a second beside the slow line, %.0f before", during.rate, before.rate)
	}
	reasons(t, list...)
}
