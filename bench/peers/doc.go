// Command peers measures the gateway side by side with other servers, on one machine, in one go.
//
// # Data flow
//
//	flags -> rows (what is compared, at which points, with whom)
//	row, point, repeat, peer -> fresh process -> bench.Run -> Record
//	Records -> results.json, after every run
//	Records -> medians, ratios pair by pair, verdicts -> RESULTS.md, *.svg
//
// Within a repeat all peers of a point take their turns, the first one changing from repeat to repeat: what the
// machine does meanwhile meets everyone, and a ratio is made of two runs of the same repeat.
//
// # Goroutines
//
// The main one does all of it, one run at a time. Beside a run one watches the memory of the server.
package main
