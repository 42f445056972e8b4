//go:build !race

package engine

const overloadSubscribers, overloadMessages = 50, 20000
