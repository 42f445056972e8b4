package link

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// Each command of a worker on one node reaches the clients of others, and each client once.
func TestClusterCommands(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 3, Config{})
	w := tc.nodes[1].worker(t, true)
	// a is at the worker's node, b and c elsewhere; u's connections are a and c.
	type people struct{ a, b, c *lineClient }
	for _, tt := range []struct {
		name    string
		do      func(p people) []func() (netsvr.Command, proto.Message)
		a, b, c []string // what they get before "end"
		closes  bool     // b is closed, in place of "end"
	}{
		{name: "SingleCast", do: one(netsvr.CmdSingleCast, func(p people) proto.Message {
			return &netsvrpb.SingleCast{UniqId: p.b.id, Data: []byte("x")}
		}), b: []string{"x"}},
		{name: "Multicast", do: one(netsvr.CmdMulticast, func(p people) proto.Message {
			return &netsvrpb.Multicast{UniqIds: []string{p.a.id, p.b.id, p.c.id, p.b.id}, Data: []byte("x")}
		}), a: []string{"x"}, b: []string{"x", "x"}, c: []string{"x"}},
		{name: "SingleCastBulk", do: one(netsvr.CmdSingleCastBulk, func(p people) proto.Message {
			return &netsvrpb.SingleCastBulk{
				UniqIds: []string{p.c.id, p.a.id, p.b.id}, Data: [][]byte{[]byte("1"), []byte("2"), []byte("3")},
			}
		}), a: []string{"2"}, b: []string{"3"}, c: []string{"1"}},
		{name: "SingleCastBulk to one", do: one(netsvr.CmdSingleCastBulk, func(p people) proto.Message {
			return &netsvrpb.SingleCastBulk{UniqIds: []string{p.b.id}, Data: [][]byte{[]byte("1"), []byte("2")}}
		}), b: []string{"1", "2"}},
		{name: "Broadcast", do: one(netsvr.CmdBroadcast, func(people) proto.Message {
			return &netsvrpb.Broadcast{Data: []byte("x")}
		}), a: []string{"x"}, b: []string{"x"}, c: []string{"x"}},
		{name: "Push to users and ids", do: one(netsvr.CmdPush, func(p people) proto.Message {
			return &netsvrpb.Push{UniqIds: []string{p.b.id}, Users: []string{"u"}, Payload: []byte("x")}
		}), a: []string{"x"}, b: []string{"x"}, c: []string{"x"}},
		{name: "TopicSubscribe, then TopicPublish", do: func(p people) []func() (netsvr.Command, proto.Message) {
			return []func() (netsvr.Command, proto.Message){
				say(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: p.b.id, Topics: []string{"t"}, Data: []byte("in")}),
				say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("news")}),
				say(netsvr.CmdTopicUnsubscribe, &netsvrpb.TopicUnsubscribe{UniqId: p.b.id, Topics: []string{"t"}, Data: []byte("out")}),
				say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("late")}),
			}
		}, b: []string{"in", "news", "out"}},
		{name: "Push to a topic", do: func(p people) []func() (netsvr.Command, proto.Message) {
			return []func() (netsvr.Command, proto.Message){
				say(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: p.c.id, Topics: []string{"t"}}),
				say(netsvr.CmdPush, &netsvrpb.Push{Topics: []string{"t"}, UniqIds: []string{p.b.id}, Payload: []byte("x")}),
			}
		}, b: []string{"x"}, c: []string{"x"}},
		{name: "TopicDelete", do: func(p people) []func() (netsvr.Command, proto.Message) {
			return []func() (netsvr.Command, proto.Message){
				say(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: p.a.id, Topics: []string{"t"}}),
				say(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: p.c.id, Topics: []string{"t"}}),
				say(netsvr.CmdTopicDelete, &netsvrpb.TopicDelete{Topics: []string{"t"}, Data: []byte("gone")}),
				say(netsvr.CmdTopicPublishBulk, &netsvrpb.TopicPublishBulk{Topics: []string{"t"}, Data: [][]byte{[]byte("late")}}),
			}
		}, a: []string{"gone"}, c: []string{"gone"}},
		{name: "ConnInfoUpdate, and by the new id", do: func(p people) []func() (netsvr.Command, proto.Message) {
			return []func() (netsvr.Command, proto.Message){
				say(netsvr.CmdConnInfoUpdate, &netsvrpb.ConnInfoUpdate{
					UniqId: p.b.id, NewUniqId: "bob", NewSession: "s", NewTopics: []string{"t"}, Data: []byte("new"),
				}),
				say(netsvr.CmdSingleCast, &netsvrpb.SingleCast{UniqId: "bob", Data: []byte("hi")}),
				// A change comes behind the cast, and before the publish.
				say(netsvr.CmdConnInfoDelete, &netsvrpb.ConnInfoDelete{UniqId: "bob", DelSession: true}),
				say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("news")}),
				say(netsvr.CmdConnInfoDelete, &netsvrpb.ConnInfoDelete{UniqId: "bob", DelTopic: true, Data: []byte("less")}),
				say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("late")}),
			}
		}, b: []string{"new", "hi", "news", "less"}},
		{name: "UserSubscribe and UserUnsubscribe", do: func(people) []func() (netsvr.Command, proto.Message) {
			return []func() (netsvr.Command, proto.Message){
				say(netsvr.CmdUserSubscribe, &netsvrpb.UserSubscribe{User: "u", Topics: []string{"t"}, Data: []byte("in")}),
				say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("news")}),
				say(netsvr.CmdUserUnsubscribe, &netsvrpb.UserUnsubscribe{User: "u", Topics: []string{"t"}, Data: []byte("out")}),
				say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("late")}),
			}
		}, a: []string{"in", "news", "out"}, c: []string{"in", "news", "out"}},
		{name: "ForceOffline", do: one(netsvr.CmdForceOffline, func(p people) proto.Message {
			return &netsvrpb.ForceOffline{UniqIds: []string{p.b.id}}
		}), closes: true},
		{name: "ForceOfflineGuest", do: one(netsvr.CmdForceOfflineGuest, func(p people) proto.Message {
			return &netsvrpb.ForceOfflineGuest{UniqIds: []string{p.b.id}}
		}), closes: true},
		{name: "UserForceOffline", do: one(netsvr.CmdUserForceOffline, func(people) proto.Message {
			return &netsvrpb.UserForceOffline{Users: []string{"v"}}
		}), closes: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := people{tc.nodes[1].client(t, "u"), tc.nodes[2].client(t, "v"), tc.nodes[3].client(t, "u")}
			var all []byte // in one piece: what is published waits for what comes behind it to be read
			for _, f := range tt.do(p) {
				cmd, m := f()
				all = append(all, frameOf(t, cmd, m)...)
			}
			// A change is behind what was published, which a broadcast need not be.
			all = append(all, frameOf(t, netsvr.CmdTopicDelete, &netsvrpb.TopicDelete{Topics: []string{"none"}})...)
			all = append(all, frameOf(t, netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: []byte("end")})...)
			if _, err := w.Write(all); err != nil {
				t.Fatal(err)
			}
			p.a.want(append(tt.a, "end")...)
			p.c.want(append(tt.c, "end")...)
			if tt.closes {
				p.b.want("closed")
			} else {
				p.b.want(append(tt.b, "end")...)
			}
			for _, n := range tc.nodes {
				if s := Far(n.hub); s.Bad+s.Lost+s.Unacknowledged > 0 {
					t.Errorf("node %d: %+v", n.id, s)
				}
			}
		})
	}
}

