//go:build !race

package engine

import "time"

const overloadSubscribers, overloadMessages = 50, 20000

const simDefaultSeeds = 2000

// sceneTime is how long a scene of the simulation lasts, on its own clock.
const sceneTime = 60 * time.Second
