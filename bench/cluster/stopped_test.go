package clustertest

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// A gateway that stands still costs the others nothing from half a second on: messages between two others
// come as fast, and cost as much, as before, paced and flat out. When it runs again it gets what comes then.
func TestStoppedCostsNothing(t *testing.T) { // alone, since it measures
	long(t)
	for _, tt := range []struct {
		name  string
		topic string
		every time.Duration
		size  int
	}{
		{"paced", "news", 2 * time.Millisecond, 64}, {"flat out", "news", 0, 64},
		{"flat out, more than NATS keeps", "news", 0, 4000},
		{"history, more than NATS keeps", "room.1", 0, 4000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := launchNATS(t)
			list := serveAll(t, 3, append(rooms, "--cluster", s.url)...)
			sub, third := list[1].login(), list[2].login()
			sub.subscribe(tt.topic)
			third.subscribe(tt.topic)
			m, m3 := measure(t, sub), measure(t, third)
			src := list[0].source(tt.topic, tt.every, tt.size)
			time.Sleep(time.Second)
			before := m.figure(list[0].stretch(3*time.Second, list[1]))
			list[2].signal(syscall.SIGSTOP)
			first := m.figure(list[0].stretch(500*time.Millisecond, list[1]))
			after := m.figure(list[0].stretch(4*time.Second, list[1]))
			list[2].signal(syscall.SIGCONT)
			woken := time.Now()
			again := m.figure(list[0].stretch(3*time.Second, list[1]))
			await(t, "the third to get what is published now", func() bool { return len(m3.between(woken.Add(time.Second), time.Now())) > 10 })
			src.end()
			for _, f := range []struct {
				name string
				figure
			}{{"before", before}, {"first 0.5 s", first}, {"then", after}, {"woken", again}} {
				t.Logf("%-12s %7.0f/s, p50 %v, p99 %v, %v CPU per message", f.name, f.rate, f.p50, f.p99, f.cpu)
			}
			t.Logf("ratios: rate %.2f, CPU %.2f, p99 %.2f", after.rate/before.rate, float64(after.cpu)/float64(before.cpu),
				float64(after.p99)/float64(before.p99))
			if after.rate < before.rate/2 {
				t.Errorf("%.0f messages a second behind the stop, %.0f before", after.rate, before.rate)
			}
			list[0].knows(3)
			reasons(t, list...)
		})
	}
}

// reasons logs what gateways have missed, and wants them to have their connections.
func reasons(t *testing.T, list ...*gateway) {
	t.Helper()
	for _, g := range list {
		text := ""
		for _, reason := range []string{"lost", "late", "away", "queue-full"} {
			if n := g.metric(fmt.Sprintf("sluice_cluster_messages_missed_total{reason=%q}", reason)); n > 0 {
				text += fmt.Sprintf(" %v %s", n, reason)
			}
		}
		t.Logf("gateway %d: missed%s; %v disconnects, %v excluded, %v distrusts", g.id, text, g.sum("sluice_cluster_disconnects_total"),
			g.metric("sluice_cluster_nodes_excluded"), g.metric("sluice_cluster_distrusts_total"))
	}
}
