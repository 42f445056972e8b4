//go:build !linux

package unixsock

const abstractSockets = false
