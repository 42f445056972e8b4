package bench

import "github.com/sluicenet/sluice/bench/observe"

// FindGateway is the process that listens at c's target, 0 unless that is on this machine and
// we may look at it.
func FindGateway(c Config) int {
	p, err := c.plan()
	switch {
	case err != nil:
		return 0
	case p.addr.unix != "":
		return observe.UnixListener(p.addr.unix)
	case !p.addr.tcp.Addr().IsLoopback():
		return 0
	}
	return observe.Listener(p.addr.tcp.Port())
}
