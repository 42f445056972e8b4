//go:build race

package gosoc

// raceEnabled: the race detector allocates, and slows everything down.
const raceEnabled = true
