package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/alecthomas/kong"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A reloader brings a running gateway in line with its config file. Which flags may change says the
// tag live of their fields in settings; no other list of them exists.
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
	mu       sync.Mutex     // one reload at a time; guards force
	force    map[string]any // the values in force, by flag
	budget   budget         // in force
}

// flagValues returns the value of each of the parsed command's flags by its name.
func flagValues(ctx *kong.Context) map[string]any {
	values := make(map[string]any)
	for _, f := range ctx.Selected().Flags {
		values[f.Name] = f.Target.Interface()
	}
	return values
}

// workerToken and tlsCert are flags of files that are read again.
const (
	workerToken = "worker-token"
	tlsCert     = "tls-cert"
)

// isLive reports whether a flag may change while the gateway runs.
func isLive(f *kong.Flag) bool { return f.Tag.Has("live") }

// reload reads everything again, checks all of it, and only then takes it over. What cannot change
// is named and stays as it is. It logs what has come of it, and returns what try does.
func (r *reloader) reload() (changed, refused []string, read bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.manager.reloading()
	defer func() { r.manager.reloaded(err) }()
	changed, refused, read, err = r.try()
	switch {
	case err != nil:
		r.log.Error("reload failed, the old settings stay", "err", err)
		return changed, refused, read, err
	case len(refused) > 0:
		r.log.Warn("these flags cannot change while the gateway runs: they stay as they are until a restart", "flags", refused)
	}
	switch {
	case len(changed) > 0 || read:
		r.log.Info("reloaded", "changed", changed, "login", read)
	default:
		r.log.Info("reload: nothing has changed")
	}
	return changed, refused, read, nil
}

// loads is how often a provider has read something new, 0 when it does not say.
func loads(p login.Provider) uint64 {
	if p, ok := p.(interface{ Loads() uint64 }); ok {
		return p.Loads()
	}
	return 0
}

// try returns the names of the flags that were given new values, and of those that were refused, and
// whether files of tokens, keys or users were read again. On an error nothing has changed.
func (r *reloader) try() (changed, refused []string, read bool, err error) {
	var next cli
	parser, err := newParserFor(&next, kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		return nil, nil, false, err
	}
	ctx, err := parser.Parse(r.args)
	if err != nil {
		return nil, nil, false, err
	}
	if err := next.Serve.share(r.budget, givenFlags(ctx)); err != nil {
		return nil, nil, false, err
	}
	values := flagValues(ctx)
	for _, f := range ctx.Selected().Flags {
		switch {
		case reflect.DeepEqual(values[f.Name], r.force[f.Name]):
		case isLive(f):
			changed = append(changed, f.Name)
		default:
			refused = append(refused, f.Name)
		}
	}
	slices.Sort(changed)
	slices.Sort(refused)
	config, err := next.Serve.config(r.provider, r.log)
	if err != nil {
		return nil, nil, false, err
	}
	if _, err := next.Serve.server(config); err != nil { // it is never started
		return nil, nil, false, err
	}
	if !slices.Equal(config.Worker.Tokens, r.tokens) && !slices.Contains(changed, workerToken) {
		changed = append(changed, workerToken) // the file
	}
	routes, err := next.Serve.routes()
	if err != nil {
		return nil, nil, false, err
	}
	var users *login.APIKeys
	if r.users != nil { // the file in force, which the flag may not name any more
		if users, err = login.NewAPIKeys(r.users.File()); err != nil {
			return nil, nil, false, fmt.Errorf("--token-users: %w", err)
		}
	}
	var admins *server.AdminTokens
	if r.admins != nil {
		if admins, err = server.NewAdminTokens(r.admins.File()); err != nil {
			return nil, nil, false, fmt.Errorf("--admin-token: %w", err)
		}
	}
	certificates, err := r.server.SetTLS(config.TLS)
	if err != nil { // the files have changed since they were checked above
		return nil, nil, false, tlsFlag(err)
	}
	if certificates && !slices.Contains(changed, tlsCert) {
		changed = append(changed, tlsCert) // the files
	}
	if p, ok := r.provider.(login.Reloader); ok {
		before := loads(p)
		if err := p.Reload(); err != nil {
			return nil, nil, false, err
		}
		read = before == 0 || loads(p) != before
		defer r.server.Revalidate() // under the flags of this reload
	}
	if admins != nil {
		read = r.admins.Replace(admins) || read
	}
	if users != nil {
		read = r.users.Replace(users) || read
	}
	if len(changed) == 0 {
		return nil, refused, read, nil
	}
	if err := errors.Join(r.server.Update(config), r.server.Gateway().SetRoutes(routes)); err != nil {
		return nil, nil, false, err
	}
	r.tokens = config.Worker.Tokens
	r.level.Set(slog.Level(next.Serve.LogLevel))
	for _, name := range changed {
		r.force[name] = values[name]
	}
	return changed, refused, read, nil
}
