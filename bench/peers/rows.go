package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// A row is one comparison: a load at one or several points, and who takes part.
type row struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Unit    string   `json:"unit"` // what CPU time is given per
	Peers   []string `json:"peers"`
	Main    string   `json:"main"`           // the metric that is drawn
	Axis    string   `json:"axis,omitempty"` // of growth rows: what changes from point to point
	Points  []point  `json:"points"`
	Targets []target `json:"targets,omitempty"`
}

// A point is a load. Target, protocol and what to watch are the peer's.
type point struct {
	X      float64      `json:"x"` // on the axis
	Loops  int          `json:"loops,omitempty"`
	Config bench.Config `json:"config"`
}

// A target is a bound on a metric of sluice, or on its ratio to that of a peer.
type target struct {
	Metric  string  `json:"metric"`
	AtLeast bool    `json:"at_least,omitempty"` // else at most
	Bound   float64 `json:"bound"`
	Against string  `json:"against,omitempty"`
}

// Names of peers.
const (
	sluice    = "sluice"
	sender    = "sender"
	gnetecho  = "gnetecho"
	natsOld   = "nats-2.9"
	natsNew   = "nats-2.15"
	mosquitto = "mosquitto"
)

// rows are all comparisons, as long and as large as s says.
func rows(s settings) []row {
	all := append(mainRows(s), growthRows(s)...)
	for i := range all {
		for k := range all[i].Points {
			all[i].Points[k].Config = finish(all[i].Points[k].Config, s)
		}
	}
	return all
}

// finish fills in what all loads have in common.
func finish(c bench.Config, s settings) bench.Config {
	if c.Duration == 0 {
		c.Duration = s.duration
	}
	if c.Warmup == 0 && c.Scenario != "connect" {
		c.Warmup = min(2*time.Second, s.duration/4)
	}
	c.Loops = s.genLoops
	c.Dialing = 100 // mosquitto listens with a backlog of 100
	c.Ping = -1     // no run is long enough to need them
	if s.quick && c.Scenario != "echo" {
		c.Connections = max(c.Connections/10, 10)
	}
	return c
}

func mainRows(s settings) []row {
	brokers := []string{mosquitto, natsOld, natsNew}
	echo := func(depth int) []point {
		return []point{{Config: bench.Config{Scenario: "echo", Connections: 100, Depth: depth}}}
	}
	idle := func(n int) row {
		return row{
			Name: fmt.Sprintf("idle%dk", n/1000), Title: fmt.Sprintf("Idle: %d connections with one subscription each", n),
			Unit: "connection", Main: "conn", Peers: append([]string{sluice}, brokers...),
			Points: []point{{Config: bench.Config{
				Scenario: "idle", Connections: n, TokenPrefix: "u",
			}}},
			Targets: []target{{"conn", false, 1, mosquitto}, {"conn", false, 1024, ""}},
		}
	}
	return []row{
		{
			Name: "fanout1k", Title: "Fan-out: 1,000 subscribers of one topic, 150 publishes/s, 100 B",
			Unit: "delivery", Main: "cpu", Peers: append([]string{sluice, sender}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000, Rate: 150}}},
			Targets: []target{
				{"cpu", false, 1.05, sender}, {"cpu", false, 1, natsOld}, {"cpu", false, 1, natsNew}, {"cpu", false, 1, mosquitto},
			},
		},
		{
			Name: "fanout10k", Title: "Fan-out: 10,000 subscribers of one topic, 8 publishes/s, 100 B",
			Unit: "delivery", Main: "cpu", Peers: append([]string{sluice, sender}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 10_000, Rate: 8}}},
			Targets: []target{
				{"cpu", false, 1.05, sender}, {"cpu", false, 1, natsOld}, {"cpu", false, 1, natsNew}, {"cpu", false, 1, mosquitto},
			},
		},
		{
			Name: "flood", Title: "Fan-out as fast as possible: 1,000 subscribers of one topic, 100 B",
			Unit: "delivery", Main: "rate", Peers: append([]string{sluice, sender}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000, Duration: s.duration / 2}}},
			Targets: []target{
				{"rate", true, 5, natsOld}, {"cpu", false, 0.2, natsOld},
				{"lost", false, 0, ""}, {"closed", false, 0, ""}, {"rss", false, 300 << 20, ""},
			},
		},
		{
			Name: "echo1", Title: "Echo: 100 connections, one request at a time, 100 B",
			Unit: "request", Main: "cpu", Peers: []string{sluice, gnetecho}, Points: echo(1),
			Targets: []target{{"cpu", false, 1.05, gnetecho}, {"p99", false, 1, gnetecho}},
		},
		{
			Name: "echo16", Title: "Echo: 100 connections, 16 requests at a time, 100 B",
			Unit: "request", Main: "cpu", Peers: []string{sluice, gnetecho}, Points: echo(16),
			Targets: []target{{"cpu", false, 1.3, gnetecho}, {"p99", false, 1, gnetecho}},
		},
		idle(10_000),
		idle(19_000),
		{
			Name: "storm", Title: "Login storm: 10,000 connections log in and subscribe to one topic",
			Unit: "login", Main: "cpu", Peers: append([]string{sluice}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "connect", Connections: 10_000, TokenPrefix: "u", Duration: time.Minute}}},
			Targets: []target{
				{"cpu", false, 0.7, mosquitto}, {"cpu", false, 0.5, natsOld}, {"cpu", false, 0.5, natsNew},
			},
		},
	}
}

