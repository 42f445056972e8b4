//go:build race

package netsvr

// raceEnabled: the race detector's own allocations would be counted.
const raceEnabled = true