func say(cmd netsvr.Command, m proto.Message) func() (netsvr.Command, proto.Message) {
	return func() (netsvr.Command, proto.Message) { return cmd, m }
}

func one[P any](cmd netsvr.Command, m func(P) proto.Message) func(P) []func() (netsvr.Command, proto.Message) {
	return func(p P) []func() (netsvr.Command, proto.Message) {
		return []func() (netsvr.Command, proto.Message){say(cmd, m(p))}
	}
}

// A worker without the scope reaches the clients of its gateway alone, whatever it says: it speaks to
// every gateway by itself, and nobody may get anything twice.
func TestClusterUnscoped(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 2, Config{})
	a, b := tc.nodes[1].client(t, "u"), tc.nodes[2].client(t, "u")
	var workers []*fakeWorker
	for id := range uint8(2) {
		workers = append(workers, tc.nodes[id+1].worker(t, false))
	}
	scoped := tc.nodes[1].worker(t, true)
	for _, c := range []*lineClient{a, b} {
		if err := scoped.send(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: c.id, Topics: []string{"t"}}); err != nil {
			t.Fatal(err)
		}
	}
	scoped.ask(netsvr.CmdUniqIDCount, nil, func([]byte) {})
	for _, w := range workers {
		for _, f := range []func() (netsvr.Command, proto.Message){
			say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("1")}),
			say(netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: []byte("2")}),
			say(netsvr.CmdMulticast, &netsvrpb.Multicast{UniqIds: []string{a.id, b.id}, Data: []byte("3")}),
			say(netsvr.CmdPush, &netsvrpb.Push{Users: []string{"u"}, Topics: []string{"t"}, Payload: []byte("4")}),
		} {
			cmd, m := f()
			if err := w.send(cmd, m); err != nil {
				t.Fatal(err)
			}
		}
		w.ask(netsvr.CmdUniqIDCount, nil, func(b []byte) {
			var m netsvrpb.UniqIdCountResp
			if err := proto.Unmarshal(b, &m); err != nil || m.Count != 1 {
				t.Errorf("it sees %d clients: %v", m.Count, err)
			}
		})
	}
	if err := scoped.send(netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: []byte("end")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*lineClient{a, b} {
		c.want("1", "2", "3", "4", "4", "end")
	}
}

