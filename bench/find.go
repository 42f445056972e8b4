package bench

import "github.com/sluicenet/sluice/bench/observe"

// FindGateway is the process that listens at c's target, 0 unless that is on this machine and
// we may look at it.
func FindGateway(c Config) int {
	p, err := c.plan()
	if err != nil || !p.addr.Addr().IsLoopback() {
		return 0
	}
	return observe.Listener(p.addr.Port())
}
