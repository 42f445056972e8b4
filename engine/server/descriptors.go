package server

import (
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	// ownDescriptors are kept for the gateway itself, besides some for each loop: listeners, the
	// log, files that are read again, calls of login providers.
	ownDescriptors  = 64
	loopDescriptors = 8
	// maxWorkerShare is the most links that workers have unless they are given more; where few
	// files may be open, they have an eighth of them.
	maxWorkerShare = 4096
	workerPart     = 8
	// maxAdminShare likewise, of operators' connections.
	maxAdminShare = 64
	adminPart     = 16
	// maxRefusalShare likewise, of connections that are refused and kept to be told so.
	maxRefusalShare = 128
	refusalPart     = 16
	// leastShare is what workers, operators and those have wherever there is anything.
	leastShare = 4
	// leastClients likewise.
	leastClients = 16
)

// shareDescriptors divides the files that may be open among clients, workers and operators, where
// config does not: each kind has its limit, so that none can use up what the others need. Clients have
// no more than what is left, whatever config says; warn logs it if that is less. It is not logged at
// once: who looks whether a configuration is good makes a Server of it, too.
func (c *Config) shareDescriptors() (warn func()) {
	files, given := fileLimit(), c.Engine.MaxConnections
	c.share(files)
	log, taken := c.Engine.Logger, c.Engine.MaxConnections
	return func() {
		if taken < given {
			log.Warn("fewer clients are taken than their limit says: the open-file limit leaves no room for more",
				"limit", given, "taken", taken, "files", files)
		}
	}
}

func (c *Config) share(files int) {
	left := files - ownDescriptors - loopDescriptors*orProcs(c.Engine.Loops)
	if c.Engine.MaxRefusals == 0 {
		c.Engine.MaxRefusals = min(maxRefusalShare, max(files/refusalPart, leastShare))
	}
	left -= max(c.Engine.MaxRefusals, 0)
	if c.operators() {
		if c.Admin.MaxConnections <= 0 {
			c.Admin.MaxConnections = min(maxAdminShare, max(files/adminPart, leastShare))
		}
		left -= c.Admin.MaxConnections
	}
	if c.workers() {
		if c.Worker.MaxLinks <= 0 {
			c.Worker.MaxLinks = min(maxWorkerShare, max(files/workerPart, leastShare))
			if c.Engine.MaxConnections > 0 { // the clients' share was named, so it is theirs
				c.Worker.MaxLinks = max(min(c.Worker.MaxLinks, left-c.Engine.MaxConnections), leastShare)
			}
		}
		left -= c.Worker.MaxLinks
	}
	if most := max(left, leastClients); c.Engine.MaxConnections <= 0 || c.Engine.MaxConnections > most {
		c.Engine.MaxConnections = most
	}
}

// DescriptorsFor returns how many files a gateway of this Config has open at so many clients and with
// all its other limits reached, where files may be open: limits that c leaves open are shares of those.
// It fits if the result is no more than files. Zero Engine.Loops means GOMAXPROCS.
func (c Config) DescriptorsFor(clients, files int) int {
	c.Engine.MaxConnections = clients
	c.share(files)
	n := ownDescriptors + loopDescriptors*orProcs(c.Engine.Loops) + clients + max(c.Engine.MaxRefusals, 0)
	if c.operators() {
		n += c.Admin.MaxConnections
	}
	if c.workers() {
		n += c.Worker.MaxLinks
	}
	return n
}

// orProcs is a number of loops.
func orProcs(loops int) int {
	if loops <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return loops
}

// Descriptors returns how many files the gateway may have open when all its limits are reached, and
// how many the system allows. More of the first means that connections of one kind can keep those of
// another out.
func (s *Server) Descriptors() (needed, allowed int) {
	needed = ownDescriptors + loopDescriptors*s.engine.Loops() + s.engine.Limits().MaxConnections +
		max(s.engine.Config().MaxRefusals, 0)
	if s.admin != nil {
		needed += s.admin.Config().MaxConnections
	}
	if s.config.workers() {
		needed += s.hub.MaxLinks()
	}
	return needed, fileLimit()
}

// fileLimit returns the most files this process may have open.
func fileLimit() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 1024
	}
	return int(min(uint64(lim.Cur), 1<<30))
}
