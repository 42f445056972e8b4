package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// sender is what Link and Worker have in common.
type sender interface {
	ConnInfoUpdate(context.Context, ConnInfoUpdate) error
	ConnInfoDelete(context.Context, ConnInfoDelete) error
	Broadcast(context.Context, []byte) error
	Multicast(context.Context, []string, []byte) error
	SingleCast(context.Context, string, []byte) error
	SingleCastBulk(context.Context, []string, [][]byte) error
	TopicSubscribe(context.Context, string, []string, []byte) error
	TopicSubscribeLast(context.Context, string, []string, int, []byte) error
	TopicUnsubscribe(context.Context, string, []string, []byte) error
	TopicDelete(context.Context, []string, []byte) error
	TopicPublish(context.Context, []string, []byte) error
	TopicPublishBulk(context.Context, []string, [][]byte) error
	Push(context.Context, Push) error
	ForceOffline(context.Context, []string, []byte) error
	ForceOfflineGuest(context.Context, []string, time.Duration, []byte) error
	UserCast(context.Context, []string, []byte) error
	UserForceOffline(context.Context, []string, []byte) error
	UserSubscribe(context.Context, string, []string, []byte) error
	UserSubscribeLast(context.Context, string, []string, int, []byte) error
	UserUnsubscribe(context.Context, string, []string, []byte) error
}

