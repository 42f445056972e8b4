package bench

import (
	"errors"
	"testing"
)

// TestTargetsAreDealt: each topic has members on each gateway, and each gateway its share of publishers.
func TestTargetsAreDealt(t *testing.T) {
	for _, topics := range []int{1, 2, 3, 4, 5, 100} {
		p, err := Config{
			Scenario: "fanout", Target: "tcp://127.0.0.1:1", Others: []string{"tcp://127.0.0.1:2", "127.0.0.1:3"},
			Connections: 1200, Topics: topics, Publishers: 6,
		}.plan()
		if err != nil {
			t.Fatal(err)
		}
		type place struct {
			group int
			port  uint16
		}
		members := make(map[place]int)
		for i := range p.Connections {
			members[place{i % p.groups, p.addr(i).tcp.Port()}]++
		}
		for group := range p.groups {
			for port := range uint16(3) {
				n, want := members[place{group, port + 1}], p.Connections/p.groups/3
				if n != want && n != want+1 {
					t.Errorf("%d topics: %d has %d members on gateway %d, want %d", topics, group, n, port+1, want)
				}
			}
		}
	}
}

func TestTargetsDiffer(t *testing.T) {
	for _, other := range []string{
		"tls://127.0.0.1:2", "ws://127.0.0.1:2/gosoc", "tcp://127.0.0.1", "udp://127.0.0.1:2", "",
	} {
		c := Config{Scenario: "fanout", Target: "tcp://127.0.0.1:1", Others: []string{other}}
		if _, err := c.plan(); !errors.Is(err, ErrConfig) {
			t.Errorf("%q beside %s: %v", other, c.Target, err)
		}
	}
}
