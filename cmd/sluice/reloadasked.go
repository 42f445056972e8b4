package main

import (
	"errors"
	"reflect"
	"slices"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// change gives settings that operators ask for their values, all or none, until the next reload. Nothing
// else changes, and nothing is read again: not the file, nor those of logins and operators. It logs what
// has come of it.
func (r *reloader) change(settings map[string]any) (done server.AdminReloaded, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done, err = r.tryChange(settings)
	var frozen *notLiveError
	switch {
	case errors.As(err, &frozen):
		r.log.Error("change refused: these settings cannot change while the gateway runs; all stay as they are", "flags", frozen.flags)
	case err != nil:
		r.log.Error("change refused, the old settings stay", "err", err)
	case len(done.Changed) > 0:
		r.log.Info("changed until the next reload", "changed", done.Changed)
	default:
		r.log.Info("change: the settings have these values already")
	}
	return done, err
}

// ofTLS are the flags that PrepareTLS goes by and that may change.
var ofTLS = []string{tlsCert, "tls-key", "tls-min"}

// filesOfTLS are the flags of files that a server reads for TLS.
var filesOfTLS = append([]string{"tls-client-ca", "worker-client-ca"}, ofTLS...)

// asBefore reports whether flags have the values that are in force.
func (r *reloader) asBefore(c *call, flags ...string) bool {
	values := c.inputs.values()
	return !slices.ContainsFunc(flags, func(flag string) bool { return !reflect.DeepEqual(values[flag], r.force[flag]) })
}

func (r *reloader) tryChange(settings map[string]any) (done server.AdminReloaded, err error) {
	c, err := askedFor(r.args, r.inputs, settings)
	if err != nil {
		return done, err
	}
	keep := &c.settings().inForce
	keep.certificates, keep.workerTokens = r.asBefore(c, filesOfTLS...), r.asBefore(c, workerToken)
	next, err := r.check(c)
	if err != nil {
		r.server.RecheckTLS()
		return done, err
	}
	for flag := range next.call.inputs.asked { // with its own value, as it turns out
		if !isLive(next.call.inputs.byName[flag].flag) {
			delete(next.call.inputs.asked, flag)
		}
	}
	useTLS := func() bool { return false }
	if slices.ContainsFunc(next.changed, func(flag string) bool { return slices.Contains(ofTLS, flag) }) {
		if useTLS, err = r.server.PrepareTLS(next.config.TLS); err != nil {
			return done, next.call.inputs.locate(tlsFlag(err))
		}
	}
	if err := r.update(&next); err != nil {
		return done, err
	}
	useTLS()
	r.tokens = next.config.Worker.Tokens
	r.take(&next)
	if _, ok := r.provider.(login.Reloader); ok && slices.Contains(next.changed, "revoke") {
		r.server.Revalidate()
	}
	done.Changed = next.changed
	return done, nil
}
