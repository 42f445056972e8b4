//go:build race

package engine

// The race detector slows the test's clients down until the gateway takes them for stalled ones:
// there are fewer of them then.
const overloadSubscribers, overloadMessages = 8, 4000
