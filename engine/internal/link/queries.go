package link

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/bytebufferpool"
	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
)

// query answers a command on the link it came on. Whatever the link has asked for before is done
// by then.
func (l *link) query(cmd netsvr.Command, payload []byte) error {
	switch cmd {
	case netsvr.CmdRegister:
		return l.register(payload)
	case netsvr.CmdUnregister:
		return l.unregister(payload)
	}
	l.publisher.Flush() // what it has published takes effect before the answer
	l.awaitSettled()
	l.awaitChanges()
	if l.scoped() && wide(cmd) {
		return l.queryAll(cmd, payload)
	}
	return l.answerQuery(cmd, payload)
}

// answerQuery answers for the clients of this node.
func (l *link) answerQuery(cmd netsvr.Command, payload []byte) error {
	g := l.hub.gateway
	server := int32(g.Config().ServerID)
	switch cmd {
	case netsvr.CmdCheckOnline:
		req, resp := new(netsvrpb.CheckOnlineReq), new(netsvrpb.CheckOnlineResp)
		if err := netsvr.Unmarshal(payload, req); err != nil {
			return err
		}
		for _, id := range req.UniqIds {
			if g.Clients().Get(id) != 0 {
				resp.UniqIds = append(resp.UniqIds, id)
			}
		}
		return l.respond(cmd, resp)
	case netsvr.CmdUniqIDList:
		return l.answer(cmd, func(dst []byte) []byte {
			return netsvr.AppendUniqIDListResp(dst, server, func(yield func([]byte) bool) {
				g.Clients().Range(func(id []byte, _ session.Ref) bool { return yield(id) })
			})
		})
	case netsvr.CmdUniqIDCount:
		return l.respond(cmd, &netsvrpb.UniqIdCountResp{ServerId: server, Count: int32(g.Clients().Len())})
	case netsvr.CmdTopicCount:
		return l.respond(cmd, &netsvrpb.TopicCountResp{ServerId: server, Count: int32(g.Engine().Topics().Len())})
	case netsvr.CmdTopicList:
		names := g.Engine().Topics().Names(nil)
		return l.answer(cmd, func(dst []byte) []byte {
			return netsvr.AppendTopicListResp(dst, server, func(yield func(string) bool) {
				for _, n := range names {
					if !yield(n) {
						return
					}
				}
			})
		})
	case netsvr.CmdTopicUniqIDList:
		req := new(netsvrpb.TopicUniqIdListReq)
		if err := netsvr.Unmarshal(payload, req); err != nil {
			return err
		}
		return l.subscribers(cmd, server, req.Topics)
	case netsvr.CmdTopicUniqIDCount:
		req := new(netsvrpb.TopicUniqIdCountReq)
		if err := netsvr.Unmarshal(payload, req); err != nil {
			return err
		}
		topics := req.Topics
		if req.CountAll {
			topics = g.Engine().Topics().Names(nil)
		}
		resp := &netsvrpb.TopicUniqIdCountResp{ServerId: server, Items: make(map[string]int32)}
		for _, t := range topics {
			if n := g.Engine().Topics().Count([]byte(t)); n > 0 {
				resp.Items[valid(t)] = int32(n)
			}
		}
		return l.respond(cmd, resp)
	case netsvr.CmdConnInfo:
		req := new(netsvrpb.ConnInfoReq)
		if err := netsvr.Unmarshal(payload, req); err != nil {
			return err
		}
		return l.respond(cmd, l.connInfo(req.UniqIds, l.wantsIdentity || req.WantsIdentity))
	case netsvr.CmdUserConnList:
		return l.userConns(cmd, server, payload)
	case netsvr.CmdHistory:
		return l.history(cmd, server, payload)
	case netsvr.CmdPublishAt:
		return l.publishAt(cmd, server, payload)
	case netsvr.CmdMetrics:
		return l.respond(cmd, &netsvrpb.MetricsResp{ServerId: server, Items: l.hub.metrics.items(l.hub.config.Metrics, time.Now())})
	case netsvr.CmdLimit:
		req := new(netsvrpb.LimitReq)
		if err := netsvr.Unmarshal(payload, req); err != nil {
			return err
		}
		return l.respond(cmd, l.hub.limit(server, req))
	case netsvr.CmdConnOpenCustomUniqIDToken:
		return l.customToken(cmd)
	}
	return nil
}

// valid is s as a protobuf string can have it. Names are checked where they come in, but for those of
// protocols of the program's own that subscribe on the engine: one must not silence the answer.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// answers are the buffers that answers are encoded in.
var answers bytebufferpool.Pool

// respond queues a message of generated code as the answer.
func (l *link) respond(cmd netsvr.Command, m proto.Message) error {
	if l.capture {
		b, err := netsvr.AppendMessage([]byte{}, m)
		if err == nil {
			l.captured = b
			return nil
		}
		l.hub.stats.unencoded.Add(1)
		l.hub.log.Warn("answer not expressible", "command", cmd.String(), "err", err)
		return nil
	}
	if !l.outbox.awaitRoom() {
		return nil
	}
	b := answers.Get()
	var err error
	if b.B, err = netsvr.AppendMessage(b.B, m); err != nil {
		// An id or a topic that is not UTF-8 came from a client or another worker.
		l.hub.stats.unencoded.Add(1)
		l.hub.log.Warn("answer not expressible", "command", cmd.String(), "err", err)
		answers.Put(b)
		return nil
	}
	l.sendAnswer(cmd, b)
	return nil
}