func TestCommands(t *testing.T) {
	ctx := context.Background()
	d, two, ids, topics := []byte("d"), [][]byte{[]byte("d"), []byte("e")}, []string{"a", "b"}, []string{"t", ""}
	tests := []struct {
		cmd  netsvr.Command
		send func(sender) error
		want proto.Message
	}{
		{netsvr.CmdConnInfoUpdate, func(s sender) error {
			return s.ConnInfoUpdate(ctx, ConnInfoUpdate{"a", "n", []byte("x"), "s", topics, d})
		}, &netsvrpb.ConnInfoUpdate{UniqId: "a", NewUniqId: "n", DataAsNewUniqIdExisted: []byte("x"), NewSession: "s", NewTopics: topics, Data: d}},
		{netsvr.CmdConnInfoDelete, func(s sender) error {
			return s.ConnInfoDelete(ctx, ConnInfoDelete{"a", true, true, true, d})
		}, &netsvrpb.ConnInfoDelete{UniqId: "a", DelUniqId: true, DelSession: true, DelTopic: true, Data: d}},
		{netsvr.CmdBroadcast, func(s sender) error { return s.Broadcast(ctx, d) }, &netsvrpb.Broadcast{Data: d}},
		{netsvr.CmdMulticast, func(s sender) error { return s.Multicast(ctx, ids, d) }, &netsvrpb.Multicast{UniqIds: ids, Data: d}},
		{netsvr.CmdSingleCast, func(s sender) error { return s.SingleCast(ctx, "a", d) }, &netsvrpb.SingleCast{UniqId: "a", Data: d}},
		{netsvr.CmdSingleCastBulk, func(s sender) error { return s.SingleCastBulk(ctx, ids, two) },
			&netsvrpb.SingleCastBulk{UniqIds: ids, Data: two}},
		{netsvr.CmdSingleCastBulk, func(s sender) error { return s.SingleCastBulk(ctx, ids[:1], two) },
			&netsvrpb.SingleCastBulk{UniqIds: ids[:1], Data: two}},
		{netsvr.CmdTopicSubscribe, func(s sender) error { return s.TopicSubscribe(ctx, "a", topics, d) },
			&netsvrpb.TopicSubscribe{UniqId: "a", Topics: topics, Data: d}},
		{netsvr.CmdTopicUnsubscribe, func(s sender) error { return s.TopicUnsubscribe(ctx, "a", topics, d) },
			&netsvrpb.TopicUnsubscribe{UniqId: "a", Topics: topics, Data: d}},
		{netsvr.CmdTopicDelete, func(s sender) error { return s.TopicDelete(ctx, topics, d) }, &netsvrpb.TopicDelete{Topics: topics, Data: d}},
		{netsvr.CmdTopicPublish, func(s sender) error { return s.TopicPublish(ctx, topics, d) }, &netsvrpb.TopicPublish{Topics: topics, Data: d}},
		{netsvr.CmdTopicPublishBulk, func(s sender) error { return s.TopicPublishBulk(ctx, topics, two) },
			&netsvrpb.TopicPublishBulk{Topics: topics, Data: two}},
		{netsvr.CmdPush, func(s sender) error {
			return s.Push(ctx, Push{UniqIDs: ids, Topics: topics, Users: ids, Route: "r", Cmd: 9, Payload: d})
		},
			&netsvrpb.Push{UniqIds: ids, Topics: topics, Users: ids, Route: "r", Cmd: 9, Payload: d}},
		{netsvr.CmdForceOffline, func(s sender) error { return s.ForceOffline(ctx, ids, d) }, &netsvrpb.ForceOffline{UniqIds: ids, Data: d}},
		{netsvr.CmdForceOfflineGuest, func(s sender) error { return s.ForceOfflineGuest(ctx, ids, 1500*time.Millisecond, d) },
			&netsvrpb.ForceOfflineGuest{UniqIds: ids, Delay: 2, Data: d}},
		{netsvr.CmdForceOfflineGuest, func(s sender) error { return s.ForceOfflineGuest(ctx, ids, -1, nil) },
			&netsvrpb.ForceOfflineGuest{UniqIds: ids}},
		{netsvr.CmdPush, func(s sender) error { return s.UserCast(ctx, ids, d) }, &netsvrpb.Push{Users: ids, Payload: d}},
		{netsvr.CmdUserForceOffline, func(s sender) error { return s.UserForceOffline(ctx, ids, d) },
			&netsvrpb.UserForceOffline{Users: ids, Data: d}},
		{netsvr.CmdUserSubscribe, func(s sender) error { return s.UserSubscribeLast(ctx, "ann", topics, 7, d) },
			&netsvrpb.UserSubscribe{User: "ann", Topics: topics, Data: d, Last: 7}},
		{netsvr.CmdTopicSubscribe, func(s sender) error { return s.TopicSubscribeLast(ctx, "a", topics, -7, d) },
			&netsvrpb.TopicSubscribe{UniqId: "a", Topics: topics, Data: d}},
		{netsvr.CmdTopicSubscribe, func(s sender) error { return s.TopicSubscribeLast(ctx, "a", topics, 7, d) },
			&netsvrpb.TopicSubscribe{UniqId: "a", Topics: topics, Data: d, Last: 7}},
		{netsvr.CmdUserSubscribe, func(s sender) error { return s.UserSubscribe(ctx, "ann", topics, d) },
			&netsvrpb.UserSubscribe{User: "ann", Topics: topics, Data: d}},
		{netsvr.CmdUserUnsubscribe, func(s sender) error { return s.UserUnsubscribe(ctx, "ann", topics, d) },
			&netsvrpb.UserUnsubscribe{User: "ann", Topics: topics, Data: d}},
	}
	bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
		for _, s := range []sender{w.Gateways()[0], w.Worker} {
			for _, tt := range tests {
				if err := tt.send(s); err != nil {
					t.Errorf("%T: %v: %v", s, tt.cmd, err)
					continue
				}
				got := tt.want.ProtoReflect().New().Interface()
				if l.decode(l.next(), tt.cmd, got); !proto.Equal(got, tt.want) {
					t.Errorf("%T: %v: got %v, want %v", s, tt.cmd, got, tt.want)
				}
			}
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.Broadcast(canceled, d); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if err := w.TopicSubscribe(ctx, "\xff", topics, d); !errors.Is(err, netsvr.ErrUTF8) {
			t.Errorf("not UTF-8: %v", err)
		}
		long := make([]byte, netsvr.DefaultFrameLimit)
		if err := w.SingleCast(ctx, "a", long); !errors.Is(err, netsvr.ErrFrameTooLarge) {
			t.Errorf("too long: %v", err)
		}
		if err := w.TopicSubscribe(ctx, "a", topics, long); !errors.Is(err, netsvr.ErrFrameTooLarge) {
			t.Errorf("too long: %v", err)
		}
		// None of these left anything behind in the outbox.
		if err := w.SingleCast(ctx, "z", d); err != nil {
			t.Error(err)
		}
		var m netsvrpb.SingleCast
		if l.decode(l.next(), netsvr.CmdSingleCast, &m); m.GetUniqId() != "z" {
			t.Errorf("got %v", &m)
		}
	})
}

const (
	idOn1  = "01AAAAAAAA00000001"
	idOn2  = "02AAAAAAAA00000001"
	idOn2b = "02AAAAAAAA00000002"
	idOn9  = "09AAAAAAAA00000001" // of a gateway that is none of ours
	custom = "alice"
)

