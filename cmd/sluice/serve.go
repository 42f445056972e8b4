package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/early"
	"github.com/sluicenet/sluice/cmd/sluice/internal/logsink"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
)

type serveCmd struct{ settings }

type checkCmd struct{ settings }

// Run says whether serve would start with these settings, as far as can be told without listening.
func (cmd *checkCmd) Run(s *streams, in *inputs) error {
	o, err := cmd.settle(in, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer closeProvider(o.provider)
	srv, err := cmd.start(in, o.config)
	if err != nil {
		return err
	}
	for _, w := range append(cmd.withLogin(o.warnings), srv.TLSWarnings()...) {
		fmt.Fprintln(s.stderr, "sluice: warning:", w)
	}
	for _, text := range []string{cmd.report(), "ok"} {
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintln(s.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// Run serves until SIGTERM or SIGINT.
func (cmd *serveCmd) Run(s *streams, in *inputs) error {
	level := new(slog.LevelVar)
	level.Set(slog.Level(cmd.LogLevel))
	log := cmd.logger(s.stderr, level)
	signal.Ignore(syscall.SIGPIPE) // a reader of the log that goes away takes nobody with it
	signals := s.signals
	if signals.Ends == nil {
		signals = early.Listen()
	}
	defer signals.Stop()
	inForce := in.values() // before any is made of others
	o, err := cmd.settle(in, log)
	if err != nil {
		return err
	}
	provider, config := o.provider, o.config
	defer closeProvider(provider)
	in.derive(cmd.shared, inForce)
	manager := newService(os.Getenv, log)
	cmd.tune()
	config.Engine.Loops = cmd.Loops
	cmd.limitHeap()
	cmd.logBudget(log, cmd.withLogin(o.warnings))
	if sink, ok := s.stderr.(*logsink.Sink); ok && config.Admin.Address != "" {
		config.Admin.LogDropped = sink.Dropped
	}
	if cmd.SessionKey != "" {
		if config.Gateway.SessionKey, err = loadSessionKey(cmd.SessionKey); err != nil {
			return usageError{in.locate(err)}
		}
	}
	config.Gateway.SessionJournal = cmd.SessionJournal
	operators := &process{stop: signals.Ends, begun: settingsOf(in, func(p *param) any { return inForce[p.name] })}
	if config.Admin.Address != "" {
		config.Admin.Process = operators.admin()
	}
	watcher, err := cmd.watch(&config, s, log)
	if err != nil {
		return usageError{in.locate(err)}
	}
	defer watcher.close()
	srv, err := cmd.start(in, config)
	if err != nil {
		return err
	}
	if !s.start.began(srv.Stop) {
		return srv.Stop(context.Background()) // before its start: it gives back what it was given
	}
	if err := srv.Start(); err != nil {
		if errors.Is(err, engine.ErrStopped) {
			return nil // by a signal, which has a line of its own
		}
		if err, ok := clusterEnd(in, err); ok {
			return err
		}
		return in.locate(listenFlag(err))
	}
	addrs := srv.Addrs()
	if cmd.PortsFile != "" {
		if err := writePorts(cmd.PortsFile, ports{Listen: addrs, Worker: srv.WorkerAddr(), Admin: srv.AdminURL()}); err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), cmd.Drain)
			defer cancel()
			_ = srv.Stop(ctx) // why it ends says more
			return err
		}
	}
	done := make(chan struct{})
	defer close(done)
	go releaseMemory(srv.Engine(), done)
	if needed, allowed := srv.Descriptors(); needed > allowed {
		log.Warn("the open-file limit is too low for the connection limits: connections of one kind may keep those of another out",
			"needed", needed, "allowed", allowed)
	}
	log.Info("ready", "listen", addrs, "worker", srv.WorkerAddr(), "admin", srv.AdminURL())
	r := &reloader{
		args: s.args, provider: provider, users: config.Admin.TokenUsers, tokens: config.Worker.Tokens,
		admins: config.Admin.Tokens, server: srv, level: level, log: log, inputs: in, force: inForce, budget: cmd.budget,
		manager: manager,
		watcher: watcher,
	}
	r.draining.Store(int64(cmd.Drain))
	operators.reloader.Store(r)
	manager.of(srv, cmd.StallTimeout)
	manager.ready(done)
	go reloads(signals.Hangups, done, func() { _, _ = r.reload() }) // which has logged what came of it
	s.start.ready()
	if err := wait(srv, signals.Ends, manager, r.drain, log); err != nil {
		err, _ = clusterEnd(in, err)
		return err
	}
	return nil
}

// reloads calls reload for each SIGHUP until done is closed. It has a goroutine of its own: a file
// that takes its time must not keep the gateway from ending. Those that come meanwhile are one.
func reloads(hangups <-chan os.Signal, done <-chan struct{}, reload func()) {
	for {
		select {
		case <-hangups:
			reload()
		case <-done:
			return
		}
	}
}

// wait serves until a signal ends the gateway, within the time that most says then. A second signal
// ends it at once.
func wait(srv *server.Server, stop <-chan os.Signal, manager *service, most func() time.Duration, log *slog.Logger) error {
	var sig os.Signal
	select {
	case sig = <-stop:
	case <-srv.Failed():
		return failed(srv, manager, most())
	}
	srv.Gateway().Drain() // who reads of it in the log, or from the service manager, finds it in /readyz
	drain := most()
	manager.stopping(drain)
	by := "signal"
	if sig == (asked{}) {
		by = "by"
	}
	log.Info("draining", by, sig.String(), "clients", srv.Engine().Connections(), "drain", drain)
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := srv.Stop(ctx); err != nil {
		return loggedError{err}
	}
	log.Info("stopped")
	return nil
}

// failed ends a gateway that serves nobody any more.
func failed(srv *server.Server, manager *service, drain time.Duration) error {
	manager.stopping(drain)
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	_ = srv.Stop(ctx) // why it ends says more
	return srv.Err()
}

// logger makes the log on w, which says when it has lost lines, if it can.
func (cmd *settings) logger(w io.Writer, level slog.Leveler) *slog.Logger {
	log := slog.New(cmd.handler(w, level))
	if sink, ok := w.(*logsink.Sink); ok {
		sink.OnLoss(func(lines uint64) { log.Warn("log lines lost", "lines", lines) })
	}
	return log
}

// handler writes lines to w in the form that --log-format says.
func (cmd *settings) handler(w io.Writer, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if cmd.LogFormat == "json" {
		return slog.NewJSONHandler(w, options)
	}
	return slog.NewTextHandler(w, options)
}

// ports is what --ports-file holds.
type ports struct {
	Listen []string `json:"listen"`
	Worker string   `json:"worker,omitempty"`
	Admin  string   `json:"admin,omitempty"`
}

// writePorts writes the file whole or not at all: who waits for it to appear finds it complete. It
// writes to a new file beside it, which cannot be one that makes it wait.
func writePorts(name string, p ports) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return wrong("ports-file", "%w", err)
	}
	err = f.Chmod(0o644)
	if err == nil {
		_, err = f.Write(append(b, '\n'))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return wrong("ports-file", "%w", err)
	}
	return nil
}
