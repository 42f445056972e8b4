//go:build race

package client_test

// raceEnabled: the race detector allocates, and slows everything down.
const raceEnabled = true
