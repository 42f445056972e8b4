// Package report writes results for people and for other programs, and compares them.
//
// # Data flow
//
//	bench.Observer -> Live -> progress on a terminal, plain lines elsewhere
//	bench.Result   -> Text, CSV, HistogramLog, HTML
//	bench.Result   -> JSON -> a file -> Read -> File -> Compare -> text
//
// # Goroutines
//
// None. Live belongs to the goroutine of bench.Run.
package report
