//go:build race

package worker

// The race detector allocates.
const raceEnabled = true
