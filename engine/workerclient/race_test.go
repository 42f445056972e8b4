//go:build race

package workerclient

// The race detector allocates.
const raceEnabled = true
