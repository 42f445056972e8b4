// Command chatroom is a worker that keeps chat rooms with presence: clients join a room under a
// name, say things, ask who is there, and hear of those who come and go. It keeps nothing itself:
// who is in which room stands in the gateways, as session texts and topics, so that any number of
// chatrooms may run side by side and be restarted at any time.
//
// GOSOC clients send requests, netsvr WebSocket clients the same as JSON messages with a "type":
//
//	chat.Join  {"room":"lobby","name":"ann"}   {"room":"lobby","members":["ann","bob"]}
//	chat.Say   {"text":"hello"}                {}
//	chat.Who   {} or {"room":"lobby"}          {"room":"lobby","members":["ann","bob"]}
//	chat.Leave {}                              {}
//
// The answer to a request is {"status":0,"data":...}, or {"status":4,"message":...,"data":null};
// the answer to a message has the "type" of the message besides. Whoever is in a room receives
//
//	{"type":"chat.Event","event":"join","room":"lobby","name":"ann"}
//
// with "event" join, say (and a "text") or leave, GOSOC clients as a push of the route chat.Event.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluicenet/sluice/engine/worker"
)

func main() {
	config := worker.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.Func("gateway", "`address` of a gateway's worker listener; repeatable (default "+worker.DefaultGateway+")",
		func(addr string) error {
			config.Gateways = append(config.Gateways, addr)
			return nil
		})
	flag.IntVar(&config.WorkerID, "worker-id", worker.DefaultWorkerID, "1 to 999")
	flag.StringVar(&config.TokenFile, "token-file", "", "`file` of the token that gateways with --worker-token want")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, config); err != nil {
		config.Logger.Error("chatroom", "error", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, config worker.Config) error {
	w, err := worker.New(config)
	if err != nil {
		return err
	}
	newChat(w)
	go func() {
		if w.Ready(ctx) == nil {
			config.Logger.Info("ready", "gateways", len(w.Gateways()))
		}
	}()
	return w.Run(ctx)
}
