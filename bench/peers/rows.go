package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluicenet/sluice/bench"
)

// A row is one comparison: a load at one or several points, and who takes part.
type row struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	About   string   `json:"about"` // what it shows, in plain words
	Unit    string   `json:"unit"`  // what CPU time is given per
	Peers   []string `json:"peers"`
	Main    string   `json:"main"`              // the metric that is drawn
	Columns []string `json:"columns,omitempty"` // of the table, if not the usual ones
	Axis    string   `json:"axis,omitempty"`    // of growth rows: what changes from point to point
	TLS     bool     `json:"tls,omitempty"`     // clients come with TLS
	Flags   []string `json:"flags,omitempty"`   // of sluice, beside the usual ones
	How     string   `json:"how,omitempty"`     // one of the ways below; empty: a load on a server
	Points  []point  `json:"points"`
	Targets []target `json:"targets,omitempty"`
	Judged  int      `json:"judged,omitempty"` // so many points must meet the targets; 0: the first

	Measured *measured `json:"measured,omitempty"` // empty in a row that is only planned
}

// Other ways to measure than a load on a server.
const (
	attached  = "worker"      // the gateway has a worker attached
	objects   = "allocations" // the gateway's heap profile is read before and after
	inProcess = "entries"     // nothing is served: the program in entries fills maps
)

// measured says when and with what a row was measured.
type measured struct {
	Started time.Time     `json:"started"`
	Ended   time.Time     `json:"ended"`
	Sluice  string        `json:"sluice"` // its version
	Repeats int           `json:"repeats"`
	Machine bench.Machine `json:"machine"`
}

// A point is a load. Target, protocol and what to watch are the peer's.
type point struct {
	X      float64      `json:"x"`               // on the axis
	Label  string       `json:"label,omitempty"` // where points have no axis
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
	dev       = "in-process" // sluice, but the development worker inside it answers
)

// rows are all comparisons, as long and as large as s says.
func rows(s settings) []row {
	all := slices.Concat(mainRows(s), tlsRows(), insideRows(s), growthRows(s))
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
		c.Warmup = min(time.Second, s.duration/4)
	}
	c.Loops = s.genLoops
	c.Dialing = 100 // mosquitto listens with a backlog of 100
	c.Ping = -1     // no run is long enough to need them
	if s.quick && c.Connections > 100 {
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
			Name: fmt.Sprintf("idle%dk", n/1000), Title: fmt.Sprintf("Idle: %d,000 connections with one subscription each", n/1000),
			About: "Resident memory that a connection which is logged in and subscribed adds, and the CPU time that all of them take while nothing happens.",
			Unit:  "connection", Main: "conn", Columns: []string{"conn", "rss", "cores"}, Peers: append([]string{sluice}, brokers...),
			Points: []point{{Config: bench.Config{
				Scenario: "idle", Connections: n, TokenPrefix: "u",
			}}},
			Targets: []target{{"conn", false, 1, mosquitto}, {"conn", false, 1024, ""}},
		}
	}
	return []row{
		{
			Name: "fanout1k", Title: "Fan-out: 1,000 subscribers of one topic, 150 publishes/s, 100 B",
			About: "One client publishes, every subscriber gets each message. At this rate a message leaves before the next one comes, so each delivery is one system call for everybody, and the bare sender shows what that costs.",
			Unit:  "delivery", Main: "cpu", Peers: append([]string{sluice, sender}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000, Rate: 150}}},
			Targets: []target{
				{"cpu", false, 1.05, sender}, {"cpu", false, 1, natsOld}, {"cpu", false, 1, natsNew}, {"cpu", false, 1, mosquitto},
			},
		},
		{
			Name: "fanout10k", Title: "Fan-out: 10,000 subscribers of one topic, 8 publishes/s, 100 B",
			About: "The same with ten times the subscribers: their sockets no longer fit into the processor's caches, which everybody pays for.",
			Unit:  "delivery", Main: "cpu", Peers: append([]string{sluice, sender}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 10_000, Rate: 8}}},
			Targets: []target{
				{"cpu", false, 1.05, sender}, {"cpu", false, 1, natsOld}, {"cpu", false, 1, natsNew}, {"cpu", false, 1, mosquitto},
			},
		},
		{
			Name: "flood", Title: "Fan-out as fast as possible: 1,000 subscribers of one topic, 100 B",
			About: "The publisher sends as much as the server takes. sluice sends what has gathered for a subscriber in one system call; a server that makes one call per message ends at the kernel's price. What was not delivered when the window ended is waited for, but with sender and mosquitto, which have read more than they deliver in minutes.",
			Unit:  "delivery", Main: "rate", Peers: append([]string{sluice, sender}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "fanout", Connections: 1000}}},
			Targets: []target{
				{"rate", true, 5, natsOld}, {"cpu", false, 0.2, natsOld},
				{"lost", false, 0, ""}, {"closed", false, 0, ""}, {"rss", false, 300 << 20, ""},
			},
		},
		{
			Name: "echo1", Title: "Echo: 100 connections, one request at a time, 100 B",
			About: "A request and its reply, a system call each way per request. gnetecho does the same without logins, limits, routes and timers: the price of gnet and the kernel.",
			Unit:  "request", Main: "cpu", Peers: []string{sluice, gnetecho}, Points: echo(1),
			Targets: []target{{"cpu", false, 1.05, gnetecho}, {"p99", false, 1, gnetecho}},
		},
		{
			Name: "echo16", Title: "Echo: 100 connections, 16 requests at a time, 100 B",
			About: "Many requests arrive in one read, and their replies leave in one write: what is left is the server's own work per request.",
			Unit:  "request", Main: "cpu", Peers: []string{sluice, gnetecho}, Points: echo(16),
			Targets: []target{{"cpu", false, 1.3, gnetecho}, {"p99", false, 1, gnetecho}},
		},
		idle(10_000),
		idle(19_000),
		{
			Name: "storm", Title: "Login storm: 10,000 connections log in and subscribe to one topic",
			About: "Everybody comes at once, logs in, and subscribes: what a gateway has to bear after a restart.",
			Unit:  "login", Main: "cpu", Peers: append([]string{sluice}, brokers...),
			Points: []point{{Config: bench.Config{Scenario: "connect", Connections: 10_000, TokenPrefix: "u", Duration: time.Minute}}},
			Targets: []target{
				{"cpu", false, 0.7, mosquitto}, {"cpu", false, 0.5, natsOld}, {"cpu", false, 0.5, natsNew},
			},
		},
	}
}
