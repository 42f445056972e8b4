package bench

import (
	"slices"

	"github.com/sluicenet/sluice/bench/observe"
)

// FindGateways are the processes that listen at c's targets, as far as they are on this machine and we
// may look at them.
func FindGateways(c Config) (pids []int) {
	p, err := c.plan()
	if err != nil {
		return nil
	}
	for _, addr := range p.addrs {
		pid := 0
		switch {
		case addr.unix != "":
			pid = observe.UnixListener(addr.unix)
		case addr.tcp.Addr().IsLoopback():
			pid = observe.Listener(addr.tcp.Port())
		}
		if pid > 0 && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}
