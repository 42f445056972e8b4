//go:build race

package gosoc

// raceEnabled: the race detector makes code allocate that otherwise does not.
const raceEnabled = true
