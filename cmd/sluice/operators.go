package main

import (
	"errors"
	"os"
	"sync/atomic"

	"github.com/sluicenet/sluice/engine/server"
)

// A process is what operators may do with this one, over the admin listener.
type process struct {
	reloader atomic.Pointer[reloader] // nil until the gateway has started
	stop     chan<- os.Signal
	begun    []setting // what is in force until then
}

func (p *process) admin() *server.AdminProcess {
	return &server.AdminProcess{Settings: p.settings, Reload: p.reload, Change: p.change, Drain: p.drain}
}

var errNotStarted = errors.New("the gateway has not started yet")

// reload is what SIGHUP does, and says what has come of it.
func (p *process) reload() (done server.AdminReloaded, err error) {
	r := p.reloader.Load()
	if r == nil {
		return done, errNotStarted
	}
	return r.reload()
}

// change is what operators ask for of single settings.
func (p *process) change(settings map[string]any) (done server.AdminReloaded, err error) {
	r := p.reloader.Load()
	if r == nil {
		return done, errNotStarted
	}
	return r.change(settings)
}

// asked is what an operator's request comes as, among signals.
type asked struct{}

func (asked) Signal() {}

func (asked) String() string { return "operator" }

// drain does what SIGTERM does. When it returns /readyz says so.
func (p *process) drain() {
	if r := p.reloader.Load(); r != nil {
		r.server.Gateway().Drain()
	}
	select {
	case p.stop <- asked{}:
	default: // others wait to be seen already
	}
}

// settings lists what is in force, without secrets.
func (p *process) settings() any {
	r := p.reloader.Load()
	if r == nil {
		return p.begun
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return settingsOf(r.inputs, func(p *param) any { return r.force[p.name] })
}
