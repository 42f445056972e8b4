package link

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// A worker's change never comes before what the worker has published to a topic, on another node either,
// though messages and commands have ways of their own, of which that of the messages is the slower one.
func TestClusterChangesBehindPublishes(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 2, Config{})
	tc.late.Store(int64(20 * time.Millisecond))
	w := tc.nodes[1].worker(t, true)
	topics := []string{"t"}
	for _, tt := range []struct {
		cmd    netsvr.Command
		change func(b *lineClient) proto.Message
	}{
		{netsvr.CmdTopicUnsubscribe, func(b *lineClient) proto.Message {
			return &netsvrpb.TopicUnsubscribe{UniqId: b.id, Topics: topics, Data: []byte("out")}
		}},
		{netsvr.CmdUserUnsubscribe, func(*lineClient) proto.Message {
			return &netsvrpb.UserUnsubscribe{User: "v", Topics: topics, Data: []byte("out")}
		}},
		{netsvr.CmdTopicDelete, func(*lineClient) proto.Message {
			return &netsvrpb.TopicDelete{Topics: topics, Data: []byte("out")}
		}},
		{netsvr.CmdConnInfoUpdate, func(b *lineClient) proto.Message {
			return &netsvrpb.ConnInfoUpdate{UniqId: b.id, NewTopics: []string{"x"}, Data: []byte("out")}
		}},
		{netsvr.CmdConnInfoDelete, func(b *lineClient) proto.Message {
			return &netsvrpb.ConnInfoDelete{UniqId: b.id, DelTopic: true, Data: []byte("out")}
		}},
		{netsvr.CmdForceOffline, func(b *lineClient) proto.Message {
			return &netsvrpb.ForceOffline{UniqIds: []string{b.id}, Data: []byte("out")}
		}},
		{netsvr.CmdForceOfflineGuest, func(b *lineClient) proto.Message {
			return &netsvrpb.ForceOfflineGuest{UniqIds: []string{b.id}, Data: []byte("out")}
		}},
		{netsvr.CmdUserForceOffline, func(*lineClient) proto.Message {
			return &netsvrpb.UserForceOffline{Users: []string{"v"}, Data: []byte("out")}
		}},
	} {
		for _, publish := range []func() (netsvr.Command, proto.Message){
			say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: topics, Data: []byte("news")}),
			say(netsvr.CmdTopicPublishBulk, &netsvrpb.TopicPublishBulk{Topics: topics, Data: [][]byte{[]byte("news")}}),
			say(netsvr.CmdPush, &netsvrpb.Push{Topics: topics, Payload: []byte("news")}),
		} {
			b := tc.nodes[2].client(t, "v")
			if err := w.send(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: b.id, Topics: topics, Data: []byte("in")}); err != nil {
				t.Fatal(err)
			}
			b.want("in")
			cmd, m := publish()
			if err := w.send(cmd, m); err != nil {
				t.Fatal(err)
			}
			if err := w.send(tt.cmd, tt.change(b)); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"news", "out"} {
				if got := b.line(); got != want {
					t.Errorf("%v behind %v: the client got %q, want %q", tt.cmd, cmd, got, want)
				}
			}
			b.conn.Close()
			await(t, "the client's end", func() bool { return tc.nodes[2].hub.gateway.Online("v") == 0 })
		}
	}
	if s := Far(tc.nodes[1].hub); s.Overtaking != 0 {
		t.Errorf("%+v", s)
	}
}

// A node that does not say how far it is keeps a worker's changes for a while, and that is counted.
func TestClusterChangesDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	tc := newCluster(t, 2, Config{})
	tc.late.Store(int64(300 * time.Millisecond))
	h := tc.nodes[1].hub
	h.far.wait = 50 * time.Millisecond
	w := tc.nodes[1].worker(t, true)
	b := tc.nodes[2].client(t, "v")
	for _, f := range []func() (netsvr.Command, proto.Message){
		say(netsvr.CmdTopicPublish, &netsvrpb.TopicPublish{Topics: []string{"t"}, Data: []byte("news")}),
		say(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: b.id, Topics: []string{"t"}, Data: []byte("in")}),
	} {
		cmd, m := f()
		if err := w.send(cmd, m); err != nil {
			t.Fatal(err)
		}
	}
	b.want("in", "news") // which came too late to be missed
	if s := Far(h); s.Overtaking != 1 {
		t.Errorf("%+v", s)
	}
}

