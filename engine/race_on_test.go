//go:build race

package engine

import "time"

// The race detector slows the test's clients down until the gateway takes them for stalled ones:
// there are fewer of them then.
const overloadSubscribers, overloadMessages = 8, 4000

// A handshake takes ten times as long, too, and an honest client's comes behind these.
const handshakesLeft = 200

// handshakeSplits is how far apart the places are at which handshakes are cut.
const handshakeSplits = 9

const simDefaultSeeds = 50

// How long a scene of the simulation lasts, on its own clock, and how many seeds of one are played.
const (
	sceneTime = time.Second
	hotTime   = time.Second
	shedSeeds = 1
)
