package main

import (
	"runtime"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// growthDeliveries per second is what most growth rows hold constant, so that only the shape of the load changes.
const growthDeliveries = 20_000

func growthRows(s settings) []row {
	span := s.duration / 2
	fanout := func(c bench.Config) bench.Config {
		c.Scenario, c.Duration = "fanout", span
		return c
	}
	var connections, topics, sizes, floods, echoes []point
	for _, n := range []int{100, 1000, 10_000, 19_000} {
		connections = append(connections, point{X: float64(n), Config: fanout(bench.Config{Connections: n, Rate: 2 * growthDeliveries / float64(n)})})
	}
	for _, n := range []int{1, 10, 100, 1000, 10_000, 100_000} {
		const subscribers = 1000
		perPublish := max(subscribers/n, 1)
		topics = append(topics, point{X: float64(n), Config: fanout(bench.Config{
			Connections: subscribers, Topics: n, Rate: float64(growthDeliveries / perPublish), StepTimeout: time.Minute,
		})})
	}
	for _, n := range []int{16, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
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
			About: "As many deliveries a second at every point, over more and more subscribers: a flat line says that a delivery costs the same however many subscribers there are. Where sender rises too, it is the kernel and the processor's caches.",
			Unit:  "delivery", Main: "cpu", Peers: []string{sluice, sender, natsNew, mosquitto}, Points: connections,
		},
		{
			Name: "topics", Title: "Growth with topics: 1,000 subscribers, 20,000 deliveries/s in all, 100 B", Axis: "topics",
			About: "As many deliveries a second at every point, over more and more topics; from 1,000 topics on every subscriber hears as many as it takes, and each publication reaches one. With one topic 20 publications a second are read, looked up and answered, from 1,000 on 20,000: there the price of a publication is part of every delivery.",
			Unit:  "delivery", Main: "cpu", Peers: []string{sluice, natsNew, mosquitto}, Points: topics,
		},
		{
			Name: "size", Title: "Growth with message size: 1,000 subscribers of one topic, 20,000 deliveries/s or 200 MB/s in all", Axis: "bytes",
			About: "Where copying takes over from system calls.",
			Unit:  "delivery", Main: "cpu", Peers: []string{sluice, sender, natsNew, mosquitto}, Points: sizes,
		},
		{
			Name: "loops-flood", Title: "Growth with loops: fan-out as fast as possible, 1,000 subscribers, 100 B", Axis: "loops",
			About: "Whether a loop more is worth it. The generator needs a core too, so where there are few of them it is in the way of the last loops.",
			Unit:  "delivery", Main: "rate", Peers: []string{sluice, sender}, Points: floods,
		},
		{
			Name: "loops-echo", Title: "Growth with loops: echo, 100 connections, 16 requests at a time", Axis: "loops",
			About: "The same for requests.",
			Unit:  "request", Main: "rate", Peers: []string{sluice, gnetecho}, Points: echoes,
		},
	}
}
