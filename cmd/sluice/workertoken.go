package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/internal/readfile"
)

// maxTokenFile bounds --worker-token, in bytes.
const maxTokenFile = 128 << 10

// trust reads --worker-token and --worker-allow.
func (cmd *settings) trust(c *server.WorkersConfig, log *slog.Logger) error {
	var errs []error
	for i, text := range cmd.WorkerAllow {
		allow, unix, err := server.ParseWorkerAllow([]string{text})
		if err != nil {
			errs = append(errs, wrongAt("worker-allow", i, "%w", err))
		}
		c.Allow, c.AllowUnix = append(c.Allow, allow...), c.AllowUnix || unix
	}
	return errors.Join(append(errs, cmd.workerTokens(c, log))...)
}

func (cmd *settings) workerTokens(c *server.WorkersConfig, log *slog.Logger) error {
	if cmd.WorkerToken == "" || cmd.inForce.workerTokens {
		return nil
	}
	text, err := readfile.Read(cmd.WorkerToken, maxTokenFile)
	if err != nil {
		return wrong("worker-token", "%w", err)
	}
	if c.Tokens, err = server.ParseWorkerTokens(text); err != nil {
		return wrong("worker-token", "%s: %w", cmd.WorkerToken, err)
	}
	if f, err := os.Stat(cmd.WorkerToken); err == nil && f.Mode().IsRegular() && f.Mode()&0o007 != 0 {
		log.Warn("everybody on this machine can read the file of worker tokens: chmod o=",
			"file", cmd.WorkerToken, "mode", fs.FileMode.String(f.Mode()))
	}
	return nil
}

// openWorkers says which flags would do where the worker listener is open.
func (cmd *settings) openWorkers(err error) error {
	if !errors.Is(err, server.ErrOpenWorkers) {
		return err
	}
	return depends(wrong("worker", "%s: %w: give --worker-token FILE, --worker-allow CIDR, or listen on 127.0.0.1",
		cmd.Worker, server.ErrOpenWorkers), "worker-token", "worker-allow")
}
