package server_test

import (
	"context"
	"fmt"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// A program that embeds the gateway: clients that ask for chat.Say have their words published to
// everybody in the room.
func Example() {
	srv, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Gateway: server.GatewayConfig{Login: login.Open{}},
	})
	if err != nil {
		panic(err)
	}
	srv.Handle("chat.Say", func(r *server.Request) {
		r.Subscribe([]byte("room"))
		r.Publish([]byte("room"), r.Payload)
		r.Reply([]byte(`{"status":0,"data":{}}`))
	})
	if err := srv.Start(); err != nil {
		panic(err)
	}
	defer srv.Stop(context.Background())
	fmt.Println(len(srv.Addrs()), "listener")
	// Output: 1 listener
}
