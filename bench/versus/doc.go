// Command versus loads two builds of the gateway in turn and says how the newer one differs.
//
//	go run ./bench/versus -old /tmp/before/sluice -new bin/sluice
//
// # Data flow
//
//	load -> repeat -> old, new (the other order in every second repeat) -> ratios of neighbours -> their median
//
// Every run has a gateway process of its own. What is judged is the CPU time of the gateway per
// delivery, request or login, which depends least on what else the machine does, and where the load
// is as fast as possible the rate as well. Nothing may be lost and nobody closed.
//
// # Goroutines
//
// One run at a time. The generator is this process, and the worker of the worker loads is another
// one of the same program.
package main
