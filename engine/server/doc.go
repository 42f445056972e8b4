// Package server puts a gateway together: loops, sessions, protocols, listeners. It is what
// cmd/sluice runs, and what programs embed.
//
// A program says where to listen and who may log in, handles requests, and starts:
//
//	srv, err := server.New(server.Config{
//		Listen:  []string{"tcp://127.0.0.1:7000"},
//		Gateway: server.GatewayConfig{Login: login.Open{}},
//	})
//	err = srv.Handle("chat.*", func(r *server.Request) {
//		r.Subscribe([]byte("room"))
//		r.Publish([]byte("room"), r.Payload)
//		r.Reply([]byte(`{"status":0,"data":{}}`))
//	})
//	err = srv.Start()
//
// [Request], [GatewayConfig] and others are names for types of packages under engine/internal:
//
//	go doc ./engine/internal/gateway Request
//
// [Config] has the rest: workers in other processes, limits, operators. Each field is honoured or
// refused by [New], by its name. [Config.Gateway] holds what sessions and logins need, with the
// providers of package login; [Config.Engine] holds what loops and memory need.
//
// # Data flow
//
//	Config -> New -> Handle -> Start -> clients -> Stop
//
//	client  -> Request -> handler                  -> Reply, or Defer and later Gateway.Answer
//	handler -> Request.Publish, Request.Push       -> subscribers, the client that asks
//	program -> Publish, Send, Kick                 -> subscribers, a connection, a user's connections
//	gateway -> Config.OnConnect, OnDisconnect      -> program
//
// # Requests that take time
//
// A handler runs on the event loop of its client, with thousands of others. What takes time is
// deferred and answered from any goroutine, once; see [Request.Defer]:
//
//	srv.Handle("report.Make", func(r *server.Request) {
//		ticket, query := r.Defer(), string(r.Payload) // r's slices are the loop's
//		go func() {
//			srv.Gateway().Answer(ticket, server.StatusOK, makeReport(query))
//		}()
//	})
//
// # Reaching clients
//
// [Server.Publish] reaches a topic's subscribers, [Server.Send] and [Server.Kick] the connection
// with a uniqId or all connections of a user, whatever protocols they speak:
//
//	err := srv.Publish(ctx, "room", payload)
//	n, err := srv.Send(ctx, server.User("ann"), payload)
//	n, err := srv.Kick(ctx, server.UniqID(id), engine.ReasonForcedOffline)
//
// They wait while the gateway has no room, at most until ctx is done. Where that must not happen,
// in a handler or a hook, Publish fails with [engine.ErrOnLoop] and Send and Kick do not wait.
//
// # Protocols of one's own
//
// A [Protocol] joins the port that the gateway's protocols share, and its clients the topics. The
// example of Protocol is one of fifty lines; docs/embedding.md has one with logins and requests.
//
// # Stopping
//
// [Server.Stop] says goodbye to clients, then to workers, and is back when its context is done at
// the latest. It must not be called on a loop:
//
//	srv.Handle("admin.Stop", func(r *server.Request) {
//		r.Reply(nil)
//		go srv.Stop(ctx)
//	})
//
// # Ownership
//
// A Server owns everything it makes, and the listeners of its Config from New's success on; the
// login provider stays the caller's. What a [Request] holds is valid until its handler returns.
// Payloads of Publish and Send are copied.
//
// # Goroutines
//
// A Server's methods may be called from any goroutine, but those that wait not from a loop.
// Handlers, hooks and protocols of one's own run on event loops, one at a time on each, and must not
// block. A panic of one, or runtime.Goexit, costs its client the connection, and nobody else anything;
// of an encoder (engine.Dialect) a panic costs its form's clients the message.
package server
