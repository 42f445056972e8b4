package worker_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluicenet/sluice/engine/worker"
)

// A worker that answers requests, publishes what clients say, and knows who is there.
func Example() {
	w, err := worker.New(worker.Config{Gateways: []string{"127.0.0.1:6061"}})
	if err != nil {
		log.Fatal(err)
	}
	w.Handle("chat.Join", func(ctx context.Context, r *worker.Request) ([]byte, error) {
		return []byte(`{"status":0,"data":{}}`), r.Gateway.TopicSubscribe(ctx, r.UniqID, []string{"lobby"}, nil)
	})
	w.Handle("chat.*", func(ctx context.Context, r *worker.Request) ([]byte, error) {
		if r.Route != "chat.Say" {
			return nil, &worker.StatusError{Status: worker.StatusRefused, Message: "no such route"}
		}
		return []byte(`{"status":0,"data":{}}`), w.TopicPublish(ctx, []string{"lobby"}, r.Payload)
	})
	w.OnClose(func(ctx context.Context, c *worker.Close) {
		log.Println(c.UniqID, "left")
	})

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := w.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// A process that handles nothing is not registered. It may ask and tell all the same.
func ExampleWorker_Broadcast() {
	w, err := worker.New(worker.Config{Gateways: []string{"10.0.0.1:6061", "10.0.0.2:6061"}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()

	if err := w.Ready(ctx); err != nil {
		log.Println("not all gateways are there:", err)
	}
	if err := w.Broadcast(ctx, []byte("maintenance at noon")); err != nil {
		log.Println(err) // says which gateway did not get it
	}
	cancel() // what is queued is still written
	<-done
}
