package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/sluicenet/sluice/engine/worker"
)

// workerEnv makes a worker of the program: it names the gateway's address.
const workerEnv = "VERSUS_WORKER"

// workerRoute goes to the worker, whose id is workerID. Id 1 is the development worker inside the
// gateway.
const (
	workerRoute = "bench.Echo"
	workerID    = 2
)

// serveWorker answers requests as the development worker does, until SIGTERM.
func serveWorker(addr string) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w, err := worker.New(worker.Config{Gateways: []string{addr}, WorkerID: workerID})
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
	w.Handle("*", func(_ context.Context, r *worker.Request) ([]byte, error) {
		return append(append([]byte(`{"status":0,"data":`), r.Payload...), '}'), nil
	})
	go func() {
		if w.Ready(ctx) == nil {
			fmt.Println("ready")
		}
	}()
	if err := w.Run(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// startWorker runs this program as a worker and waits until it is registered.
func startWorker(addr string) (*program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &program{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), workerEnv+"="+addr)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		p.stop()
		return nil, fmt.Errorf("the worker says %q, %v", line, err)
	}
	return p, nil
}