// growthDeliveries per second is what most growth rows hold constant, so that only the shape of the load changes.
const growthDeliveries = 20_000

func growthRows(s settings) []row {
	span := s.duration / 2
	fanout := func(c bench.Config) bench.Config {
		c.Scenario, c.Duration = "fanout", span
		return c
	}
	var connections, topics, sizes, floods, echoes []point
	for _, n := range []int{100, 300, 1000, 3000, 10_000, 19_000} {
		connections = append(connections, point{X: float64(n), Config: fanout(bench.Config{Connections: n, Rate: 2 * growthDeliveries / float64(n)})})
	}
	for _, n := range []int{1, 10, 100, 1000, 10_000, 100_000} {
		const subscribers = 1000
		perPublish := max(subscribers/n, 1)
		topics = append(topics, point{X: float64(n), Config: fanout(bench.Config{
			Connections: subscribers, Topics: n, Rate: float64(growthDeliveries / perPublish), StepTimeout: time.Minute,
		})})
	}
	for _, n := range []int{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		const subscribers, bytesPerSecond = 1000, 200e6
		rate := min(growthDeliveries, bytesPerSecond/float64(n)) / subscribers
		sizes = append(sizes, point{X: float64(n), Config: fanout(bench.Config{Connections: subscribers, Size: n, Rate: rate})})
	}
	for n := 1; n <= 2*runtime.NumCPU(); n *= 2 {
		floods = append(floods, point{X: float64(n), Loops: n, Config: fanout(bench.Config{Connections: 1000})})
		echoes = append(echoes, point{X: float64(n), Loops: n, Config: bench.Config{Scenario: "echo", Connections: 100, Depth: 16, Duration: span}})
	}
	return []row{
		{
			Name: "connections", Title: "Growth with connections: one topic, 40,000 deliveries/s in all, 100 B", Axis: "connections",
			Unit: "delivery", Main: "cpu", Peers: []string{sluice, sender, natsNew, mosquitto}, Points: connections,
		},
		{
			Name: "topics", Title: "Growth with topics: 1,000 subscribers, 20,000 deliveries/s in all, 100 B", Axis: "topics",
			Unit: "delivery", Main: "cpu", Peers: []string{sluice, natsNew, mosquitto}, Points: topics,
		},
		{
			Name: "size", Title: "Growth with message size: 1,000 subscribers of one topic, 20,000 deliveries/s or 200 MB/s in all", Axis: "bytes",
			Unit: "delivery", Main: "cpu", Peers: []string{sluice, sender, natsNew, mosquitto}, Points: sizes,
		},
		{
			Name: "loops-flood", Title: "Growth with loops: fan-out as fast as possible, 1,000 subscribers, 100 B", Axis: "loops",
			Unit: "delivery", Main: "rate", Peers: []string{sluice, sender}, Points: floods,
		},
		{
			Name: "loops-echo", Title: "Growth with loops: echo, 100 connections, 16 requests at a time", Axis: "loops",
			Unit: "request", Main: "rate", Peers: []string{sluice, gnetecho}, Points: echoes,
		},
	}
}
