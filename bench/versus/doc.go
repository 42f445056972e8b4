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
// is as fast as possible the rate as well. Nothing may be lost and nobody closed. Beside each ratio is
// the interval that has the true median in 95 of 100 cases: many short runs narrow it.
//
// Where the machine's speed changes within seconds, -together loads both builds at once: it strikes both
// alike. They then compete, so their rates say nothing and are not judged.
//
// # Goroutines
//
// One run at a time, or with -together two. The generator is this process, and the worker of the worker
// loads is another one of the same program.
package main
