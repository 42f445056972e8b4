package server

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/internal/loopback"
)

// ErrOpenWorkers is the error of New and Update for a worker listener that others than this machine
// can reach while nothing says who is a worker: whoever can connect would be one. Set
// Config.Worker.Tokens or Allow, or TLS.WorkerClientCA, or listen on loopback.
var ErrOpenWorkers = errors.New("the worker listener is open to the network, and nothing says who is a worker")

// checkWorkers refuses an open worker listener.
func (c *Config) checkWorkers() error {
	if c.Worker.Trusting() || c.Worker.Certificates || c.TLS.WorkerClientCA != "" {
		return nil
	}
	open := false
	if ln := c.WorkerListener; ln != nil {
		open = !loopback.Addr(ln.Addr())
	} else if c.WorkerListen != "" {
		l, err := ParseWorkerListen(c.WorkerListen)
		if err != nil {
			return err
		}
		open = !l.Local()
	}
	if open {
		return fmt.Errorf("server: %w: set Config.Worker.Tokens or Allow, or listen on loopback", ErrOpenWorkers)
	}
	return nil
}

// ParseWorkerTokens reads the text of a file of tokens for WorkersConfig.Tokens: one a line. Blank
// lines and those that begin with # say nothing.
func ParseWorkerTokens(text []byte) ([]string, error) { return link.ParseTokens(text) }

// ParseWorkerAllow reads networks for WorkersConfig.Allow: CIDRs and single addresses. The word unix
// is for AllowUnix.
func ParseWorkerAllow(texts []string) (allow []netip.Prefix, unix bool, err error) {
	return link.ParseAllow(texts)
}
