// Package worker is the worker's side of a gateway: what a business process written in Go
// imports to answer clients' requests, hear of their coming and going, and reach them through ids
// and topics. It speaks the netsvr worker protocol 2.0.2 and this gateway's commands for requests and
// users.
//
// # A first worker
//
// A [Worker] names the gateways it serves, registers handlers, and runs until its context is done:
//
//	w, err := worker.New(worker.Config{Gateways: []string{"127.0.0.1:6061"}})
//	if err != nil {
//		return err
//	}
//	w.Handle("chat.Say", func(ctx context.Context, r *worker.Request) ([]byte, error) {
//		return []byte(`{"status":0,"data":{}}`), w.TopicPublish(ctx, []string{"lobby"}, r.Payload)
//	})
//	return w.Run(ctx)
//
// [Config] has defaults for everything; its zero value serves a gateway on this machine as worker
// 1.
//
// A gateway that others can reach wants proof that this is a worker: Config.Token or TokenFile.
//
// # Answering requests
//
// GOSOC clients ask by route and Longbridge clients by command. [Worker.Handle] takes a route or
// the beginning of one, [Worker.HandleCmd] a range of commands. A [HandlerFunc] gets a [Request]
// and returns the reply's payload as the client is to receive it, or an error. A [*StatusError] is
// an answer too; any other error is logged and answered with [StatusInternal] and no details:
//
//	w.Handle("chat.*", func(ctx context.Context, r *worker.Request) ([]byte, error) {
//		if r.Session == "" {
//			return nil, &worker.StatusError{Status: worker.StatusRefused, Message: "join first"}
//		}
//		return r.Payload, nil
//	})
//
// # Messages, opens and closes
//
// netsvr WebSocket clients send messages without waiting for answers: [Worker.OnMessage] gets each
// as a [Message]. [Worker.OnOpen] and [Worker.OnClose] hear of clients of every protocol that come
// and go, if the gateway runs with --open-worker N and --close-worker N:
//
//	w.OnClose(func(ctx context.Context, c *worker.Close) {
//		_ = w.TopicPublish(ctx, []string{"lobby"}, []byte(c.Session+" left"))
//	})
//
// # Reaching clients
//
// A client is named by its uniqId, which every Request, Message, [Open] and [Close] carries.
// Commands push to one client ([Worker.SingleCast]), to many ([Worker.Multicast]), to all
// ([Worker.Broadcast]) or to a topic's subscribers ([Worker.TopicPublish]); they subscribe clients
// ([Worker.TopicSubscribe]), change what the gateway knows of them ([Worker.ConnInfoUpdate]) and
// send them away ([Worker.ForceOffline]). [Worker.Push] names the route or command under which
// clients receive it. Commands are not answered: a nil error means that the command is on its way.
//
// Queries are answered. One without a deadline of its own ends after Config.QueryTimeout:
//
//	ids, err := w.TopicUniqIDList(ctx, []string{"lobby"})
//
// Commands of the Worker go to the gateways concerned: those that name a client to the gateway
// whose server id its uniqId begins with, those for ids that no gateway made to all, and so do
// topics. The same methods of a [Gateway], as Request.Gateway, go to that gateway alone:
//
//	err := r.Gateway.TopicSubscribe(ctx, r.UniqID, []string{"lobby"}, nil)
//
// Gateways of one cluster stand for each other. A Worker that is told of one of them, or of several
// with [Config].Cluster, gives each command to one gateway, which sees to the clients of all; while
// there is no link to it, to another. Nothing arrives twice, and what is lost is what a broken link
// had not sent.
//
// # Who it is
//
// What handlers receive has an [Identity]: the user whose login it is, the protocol, the address, what
// the client said at its login and what the login provider vouches for. Trust the user and the
// claims; the rest is the client's word. [Worker.ConnInfo] has it for any connection. A user may have
// several connections, of several protocols: [Worker.UserCast] reaches all of them, and so do
// [Worker.UserSubscribe], [Worker.UserUnsubscribe], [Worker.UserForceOffline] and Push.Users;
// [Worker.UserConnList] and [Worker.Online] say which and how many there are. They go to all gateways,
// since a user may be on any. docs/workers.md has what travels for it.
//
// # Links
//
// A [Link] is one TCP connection to a gateway, dialled again whenever it is lost, with growing
// pauses. A Gateway has one or, with Config.Links, several, and stands for the first, which is
// registered and receives what clients send. [Worker.Ready] waits until all are up.
//
// Commands on a link that is down fail at once with [ErrNotConnected]. Those still in the outbox of
// a link that breaks are lost, queries on it fail with [ErrLinkLost], and requests it had brought
// are not handled any more if they want a reply: the gateway has already answered the client with
// an error. Messages, opens and closes that had arrived are still handled. A [*LinkError] names the
// gateway and the command that failed.
//
// # Order
//
// Commands of one goroutine on one link are carried out in order, and a query sees the effect of
// every command before it on its link. What a client sends is handled in order, one at a time;
// clients are spread over Config.Concurrency lanes by a hash of their uniqId, and lanes run at the
// same time. A client that is given a new uniqId may change lanes with it. Gateways deal out what
// arrives among the workers of one id, so no order holds between them.
//
// # Backpressure
//
// Nothing grows without bound. A command waits, until its context is done, while the outbox of its
// link is full (Config.Outbox); a reader whose handlers fall behind stops reading (Config.Inbox),
// and TCP slows the gateway down. A query needs its answer even then, and a command may wait for room
// that the gateway makes only once it is read: while one waits, its link reads on, up to four times
// as far.
//
// A gateway keeps at most --worker-queue bytes for a link that does not read. A client may have no
// more of them than stay free, so one that floods leaves room for all others; requests beyond it
// are answered "busy". What waits is sent in turn of the clients, in order for each. Commands longer
// than the gateway's --worker-max-packet would end the link, and those longer than Config.MaxFrame
// fail here instead. [Worker.ForceOfflineGuest] with a delay is kept by the gateway until its time,
// at most --worker-delayed bytes for a link; the protocol has no answer to it, so one beyond that
// does nothing but raise the gateway's counter sluice_worker_delayed_refused_total and write a line
// to its log.
//
// # Ownership and goroutines
//
// Handlers own what they receive, and callers what queries return. Arguments of commands are copied
// before the method returns.
//
// Run starts three goroutines per link (dial and heartbeat, reader, writer) and one per lane, and
// ends them before it returns. All methods may be called from any goroutine, but handlers are set
// before Run. A handler that panics is logged and counted ([Stats]), and its request is answered
// with [StatusInternal].
package worker
