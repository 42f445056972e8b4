package main

import (
	"time"

	"github.com/sluicenet/sluice/bench"
)

// workerRoute is what the attached worker, of this id, answers. Id 1 is the development worker inside the gateway.
const (
	workerRoute = "bench.Echo"
	workerID    = 2
)

// insideRows are about the gateway alone: what an attached worker adds, what its process allocates, and what its maps take.
func insideRows(s settings) []row {
	worker := func(name, title string, depth int) row {
		return row{
			Name: name, Title: title, How: attached,
			About: "Client, gateway, worker, gateway, client, against the gateway answering by itself; the worker is a Go process with the worker library, on the same cores. CPU is the gateway's alone.",
			Unit:  "request", Main: "cpu", Peers: []string{sluice, dev},
			Points:  []point{{Config: bench.Config{Scenario: "worker", Route: workerRoute, Connections: 100, Depth: depth}}},
			Targets: []target{{"cpu", false, 1.6, dev}},
		}
	}
	load := func(x float64, label string, c bench.Config) point {
		c.Duration = max(2*s.duration, 6*time.Second) // of which the first reading of the profile takes some
		return point{X: x, Label: label, Config: c}
	}
	entries := func(x float64, label string, topics int, sessions bool) point {
		return point{X: x, Label: label, Config: bench.Config{
			Scenario: inProcess, Connections: 1_000_000, Topics: topics, Resume: sessions, Duration: min(4*s.duration, 15*time.Second),
		}}
	}
	return []row{
		worker("worker1", "Worker round trip: 100 connections, one request at a time, 100 B", 1),
		worker("worker16", "Worker round trip: 100 connections, 16 requests at a time, 100 B", 16),
		{
			Name: "allocs", Title: "Allocations: objects allocated by the whole process per delivery or request", How: objects,
			About: "The gateway runs with GODEBUG=memprofilerate=1, so that its heap profile knows every object, and the profile (`alloc_objects` of /debug/pprof) is read before and after. " +
				"Serving that page is left out. An object that each delivery or request needs would count as 1; waking a loop takes two per drain, whatever the drain brings.",
			Unit: "delivery or request", Main: "allocs", Columns: []string{"allocs", "objects", "units", "rate"}, Peers: []string{sluice},
			Points: []point{
				load(1, "fan-out, 1,000 subscribers, 150 publishes/s", bench.Config{Scenario: "fanout", Connections: 1000, Rate: 150}),
				load(2, "fan-out as fast as possible, 1,000 subscribers", bench.Config{Scenario: "fanout", Connections: 1000}),
				load(3, "echo, 100 connections, 1 request at a time", bench.Config{Scenario: "echo", Connections: 100}),
				load(4, "echo, 100 connections, 16 requests at a time", bench.Config{Scenario: "echo", Connections: 100, Depth: 16}),
			},
			Targets: []target{{"allocs", false, 0.05, ""}}, Judged: 4,
		},
		{
			Name: "entries", Title: "One million entries in the maps of sessions and topics, without sockets", How: inProcess,
			About: "Live heap per entry, and the pauses of the garbage collector while 50,000 entries a second are replaced, each leaving 4 KiB of garbage. An entry is a uniqId in the directory, a user with " +
				"its name in the index of users, and a subscription. Percentiles are upper ends of the buckets of runtime/metrics. A pause lasts from when the collector asks all threads to stop " +
				"to when the one that has set them going again runs on; the column after the longest is how long they took to stop.",
			Unit: "entry", Main: "entry", Columns: []string{"entry", "pause50", "pause99", "pausemax", "stop99", "cycles", "gccpu", "rss"}, Peers: []string{sluice},
			Points: []point{
				entries(1, "1,000 topics", 1000, false),
				entries(2, "250,000 topics", 250_000, false),
				entries(3, "1,000 topics, and a session to be resumed", 1000, true),
			},
			Targets: []target{{"entry", false, 250, ""}, {"pause99", false, float64(time.Millisecond), ""}}, Judged: 2,
		},
	}
}