// Queries of a worker with the scope are answered for all nodes.
func TestClusterQueries(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 3, Config{})
	a, b, c := tc.nodes[1].client(t, "u"), tc.nodes[2].client(t, "v"), tc.nodes[3].client(t, "u")
	w := tc.nodes[1].worker(t, true)
	for _, x := range []struct {
		id     string
		topics []string
	}{{a.id, []string{"t", "x"}}, {b.id, []string{"t"}}, {c.id, []string{"t", "y"}}} {
		if err := w.send(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: x.id, Topics: x.topics}); err != nil {
			t.Fatal(err)
		}
	}
	all := []string{a.id, b.id, c.id}
	slices.Sort(all)
	sorted := func(s []string) string { slices.Sort(s); return strings.Join(s, " ") }
	check := func(missing string) {
		t.Helper()
		for _, tt := range []struct {
			cmd  netsvr.Command
			req  proto.Message
			resp proto.Message
			got  func(m proto.Message) string
			want string
		}{
			{netsvr.CmdCheckOnline, &netsvrpb.CheckOnlineReq{UniqIds: []string{a.id, b.id, c.id, "nobody"}}, new(netsvrpb.CheckOnlineResp),
				func(m proto.Message) string { return sorted(m.(*netsvrpb.CheckOnlineResp).UniqIds) }, sorted(all)},
			{netsvr.CmdUniqIDList, nil, new(netsvrpb.UniqIdListResp), func(m proto.Message) string {
				return fmt.Sprint(m.(*netsvrpb.UniqIdListResp).ServerId, sorted(m.(*netsvrpb.UniqIdListResp).UniqIds))
			}, "1" + sorted(all)},
			{netsvr.CmdUniqIDCount, nil, new(netsvrpb.UniqIdCountResp), func(m proto.Message) string {
				return fmt.Sprint(m.(*netsvrpb.UniqIdCountResp).ServerId, m.(*netsvrpb.UniqIdCountResp).Count)
			}, "1 3"},
			{netsvr.CmdTopicCount, nil, new(netsvrpb.TopicCountResp),
				func(m proto.Message) string { return fmt.Sprint(m.(*netsvrpb.TopicCountResp).Count) }, "3"},
			{netsvr.CmdTopicList, nil, new(netsvrpb.TopicListResp),
				func(m proto.Message) string { return sorted(m.(*netsvrpb.TopicListResp).Topics) }, "t x y"},
			{netsvr.CmdTopicUniqIDList, &netsvrpb.TopicUniqIdListReq{Topics: []string{"t"}}, new(netsvrpb.TopicUniqIdListResp),
				func(m proto.Message) string { return sorted(m.(*netsvrpb.TopicUniqIdListResp).Items["t"].GetUniqIds()) }, sorted(all)},
			{netsvr.CmdTopicUniqIDCount, &netsvrpb.TopicUniqIdCountReq{CountAll: true}, new(netsvrpb.TopicUniqIdCountResp),
				func(m proto.Message) string { return fmt.Sprint(m.(*netsvrpb.TopicUniqIdCountResp).Items) }, "map[t:3 x:1 y:1]"},
			{netsvr.CmdConnInfo, &netsvrpb.ConnInfoReq{UniqIds: []string{a.id, c.id}, WantsIdentity: true}, new(netsvrpb.ConnInfoResp),
				func(m proto.Message) string {
					items := m.(*netsvrpb.ConnInfoResp).Items
					return items[a.id].GetUser() + sorted(items[a.id].GetTopics()) + items[c.id].GetUser() + sorted(items[c.id].GetTopics())
				}, "ut xut y"},
			{netsvr.CmdUserConnList, &netsvrpb.UserConnListReq{Users: []string{"u", "v"}}, new(netsvrpb.UserConnListResp),
				func(m proto.Message) string {
					items := m.(*netsvrpb.UserConnListResp).Items
					return fmt.Sprint(items["u"].GetCount(), items["v"].GetCount(), len(items["u"].GetConns()))
				}, "2 1 2"},
		} {
			w.ask(tt.cmd, tt.req, func(b []byte) {
				if err := proto.Unmarshal(b, tt.resp); err != nil {
					t.Fatal(err)
				}
				got := tt.got(tt.resp)
				gone := fmt.Sprint(tt.resp.(interface{ GetMissingNodes() []uint32 }).GetMissingNodes())
				if missing == "[]" && got != tt.want || gone != missing {
					t.Errorf("%v: got %q without %s, want %q without %s", tt.cmd, got, gone, tt.want, missing)
				}
			})
		}
	}
	check("[]")
	tc.nodes[2].silent.Store(true)
	w.ask(netsvr.CmdUniqIDCount, nil, func(b []byte) {
		var m netsvrpb.UniqIdCountResp
		if err := proto.Unmarshal(b, &m); err != nil || m.Count != 2 || fmt.Sprint(m.MissingNodes) != "[2]" {
			t.Errorf("without node 2: %v %v", &m, err)
		}
	})
	if s := Far(tc.nodes[1].hub); s.Unanswered != 1 {
		t.Errorf("%+v", s)
	}
}