func TestFanOut(t *testing.T) {
	ctx, d := context.Background(), []byte("d")
	tests := []struct {
		name string
		send func(sender) error
		want string // "gateway 1 | gateway 2"
	}{
		{"by id", func(s sender) error { return s.SingleCast(ctx, idOn1, d) },
			`uniqId:"01AAAAAAAA00000001" data:"d" | `},
		{"custom id", func(s sender) error { return s.SingleCast(ctx, custom, d) },
			`uniqId:"alice" data:"d" | uniqId:"alice" data:"d"`},
		{"unknown server", func(s sender) error { return s.SingleCast(ctx, idOn9, nil) },
			`uniqId:"09AAAAAAAA00000001" | uniqId:"09AAAAAAAA00000001"`},
		{"topics", func(s sender) error { return s.TopicPublish(ctx, []string{"t"}, d) },
			`topics:"t" data:"d" | topics:"t" data:"d"`},
		{"dealt", func(s sender) error { return s.Multicast(ctx, []string{idOn2, custom, idOn1, idOn2b, idOn2}, nil) },
			`uniqIds:"alice" uniqIds:"01AAAAAAAA00000001" | ` +
				`uniqIds:"02AAAAAAAA00000001" uniqIds:"alice" uniqIds:"02AAAAAAAA00000002" uniqIds:"02AAAAAAAA00000001"`},
		{"pairs", func(s sender) error {
			return s.SingleCastBulk(ctx, []string{idOn2, idOn1, idOn2b}, [][]byte{[]byte("x"), []byte("y"), []byte("z")})
		}, `uniqIds:"01AAAAAAAA00000001" data:"y" | uniqIds:"02AAAAAAAA00000001" uniqIds:"02AAAAAAAA00000002" data:"x" data:"z"`},
		{"many for one", func(s sender) error { return s.SingleCastBulk(ctx, []string{idOn2}, [][]byte{d, d}) },
			` | uniqIds:"02AAAAAAAA00000001" data:"d" data:"d"`},
		{"no bulk", func(s sender) error { return s.SingleCastBulk(ctx, []string{idOn1, idOn2}, [][]byte{d}) }, " | "},
		{"push to ids", func(s sender) error { return s.Push(ctx, Push{UniqIDs: []string{idOn2}, Route: "r"}) },
			` | uniqIds:"02AAAAAAAA00000001" route:"r"`},
		{"push to both", func(s sender) error { return s.Push(ctx, Push{UniqIDs: []string{idOn2}, Topics: []string{"t"}}) },
			`topics:"t" | uniqIds:"02AAAAAAAA00000001" topics:"t"`},
	}
	faketime.Test(t, func(t *testing.T) {
		g1, g2 := newFake(t), newFake(t)
		g2.serverID = 2
		dial := dialAll(map[string]*fakeGateway{"one:1": g1, "two:2": g2})
		w := run(t, Config{Gateways: []string{"one:1", "tcp://two:2"}, Dial: dial}, nil)
		w.ready()
		l1, l2 := <-g1.links, <-g2.links
		for _, tt := range tests {
			if err := tt.send(w); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			synctest.Wait()
			if got := l1.drain() + " | " + l2.drain(); got != tt.want {
				t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
			}
		}

		online := func(l *fakeLink, r received) bool {
			switch r.cmd {
			case netsvr.CmdCheckOnline:
				var m netsvrpb.CheckOnlineReq
				l.decode(r, r.cmd, &m)
				l.send(r.cmd, &netsvrpb.CheckOnlineResp{UniqIds: m.GetUniqIds()})
			case netsvr.CmdTopicUniqIDCount:
				l.send(r.cmd, &netsvrpb.TopicUniqIdCountResp{Items: map[string]int32{"t": 2, fmt.Sprint(l.gateway.serverID): 1}})
			case netsvr.CmdTopicUniqIDList:
				l.send(r.cmd, &netsvrpb.TopicUniqIdListResp{Items: map[string]*netsvrpb.TopicUniqIdListResp_Item{
					"t": {UniqIds: []string{fmt.Sprint(l.gateway.serverID)}}}})
			case netsvr.CmdTopicList:
				l.send(r.cmd, &netsvrpb.TopicListResp{Topics: []string{"t", fmt.Sprint(l.gateway.serverID)}})
			case netsvr.CmdConnInfo:
				var m netsvrpb.ConnInfoReq
				l.decode(r, r.cmd, &m)
				items := make(map[string]*netsvrpb.ConnInfoResp_Item)
				for _, id := range m.GetUniqIds() {
					items[id] = &netsvrpb.ConnInfoResp_Item{Session: fmt.Sprint(l.gateway.serverID)}
				}
				l.send(r.cmd, &netsvrpb.ConnInfoResp{Items: items})
			case netsvr.CmdUserConnList:
				l.send(r.cmd, &netsvrpb.UserConnListResp{Items: map[string]*netsvrpb.UserConnListResp_Item{"ann": {
					Count: 1, Conns: []*netsvrpb.UserConnListResp_Conn{{UniqId: fmt.Sprint(l.gateway.serverID), Protocol: "gosoc"}}}}})
			default:
				return false
			}
			return true
		}
		g1.setScript(online)
		g2.setScript(online)
		expect := func(name string, got any, err error, want string) {
			t.Helper()
			if err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s: %v, %v; want %s", name, got, err, want)
			}
		}
		ids, err := w.CheckOnline(ctx, []string{idOn2, idOn1, custom})
		expect("CheckOnline", ids, err, "["+idOn1+" "+idOn2+" alice]")
		n, err := w.UniqIDCount(ctx)
		expect("UniqIDCount", n, err, "14")
		counts, err := w.TopicUniqIDCount(ctx, nil, true)
		expect("TopicUniqIDCount", counts, err, "map[1:1 2:1 t:4]")
		lists, err := w.TopicUniqIDList(ctx, nil)
		expect("TopicUniqIDList", lists, err, "map[t:[1 2]]")
		topics, err := w.TopicList(ctx)
		expect("TopicList", topics, err, "[1 2 t]")
		infos, err := w.ConnInfo(ctx, []string{idOn2, idOn1})
		expect("ConnInfo", infos, err, "map["+idOn1+":{1 [] {   [] []}} "+idOn2+":{2 [] {   [] []}}]")
		conns, err := w.UserConnList(ctx, []string{"ann"})
		expect("UserConnList", conns, err, "map[ann:[{1  gosoc } {2  gosoc }]]")
		users, err := w.Online(ctx, []string{"ann"})
		expect("Online", users, err, "map[ann:2]")

		// One gateway down: the other gets it all the same, and the error says which one is down.
		g2.setDown(errors.New("down"))
		l2.nc.Close()
		synctest.Wait()
		err = w.Broadcast(ctx, d)
		var le *LinkError
		if !errors.As(err, &le) || le.Gateway != "two:2" || !errors.Is(err, ErrNotConnected) {
			t.Errorf("one gateway down: %v", err)
		}
		synctest.Wait()
		if got := l1.drain(); got != `data:"d"` {
			t.Errorf("the other got %s", got)
		}
		if n, err := w.UniqIDCount(ctx); n != 7 || !errors.Is(err, ErrNotConnected) {
			t.Errorf("UniqIDCount of what is left: %d, %v", n, err)
		}
		w.halt()
	})
}

