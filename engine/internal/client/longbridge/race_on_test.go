//go:build race

package longbridge_test

// raceEnabled: the race detector allocates, and slows everything down.
const raceEnabled = true
