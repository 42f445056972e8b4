//go:build !race

package gosoc

const raceEnabled = false
