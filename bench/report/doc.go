// Package report writes results for people and for other programs, and compares them.
//
// # Data flow
//
//	bench.Observer -> Live -> progress on a terminal, plain lines elsewhere
//	bench.Result   -> Text, CSV, HistogramLog, HTML
//	bench.Results  -> File (JSON) -> Compare -> text
//
// # Goroutines
//
// None. Live belongs to the goroutine of bench.Run.
package report