// answer queues what encode appends as the answer. It must not be lost, so the reader waits for
// room, which also keeps a worker that asks without reading from asking more.
func (l *link) answer(cmd netsvr.Command, encode func(dst []byte) []byte) error {
	if l.capture {
		l.captured = encode([]byte{})
		return nil
	}
	if !l.outbox.awaitRoom() { // before there is an answer that takes memory
		return nil // the link is ending: nobody waits for answers any more
	}
	// Encoded before the outbox is locked: lists can be long, and loops use the outbox too.
	b := answers.Get()
	b.B = encode(b.B)
	l.sendAnswer(cmd, b)
	return nil
}

// sendAnswer queues an encoded answer and takes its buffer back. The pool does not get a big one:
// nobody would count it there.
func (l *link) sendAnswer(cmd netsvr.Command, b *bytebufferpool.ByteBuffer) {
	size := cap(b.B)
	l.hub.charge(engine.KindLinkQueue, size)
	l.answerThen(cmd, b.B, false, func() {})
	l.hub.charge(engine.KindLinkQueue, -size)
	if size <= keepSpare {
		answers.Put(b)
	}
}

// answerThen queues an answer that is encoded, if last is set behind all that waits. It calls then
// when the answer is queued and before the worker can have it, or anything be queued behind it.
func (l *link) answerThen(cmd netsvr.Command, message []byte, last bool, then func()) {
	encode := func(dst []byte) []byte {
		then()
		return append(dst, message...)
	}
	for l.outbox.awaitRoom() {
		if l.send(cmd, last, encode) {
			return
		}
		// Loops were quicker: once more.
	}
}

// onLoops runs f on every loop, behind what this link sent there, and waits for all of them.
func (l *link) onLoops(f func(*engine.Loop)) {
	var wg sync.WaitGroup
	e := l.hub.gateway.Engine()
	wg.Add(e.Loops())
	err := l.publisher.DoEach(func(loop *engine.Loop) {
		defer wg.Done()
		f(loop)
	})
	if err != nil {
		return // the engine is stopping: some loops will never run it
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-l.hub.gateway.Engine().Stopped():
	}
}

// subscribers answers TopicUniqIdList. Topics without subscribers are left out.
func (l *link) subscribers(cmd netsvr.Command, server int32, topics []string) error {
	var mu sync.Mutex
	slices.Sort(topics)
	topics = slices.Compact(topics)
	ids := make(map[string][]string, len(topics))
	g := l.hub.gateway
	l.onLoops(func(loop *engine.Loop) {
		for _, t := range topics {
			var list []string
			for _, ref := range loop.Subscribers(nil, []byte(t)) {
				if c := loop.Conn(ref); c != nil {
					if s, ok := c.Handler().(gateway.Session); ok {
						list = append(list, g.ID(s.Base()))
					}
				}
			}
			if len(list) > 0 {
				mu.Lock()
				ids[t] = append(ids[t], list...)
				mu.Unlock()
			}
		}
	})
	mu.Lock()
	defer mu.Unlock()
	return l.answer(cmd, func(dst []byte) []byte {
		return netsvr.AppendTopicUniqIDListResp(dst, server, func(yield func(string, iter.Seq[string]) bool) {
			for t, list := range ids {
				if !yield(t, func(yield func(string) bool) {
					for _, id := range list {
						if !yield(id) {
							return
						}
					}
				}) {
					return
				}
			}
		})
	})
}

// connInfo collects what is known of clients, each on its loop, and who they are, if that is wanted.
func (l *link) connInfo(ids []string, identity bool) *netsvrpb.ConnInfoResp {
	resp := &netsvrpb.ConnInfoResp{Items: make(map[string]*netsvrpb.ConnInfoResp_Item)}
	g := l.hub.gateway
	refs := make(map[engine.Ref]string, len(ids))
	for _, id := range ids {
		if ref := g.Lookup([]byte(id)); ref != 0 {
			refs[ref] = id
		}
	}
	if len(refs) == 0 {
		return resp
	}
	var mu sync.Mutex
	l.onLoops(func(loop *engine.Loop) {
		for ref, id := range refs {
			c := loop.Conn(ref)
			if c == nil {
				continue
			}
			if s, ok := c.Handler().(gateway.Session); ok && s.Base().Online() {
				item := &netsvrpb.ConnInfoResp_Item{Session: valid(s.Base().Session()), Topics: c.Topics(nil)}
				for i, t := range item.Topics {
					item.Topics[i] = valid(t)
				}
				if identity {
					l.hub.identify(item, c, s)
				}
				mu.Lock()
				resp.Items[id] = item
				mu.Unlock()
			}
		}
	})
	mu.Lock()
	defer mu.Unlock()
	return resp
}

// limit changes the rates that the request names, and tells all.
func (h *Hub) limit(server int32, req *netsvrpb.LimitReq) *netsvrpb.LimitResp {
	limits := h.live.Load().limits
	for _, item := range req.Items {
		for _, lim := range limits {
			if lim.name == item.Name && item.Concurrency > 0 {
				lim.set(int(item.Concurrency))
			}
		}
	}
	resp := &netsvrpb.LimitResp{ServerId: server}
	for _, lim := range limits {
		resp.Items = append(resp.Items, &netsvrpb.LimitResp_Item{
			Name: lim.name, Concurrency: int32(lim.current()), WorkerIds: lim.workers,
		})
	}
	return resp
}

func (l *link) customToken(cmd netsvr.Command) error {
	token, err := l.hub.tokens.Issue(l.hub.gateway.Engine().Time(), "")
	if err != nil {
		l.hub.log.Error("no token", "err", err)
		return nil
	}
	return l.respond(cmd, &netsvrpb.ConnOpenCustomUniqIdTokenResp{UniqId: l.hub.gateway.NewID(), Token: token})
}
