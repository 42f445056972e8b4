//go:build race

package link

// raceEnabled: sync.Pool drops buffers at random under the race detector.
const raceEnabled = true
