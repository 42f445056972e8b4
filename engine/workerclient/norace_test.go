//go:build !race

package workerclient

const raceEnabled = false
