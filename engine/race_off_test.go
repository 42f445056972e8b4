//go:build !race

package engine

import "time"

const overloadSubscribers, overloadMessages = 50, 20000

const handshakesLeft = 2000

// handshakeSplits is how far apart the places are at which handshakes are cut.
const handshakeSplits = 1

const simDefaultSeeds = 2000

// How long a scene of the simulation lasts, on its own clock, and how many seeds of one are played.
const (
	sceneTime = 60 * time.Second
	hotTime   = 20 * time.Second
	shedSeeds = 10
)
