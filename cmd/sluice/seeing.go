package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/logsink"
	"github.com/sluicenet/sluice/cmd/sluice/internal/otlp"
	"github.com/sluicenet/sluice/engine/server"
)

type seeingFlags struct {
	AccessLog   string    `help:"Write a line for each login and for each connection that ends: log (beside the log), stdout, or a file, which SIGHUP opens anew for logrotate. Its form is that of --log-format." placeholder:"log|stdout|FILE" table:"log" key:"access"`
	OTLP        string    `name:"otlp" help:"Send spans of logins and requests to an OpenTelemetry collector: the base URL of OTLP over HTTP, as http://127.0.0.1:4318, or none. Default: OTEL_EXPORTER_OTLP_ENDPOINT; see docs/tracing.md for the other variables." placeholder:"URL" key:"otlp"`
	TraceSample traceRate `help:"Part of the logins and requests without a traceparent that begin a trace, 0 to 1. auto: 1 with a collector, else 0." default:"auto" live:""`
	TraceAsked  int       `help:"Spans a second, and at once, that are sent because clients' traceparents want them to be; the others are passed on to workers all the same. 0: none." default:"100" live:""`
}

// traceRate is a part of all, or auto.
type traceRate float64

// autoRate is auto.
const autoRate traceRate = -1

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *traceRate) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*r = autoRate
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q, want auto, or 0 to 1", text)
	}
	*r = traceRate(f)
	return nil
}

// String is how it may be given.
func (r traceRate) String() string {
	if r == autoRate {
		return "auto"
	}
	return strconv.FormatFloat(float64(r), 'g', -1, 64)
}

// sampleRate is which part of what clients do begins a trace.
func (cmd *settings) sampleRate() (float64, error) {
	collector, err := cmd.collector()
	switch {
	case err != nil:
		return 0, err
	case cmd.TraceSample != autoRate:
		return float64(cmd.TraceSample), nil
	case collector != nil:
		return 1, nil
	}
	return 0, nil
}

// collector returns where spans go, nil if nowhere.
func (cmd *settings) collector() (*otlp.Config, error) {
	if err := otlp.CheckEndpoint(cmd.OTLP); err != nil {
		return nil, wrong("otlp", "%w", err)
	}
	return otlp.FromEnv(cmd.OTLP, os.Getenv)
}

// checkSeeing refuses what could not be written to.
func (cmd *settings) checkSeeing() error {
	switch cmd.AccessLog {
	case "", "log", "stdout":
		return nil
	}
	if err := logsink.CheckFile(cmd.AccessLog); err != nil {
		return wrong("access-log", "%w", err)
	}
	// Lines behind what is in one of these would be the end of it.
	for _, other := range []struct{ flag, file string }{
		{"config", cmd.Config}, {"session-key", cmd.SessionKey}, {"session-journal", cmd.SessionJournal}, {"ports-file", cmd.PortsFile},
		{"admin-token", cmd.AdminToken}, {"api-key-file", cmd.APIKeyFile}, {"worker-token", cmd.WorkerToken}, {"token-users", cmd.TokenUsers},
	} {
		if other.file != "" && sameFile(cmd.AccessLog, other.file) {
			return depends(wrong("access-log", "%s is what --%s has already", cmd.AccessLog, other.flag), other.flag)
		}
	}
	return nil
}

// sameFile reports whether two names are of one file, also of one that is not there yet.
func sameFile(a, b string) bool {
	if x, err := os.Stat(a); err == nil {
		y, err := os.Stat(b)
		return err == nil && os.SameFile(x, y)
	}
	x, err1 := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	return err1 == nil && err2 == nil && x == y
}

// A watcher is what the process has of the access log and of the collector.
type watcher struct {
	access *logsink.Sink // nil: there is none, or the log has it
	file   *logsink.File // nil: none
	spans  *otlp.Exporter
	log    *slog.Logger
}

// watch opens the access log and has spans sent to the collector, if there are any, and tells c. What it
// returns must be closed.
func (cmd *settings) watch(c *server.Config, s *streams, log *slog.Logger) (*watcher, error) {
	w := &watcher{log: log}
	switch cmd.AccessLog {
	case "":
	case "log":
		out := s.stderr
		if sink, ok := out.(*logsink.Sink); ok {
			out = sink.Part()
		}
		c.AccessLog = slog.New(cmd.handler(out, nil))
	case "stdout":
		w.keep(cmd, c, s.stdout)
	default:
		f, err := logsink.OpenFile(cmd.AccessLog)
		if err != nil {
			return nil, wrong("access-log", "%w", err)
		}
		w.file = f
		w.keep(cmd, c, f)
	}
	collector, err := cmd.collector()
	if err != nil {
		return nil, err
	}
	if collector != nil {
		collector.Version, collector.Logger = version(), log
		w.spans = otlp.New(*collector)
		c.Gateway.Tracer = w.spans
		if c.Admin.Address != "" {
			c.Admin.Spans = w.spans.Stats
		}
	}
	return w, nil
}

// keep has the access log go to out, through a sink of its own.
func (w *watcher) keep(cmd *settings, c *server.Config, out io.Writer) {
	w.access = logsink.New(out)
	w.access.OnLosing(func(err error) { w.log.Warn("lines of the access log are being lost", "err", err) })
	w.access.OnLoss(func(lines uint64) { w.log.Warn("lines of the access log were lost", "lines", lines) })
	c.AccessLog = slog.New(cmd.handler(w.access, nil))
	if c.Admin.Address != "" {
		c.Admin.AccessLogDropped = w.access.Dropped
	}
}

// reopen opens the access log's file anew.
func (w *watcher) reopen() {
	if w == nil || w.file == nil {
		return
	}
	if err := w.file.Reopen(); err != nil {
		w.log.Error("the access log cannot be opened anew: it goes on where it was", "err", err)
		return
	}
	w.log.Info("access log opened anew", "file", w.file.Name())
}

// lastSpans is how long the collector may take at the end.
const lastSpans = 2 * time.Second

// close sends and writes what waits, for a bounded time.
func (w *watcher) close() {
	if w.spans != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
		defer cancel()
		w.spans.Close(ctx)
	}
	if w.access != nil {
		w.access.Close(flushTimeout)
		if lines := w.access.Dropped(); lines > 0 {
			w.log.Warn("lines of the access log were lost since the start", "lines", lines)
		}
	}
	if w.file != nil {
		_ = w.file.Close()
	}
}
