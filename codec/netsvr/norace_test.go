//go:build !race

package netsvr

const raceEnabled = false
