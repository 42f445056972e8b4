//go:build (darwin || freebsd) && !portable

package engine

// closeSettles is how long the poller may keep a closed descriptor's file open.
const closeSettles = 0
