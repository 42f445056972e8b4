// Command peers measures the gateway side by side with other servers, on one machine, in one go.
//
// # Data flow
//
//	flags -> rows (what is compared, at which points, with whom) -> plan (what of it is still to be run)
//	row, point, repeat, peer -> fresh process -> bench.Run -> record
//	records -> results.json, after every run
//	records -> medians, ratios pair by pair, verdicts -> RESULTS.md, *.svg, after every row
//	-into: the same between the markers of another page
//
// Within a repeat all peers of a point take their turns, the first one changing from repeat to repeat: what the
// machine does meanwhile meets everyone, and a ratio is made of two runs of the same repeat.
//
// # Goroutines
//
// The main one does all of it, one run at a time. Beside a run one watches the memory of the server.
package main