// Who has a uniqId that begins with the server id of another node, this one's, that one's or that of none,
// is reached like everybody else.
func TestClusterStrays(t *testing.T) {
	t.Parallel()
	const tail = "6553F100DEADBEEF"
	for _, tt := range []struct{ name, id string }{
		{"of the worker's node", "01" + tail}, {"of a third node", "03" + tail}, {"of no node", "09" + tail},
		{"of its own", "02" + tail}, {"of nobody", "somebody"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tc := newCluster(t, 3, Config{})
			w := tc.nodes[1].worker(t, true)
			b, bystander := tc.nodes[2].client(t, "v"), tc.nodes[3].client(t, "u")
			tail := func(end string) string { return tt.id[:len(tt.id)-1] + end } // another of the same kind
			for _, f := range []func() (netsvr.Command, proto.Message){
				say(netsvr.CmdConnInfoUpdate, &netsvrpb.ConnInfoUpdate{UniqId: b.id, NewUniqId: tt.id}),
				say(netsvr.CmdSingleCast, &netsvrpb.SingleCast{UniqId: tt.id, Data: []byte("1")}),
				say(netsvr.CmdMulticast, &netsvrpb.Multicast{UniqIds: []string{tt.id, bystander.id, tail("A")}, Data: []byte("2")}),
				say(netsvr.CmdSingleCastBulk, &netsvrpb.SingleCastBulk{
					UniqIds: []string{tail("B"), tt.id}, Data: [][]byte{[]byte("x"), []byte("3")},
				}),
				say(netsvr.CmdPush, &netsvrpb.Push{UniqIds: []string{tt.id}, Payload: []byte("4")}),
				say(netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: tt.id, Topics: []string{"t"}, Data: []byte("5")}),
				say(netsvr.CmdTopicUnsubscribe, &netsvrpb.TopicUnsubscribe{UniqId: tt.id, Topics: []string{"t"}, Data: []byte("6")}),
				say(netsvr.CmdConnInfoUpdate, &netsvrpb.ConnInfoUpdate{UniqId: tt.id, NewUniqId: tail("C"), Data: []byte("7")}),
				say(netsvr.CmdSingleCast, &netsvrpb.SingleCast{UniqId: tail("C"), Data: []byte("8")}),
			} {
				cmd, m := f()
				if err := w.send(cmd, m); err != nil {
					t.Fatal(err)
				}
			}
			b.want("1", "2", "3", "4", "5", "6", "7", "8")
			bystander.want("2")
			w.ask(netsvr.CmdCheckOnline, &netsvrpb.CheckOnlineReq{UniqIds: []string{tail("C"), tt.id, bystander.id}}, func(p []byte) {
				var m netsvrpb.CheckOnlineResp
				if err := proto.Unmarshal(p, &m); err != nil || len(m.UniqIds) != 2 || !slices.Contains(m.UniqIds, tail("C")) {
					t.Errorf("online are %q: %v", m.UniqIds, err)
				}
			})
			w.ask(netsvr.CmdConnInfo, &netsvrpb.ConnInfoReq{UniqIds: []string{tail("C")}}, func(p []byte) {
				var m netsvrpb.ConnInfoResp
				if err := proto.Unmarshal(p, &m); err != nil || len(m.Items) != 1 {
					t.Errorf("the stray's info is %v: %v", m.Items, err)
				}
			})
			if err := w.send(netsvr.CmdForceOffline, &netsvrpb.ForceOffline{UniqIds: []string{tail("C")}}); err != nil {
				t.Fatal(err)
			}
			b.want("closed")
		})
	}
}
