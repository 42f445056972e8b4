//go:build !linux

package sdnotify

// Monotonic is for systemd, which is Linux's: other managers ignore the line.
func Monotonic() string { return "MONOTONIC_USEC=0" }
