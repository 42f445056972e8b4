package main

import (
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A reloader brings a running gateway in line with its configuration. Which settings may change says
// the tag live of their fields in settings; no other list of them exists.
type reloader struct {
	args     []string // the command line, whose flags stay above the file
	provider login.Provider
	users    *login.APIKeys      // of the token call; nil: none
	tokens   []string            // of workers
	admins   *server.AdminTokens // of operators; nil: none
	server   *server.Server
	level    *slog.LevelVar
	log      *slog.Logger
	manager  *service       // hears of each reload
	draining atomic.Int64   // --drain in force, in nanoseconds
	mu       sync.Mutex     // one reload at a time; guards what follows
	inputs   *inputs        // where the values in force come from
	force    map[string]any // the values in force, by flag
	budget   budget         // in force
	watcher  *watcher
}

// workerToken and tlsCert are flags of files that are read again.
const (
	workerToken = "worker-token"
	tlsCert     = "tls-cert"
)

// isLive reports whether a flag may change while the gateway runs.
func isLive(f *kong.Flag) bool { return f.Tag.Has("live") }

// notLiveError names settings that only a restart changes.
type notLiveError struct{ flags []string }

func (e *notLiveError) Error() string {
	return "cannot change while the gateway runs, so nothing has changed: " + strings.Join(e.flags, ", ")
}

// reload reads everything again, checks all of it, and only then takes it over: all, or nothing. It
// logs what has come of it, and returns what try does.
func (r *reloader) reload() (done server.AdminReloaded, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manager.reloading()
	defer func() { r.manager.reloaded(err) }()
	asked := slices.Sorted(maps.Keys(r.inputs.asked))
	r.watcher.reopen() // also if the config is wrong: whoever rotates logs has nothing to do with that
	done, err = r.try()
	var frozen *notLiveError
	switch {
	case errors.As(err, &frozen):
		r.log.Error("reload refused: these settings cannot change while the gateway runs; all stay as they are", "flags", frozen.flags)
	case err != nil:
		r.log.Error("reload failed, the old settings stay", "err", err)
	case len(done.Changed) > 0 || done.Login:
		r.log.Info("reloaded", "changed", done.Changed, "login", done.Login)
	default:
		r.log.Info("reload: nothing has changed")
	}
	if err == nil && len(asked) > 0 {
		r.log.Info("reload: what operators have set over the API counts no more", "flags", asked)
	}
	return done, err
}

// drain is how long a shutdown may take. It does not wait for a reload.
func (r *reloader) drain() time.Duration { return time.Duration(r.draining.Load()) }

// loads is how often a provider has read something new, 0 when it does not say.
func loads(p login.Provider) uint64 {
	if p, ok := p.(interface{ Loads() uint64 }); ok {
		return p.Loads()
	}
	return 0
}

// A plan is a reload, or what operators ask for, that has been checked.
type plan struct {
	call    *call
	values  map[string]any
	changed []string
	config  server.Config
	routes  []server.WorkerRoute
	users   *login.APIKeys
	admins  *server.AdminTokens
}

// read reads everything again and checks it. It changes nothing.
func (r *reloader) read() (p plan, err error) {
	c, err := parse(r.args, os.Environ(), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		return p, err
	}
	if p, err = r.check(c); err != nil {
		return p, err
	}
	in := c.inputs
	if !slices.Equal(p.config.Worker.Tokens, r.tokens) && !slices.Contains(p.changed, workerToken) {
		p.changed = append(p.changed, workerToken) // the file
	}
	// Files in force, which the flags may not name any more.
	if r.users != nil {
		if p.users, err = login.NewAPIKeys(r.users.File()); err != nil {
			return p, in.locate(wrong("token-users", "%w", err))
		}
	}
	if r.admins != nil {
		if p.admins, err = server.NewAdminTokens(r.admins.File()); err != nil {
			return p, in.locate(wrong("admin-token", "%w", err))
		}
	}
	return p, nil
}

// check compares what settings come to with what is in force, and checks all of it.
func (r *reloader) check(c *call) (p plan, err error) {
	p.call = c
	in, next := c.inputs, c.settings()
	p.values = in.values()
	err = next.share(r.budget, in.isGiven)
	var configErr error
	p.config, configErr = next.config(r.provider, r.log)
	if next.inForce.workerTokens {
		p.config.Worker.Tokens = r.tokens
	}
	if err := in.locate(err, configErr); err != nil {
		return p, err
	}
	in.derive(next.shared, p.values) // a limit that is left to --memory differs from one that is given its default
	var frozen []string
	for _, param := range in.params {
		switch name := param.name; {
		case reflect.DeepEqual(p.values[name], r.force[name]):
		case isLive(param.flag):
			p.changed = append(p.changed, name)
		default:
			frozen = append(frozen, name)
		}
	}
	slices.Sort(p.changed)
	slices.Sort(frozen)
	if len(frozen) > 0 {
		return p, &notLiveError{frozen}
	}
	_, err = next.server(p.config) // it is never started
	if wrong, ok := errors.AsType[*flagError](err); ok && next.inForce.certificates && slices.Contains(filesOfTLS, wrong.flag) {
		err = nil // what was read of them stays
	}
	if err != nil {
		return p, in.locate(err)
	}
	if p.routes, err = next.routes(); err != nil {
		return p, in.locate(err)
	}
	return p, nil
}

// try returns the names of the settings that were given new values, and whether files of tokens, keys
// or users were read again. On an error nothing has changed.
func (r *reloader) try() (done server.AdminReloaded, err error) {
	next, err := r.read()
	if err != nil {
		r.server.RecheckTLS() // /readyz?verbose is to know of files what is logged of them
		return done, err
	}
	useTLS, err := r.server.PrepareTLS(next.config.TLS)
	if err != nil { // the files have changed since they were checked
		return done, next.call.inputs.locate(tlsFlag(err))
	}
	// Of the steps from here on this is the only one that can fail, unless the gateway is about to end.
	if p, ok := r.provider.(login.Reloader); ok {
		before := loads(p)
		if err := p.Reload(); err != nil {
			return done, next.call.inputs.locate(wrong("login", "%w", err))
		}
		done.Login = before == 0 || loads(p) != before
		defer r.server.Revalidate() // under the flags of this reload
	}
	if err := r.update(&next); err != nil {
		return done, err
	}
	if useTLS() && !slices.Contains(next.changed, tlsCert) {
		next.changed = append(next.changed, tlsCert) // the files
	}
	if next.admins != nil {
		done.Login = r.admins.Replace(next.admins) || done.Login
	}
	if next.users != nil {
		done.Login = r.users.Replace(next.users) || done.Login
	}
	done.Changed = next.changed
	r.tokens = next.config.Worker.Tokens
	r.take(&next)
	return done, nil
}

// update has the server take over what has changed. On an error nothing has.
func (r *reloader) update(next *plan) error {
	if len(next.changed) == 0 {
		return nil
	}
	return errors.Join(r.server.Update(next.config), r.server.Gateway().SetRoutes(next.routes))
}

// take notes that the values of next are in force, and has the rest of the process go by them.
func (r *reloader) take(next *plan) {
	r.draining.Store(int64(next.call.settings().Drain))
	r.level.Set(slog.Level(next.call.settings().LogLevel))
	r.inputs, r.force = next.call.inputs, next.values
}
