//go:build !race

package longbridge_test

const raceEnabled = false