// While NATS is away, and where a node is silent, a worker's commands for its own gateway are carried
// out, and what is lost is counted.
func TestClusterAway(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 2, Config{})
	a, b := tc.nodes[1].client(t, "u"), tc.nodes[2].client(t, "v")
	w := tc.nodes[1].worker(t, true)
	tc.away.Store(true)
	begun := time.Now()
	for range 100 {
		for _, f := range []func() (netsvr.Command, proto.Message){
			say(netsvr.CmdMulticast, &netsvrpb.Multicast{UniqIds: []string{a.id, b.id}, Data: []byte("x")}),
			say(netsvr.CmdUserSubscribe, &netsvrpb.UserSubscribe{User: "v", Topics: []string{"t"}}),
			say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("y")}),
		} {
			cmd, m := f()
			if err := w.send(cmd, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		a.want("x")
	}
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("took %v", d)
	}
	await(t, "the count of what is lost", func() bool { return Far(tc.nodes[1].hub).Lost == 200 })
	tc.away.Store(false)
	tc.nodes[1].hub.far.wait = 100 * time.Millisecond
	tc.nodes[2].silent.Store(true)
	if err := w.send(netsvr.CmdUserSubscribe, &netsvrpb.UserSubscribe{User: "v", Topics: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	w.ask(netsvr.CmdLimit, nil, func([]byte) {})
	if s := Far(tc.nodes[1].hub); s.Unacknowledged != 1 {
		t.Errorf("%+v", s)
	}
}

// serveRequests answers with what echo makes of the payload until the link ends.
func (w *fakeWorker) serveRequests(echo func(m *netsvr.Request) *netsvrpb.Reply) {
	for {
		cmd, payload, err := w.read()
		if err != nil {
			return
		}
		var m netsvr.Request
		if cmd != netsvr.CmdRequest || m.Decode(payload) != nil {
			continue
		}
		if r := echo(&m); r != nil {
			r.Id = m.ID
			if w.send(netsvr.CmdReply, r) != nil {
				return
			}
		}
	}
}

// Requests of clients go to a worker here, else to one elsewhere, whatever its node answers with.
func TestClusterRequests(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 3, Config{})
	b := tc.nodes[2].client(t, "v")
	named := func(name string) func(m *netsvr.Request) *netsvrpb.Reply {
		return func(m *netsvr.Request) *netsvrpb.Reply {
			switch string(m.Payload) {
			case "refuse":
				return &netsvrpb.Reply{Status: 4, Message: "no"}
			case "die":
				return nil
			}
			return &netsvrpb.Reply{Payload: fmt.Appendf(nil, "%s %s %s %s", name, m.User, m.Route, m.Payload)}
		}
	}
	// It waits until there is one anywhere.
	b.send("early")
	await(t, "that it waits", func() bool { return tc.nodes[2].hub.gateway.Stats().Waited == 1 })
	elsewhere := tc.nodes[1].worker(t, true)
	go elsewhere.serveRequests(named("one"))
	b.want("reply 0 one v ask early")
	for i := range 20 {
		b.send(strconv.Itoa(i))
	}
	for i := range 20 {
		b.want("reply 0 one v ask " + strconv.Itoa(i))
	}
	b.send("refuse")
	b.want("reply 4 no")
	// A node that is silent costs a second, and then the next is asked.
	tc.nodes[1].silent.Store(true)
	third := tc.nodes[3].worker(t, true)
	go third.serveRequests(named("three"))
	for range 2 {
		b.send("x")
		b.want("reply 0 three v ask x")
	}
	// Here first.
	here := tc.nodes[2].worker(t, true)
	go here.serveRequests(named("two"))
	for range 5 {
		b.send("x")
		b.want("reply 0 two v ask x")
	}
	here.Close()
	await(t, "the end of the worker here", func() bool { return tc.nodes[2].hub.Stats().Registered == 0 })
	// The worker dies, or its node does, with the request.
	b.send("die")
	await(t, "the request at node 3", func() bool { return waiting(&tc.nodes[3].hub.far.asked) == 1 })
	tc.nodes[1].leave()
	third.Close()
	b.want("reply 5 " + lostWorker)
	third = tc.nodes[3].worker(t, true)
	go third.serveRequests(named("three"))
	b.send("die")
	await(t, "the request at node 3", func() bool { return waiting(&tc.nodes[3].hub.far.asked) == 1 })
	tc.nodes[3].leave()
	b.want("reply 5 " + lostWorker)
	for _, n := range tc.nodes {
		await(t, "the end of what is on its way", func() bool { return n.hub.far.bytes.Load() == 0 })
		if s := Far(n.hub); s.Bad > 0 {
			t.Errorf("node %d: %+v", n.id, s)
		}
	}
}

