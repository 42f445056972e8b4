// Command echoworker answers the requests of one gateway with their own payload, as the gateway does by itself in development
// mode. It says "ready" on standard output once it is registered, and ends with SIGTERM.
//
// # Goroutines
//
// The worker library's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/engine/worker"
)

func main() {
	gateway := flag.String("gateway", "127.0.0.1:6061", "host:port")
	id := flag.Int("id", 1, "worker id")
	route := flag.String("route", "*", "pattern of routes to answer")
	flag.Parse()
	if err := run(*gateway, *id, *route); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "echoworker:", err)
		os.Exit(1)
	}
}

func run(gateway string, id int, route string) error {
	w, err := worker.New(worker.Config{Gateways: []string{gateway}, WorkerID: id})
	if err != nil {
		return err
	}
	const head, tail = `{"status":0,"data":`, `}`
	w.Handle(route, func(_ context.Context, r *worker.Request) ([]byte, error) {
		reply := make([]byte, 0, len(head)+len(r.Payload)+len(tail))
		return append(append(append(reply, head...), r.Payload...), tail...), nil
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := w.Ready(within); err != nil {
		stop()
		<-done
		return err
	}
	fmt.Println("ready")
	return <-done
}
