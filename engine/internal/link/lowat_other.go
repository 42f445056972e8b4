//go:build !linux

package link

import "net"

// preferShortQueue does nothing here.
func preferShortQueue(net.Conn) {}