// What clients do goes to a worker elsewhere while none is here: opens, messages, requests that want no
// reply, and closes.
func TestClusterEvents(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 2, Config{OpenWorker: 1, CloseWorker: 1})
	w := tc.nodes[1].worker(t, true)
	b := tc.nodes[2].client(t, "v")
	want := func(cmd netsvr.Command, what func([]byte) string, text string) {
		t.Helper()
		got, payload, err := w.read()
		if err != nil || got != cmd || what(payload) != text {
			t.Fatalf("got %v %q: %v; want %v %q", got, what(payload), err, cmd, text)
		}
	}
	want(netsvr.CmdConnOpen, func(p []byte) string {
		var m netsvr.ConnOpen
		_ = m.Decode(p)
		return string(m.UniqID) + string(m.Identity.User) // no identity: it has not asked for it
	}, b.id)
	b.send("@hello")
	want(netsvr.CmdTransfer, func(p []byte) string {
		var m netsvr.Transfer
		_ = m.Decode(p)
		return string(m.UniqID) + string(m.Data)
	}, b.id+"hello")
	b.send("!note")
	want(netsvr.CmdRequest, func(p []byte) string {
		var m netsvr.Request
		_ = m.Decode(p)
		return fmt.Sprint(string(m.Payload), m.WantsReply, m.ID)
	}, "notefalse 0")
	b.conn.Close()
	want(netsvr.CmdConnClose, func(p []byte) string {
		var m netsvr.ConnClose
		_ = m.Decode(p)
		return string(m.UniqID)
	}, b.id)
}

// What another node sends that cannot be read is counted, and harms nobody.
func TestClusterBadInput(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 2, Config{})
	h := tc.nodes[1].hub
	whole := [][]byte{
		append(appendFar(farCommand, netsvr.CmdSingleCast, 0), "\x0a\x01x\x12\x01y"...),
		appendFar(farQuery, netsvr.CmdUniqIDCount, 0),
		append([]byte{farRequest, 0, 1}, "\x0a\x01x"...),
		append([]byte{farEvent, 0, 1, 0x35, 0xa4, 0xe9, 0xeb}, "\x0a\x01x"...),
		append([]byte{farReply}, make([]byte, 15)...),
	}
	n := uint64(0)
	for _, b := range whole {
		for i := range len(b) + 1 {
			h.serveFar(2, b[:i], nil)
			n++
		}
	}
	for _, cmd := range []netsvr.Command{netsvr.CmdTopicPublish, netsvr.CmdReply, netsvr.CmdRegister, netsvr.CmdTransfer, 5} {
		h.serveFar(2, appendFar(farCommand, cmd, 0), nil)
		n++
	}
	if s := Far(h); s.Served != n || s.Bad < n/2 {
		t.Errorf("%d sent, %+v", n, s)
	}
}

// waiting returns how many requests from elsewhere workers here have yet to answer.
func waiting(q *asked) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list)
}