// drain returns what has arrived, as text.
func (l *fakeLink) drain() string {
	messages := map[netsvr.Command]proto.Message{
		netsvr.CmdSingleCast: &netsvrpb.SingleCast{}, netsvr.CmdMulticast: &netsvrpb.Multicast{},
		netsvr.CmdSingleCastBulk: &netsvrpb.SingleCastBulk{}, netsvr.CmdTopicPublish: &netsvrpb.TopicPublish{},
		netsvr.CmdPush: &netsvrpb.Push{}, netsvr.CmdBroadcast: &netsvrpb.Broadcast{},
	}
	var all []string
	for len(l.inbox) > 0 {
		r := <-l.inbox
		m := messages[r.cmd]
		l.decode(r, r.cmd, m)
		all = append(all, strings.Join(strings.Fields(fmt.Sprint(m)), " "))
	}
	return strings.Join(all, "; ")
}

func TestServerOf(t *testing.T) {
	for id, want := range map[string]int32{
		"00AAAAAAAA00000001": 0, "FFAAAAAAAA00000001": 255, "1AAAAAAAAA00000001": 26,
		"ffAAAAAAAA00000001": -1, "00AAAAAAAA0000000": -1, "00AAAAAAAA000000011": -1, "00AAAAAAAA0000000G": -1, "": -1, custom: -1,
	} {
		if got := serverOf(id); got != want {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
}
