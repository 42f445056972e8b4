//go:build race

package e2e

// raceDetector makes the client side several times slower.
const raceDetector = true
