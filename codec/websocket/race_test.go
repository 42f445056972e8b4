//go:build race

package websocket

// raceEnabled: under the race detector sync.Pool drops items at random, so pooled code allocates.
const raceEnabled = true
