package worker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

func TestQueries(t *testing.T) {
	type m map[string]any
	tests := []struct {
		cmd      netsvr.Command
		question proto.Message // nil: no body
		answer   proto.Message
		ask      func(context.Context, *Link) (any, error)
		want     any
	}{
		{netsvr.CmdCheckOnline, &netsvrpb.CheckOnlineReq{UniqIds: []string{"a", "b"}},
			&netsvrpb.CheckOnlineResp{UniqIds: []string{"b"}},
			func(ctx context.Context, l *Link) (any, error) { return l.CheckOnline(ctx, []string{"a", "b"}) }, []string{"b"}},
		{netsvr.CmdUniqIDList, nil, &netsvrpb.UniqIdListResp{UniqIds: []string{"a"}},
			func(ctx context.Context, l *Link) (any, error) { return l.UniqIDList(ctx) }, []string{"a"}},
		{netsvr.CmdUniqIDCount, nil, &netsvrpb.UniqIdCountResp{Count: 3},
			func(ctx context.Context, l *Link) (any, error) { return l.UniqIDCount(ctx) }, 3},
		{netsvr.CmdTopicCount, nil, &netsvrpb.TopicCountResp{Count: 4},
			func(ctx context.Context, l *Link) (any, error) { return l.TopicCount(ctx) }, 4},
		{netsvr.CmdTopicList, nil, &netsvrpb.TopicListResp{Topics: []string{"t"}},
			func(ctx context.Context, l *Link) (any, error) { return l.TopicList(ctx) }, []string{"t"}},
		{netsvr.CmdTopicUniqIDList, &netsvrpb.TopicUniqIdListReq{Topics: []string{"t"}},
			&netsvrpb.TopicUniqIdListResp{Items: map[string]*netsvrpb.TopicUniqIdListResp_Item{"t": {UniqIds: []string{"a"}}}},
			func(ctx context.Context, l *Link) (any, error) { return l.TopicUniqIDList(ctx, []string{"t"}) },
			map[string][]string{"t": {"a"}}},
		{netsvr.CmdTopicUniqIDCount, &netsvrpb.TopicUniqIdCountReq{Topics: []string{"t"}, CountAll: true},
			&netsvrpb.TopicUniqIdCountResp{Items: map[string]int32{"t": 5}},
			func(ctx context.Context, l *Link) (any, error) { return l.TopicUniqIDCount(ctx, []string{"t"}, true) },
			map[string]int{"t": 5}},
		{netsvr.CmdConnInfo, &netsvrpb.ConnInfoReq{UniqIds: []string{"a"}, WantsIdentity: true},
			&netsvrpb.ConnInfoResp{Items: map[string]*netsvrpb.ConnInfoResp_Item{"a": {Session: "s", Topics: []string{"t"},
				User: "ann", Protocol: "gosoc", Peer: "[::1]:9", Metadata: map[string]string{"l": "en", "a": ""}, Claims: map[string]string{"k": "v"}}}},
			func(ctx context.Context, l *Link) (any, error) { return l.ConnInfo(ctx, []string{"a"}) },
			map[string]ConnInfo{"a": {Session: "s", Topics: []string{"t"}, Identity: Identity{User: "ann", Protocol: "gosoc", Peer: "[::1]:9",
				metadata: []netsvr.Metadata{{Key: []byte("a"), Value: []byte("")}, {Key: []byte("l"), Value: []byte("en")}},
				claims:   []netsvr.Metadata{{Key: []byte("k"), Value: []byte("v")}}}}}},
		{netsvr.CmdUserConnList, &netsvrpb.UserConnListReq{Users: []string{"ann", "bob"}},
			&netsvrpb.UserConnListResp{Items: map[string]*netsvrpb.UserConnListResp_Item{"ann": {Count: 1, Conns: []*netsvrpb.UserConnListResp_Conn{
				{UniqId: "u", Session: "s", Protocol: "gosoc", Peer: "[::1]:9"}}}}},
			func(ctx context.Context, l *Link) (any, error) { return l.UserConnList(ctx, []string{"ann", "bob"}) },
			map[string][]UserConn{"ann": {{"u", "s", "gosoc", "[::1]:9"}}}},
		{netsvr.CmdUserConnList, &netsvrpb.UserConnListReq{Users: []string{"ann", "bob"}, CountOnly: true},
			&netsvrpb.UserConnListResp{Items: map[string]*netsvrpb.UserConnListResp_Item{"ann": {Count: 3}}},
			func(ctx context.Context, l *Link) (any, error) { return l.Online(ctx, []string{"ann", "bob"}) },
			map[string]int{"ann": 3}},
		{netsvr.CmdMetrics, nil,
			&netsvrpb.MetricsResp{Items: map[int32]*netsvrpb.MetricsResp_Item{6: {
				Count: 1, MeanRate: 2, MeanRateMax: 3, Rate1: 4, Rate1Max: 5, Rate5: 6, Rate5Max: 7, Rate15: 8, Rate15Max: 9}}},
			func(ctx context.Context, l *Link) (any, error) { return l.Metrics(ctx) },
			map[int]Metric{MetricClientBytes: {1, 2, 3, 4, 5, 6, 7, 8, 9}}},
		{netsvr.CmdLimit, &netsvrpb.LimitReq{Items: []*netsvrpb.LimitReq_Item{{Name: "n", Concurrency: 9}}},
			&netsvrpb.LimitResp{Items: []*netsvrpb.LimitResp_Item{{Name: "n", Concurrency: 9, WorkerIds: []int32{2, 3}}}},
			func(ctx context.Context, l *Link) (any, error) {
				return l.Limit(ctx, []Limit{{Name: "n", Concurrency: 9}})
			},
			[]Limit{{"n", 9, []int{2, 3}}}},
		{netsvr.CmdConnOpenCustomUniqIDToken, nil,
			&netsvrpb.ConnOpenCustomUniqIdTokenResp{UniqId: "u", Token: "t"},
			func(ctx context.Context, l *Link) (any, error) {
				id, token, err := l.ConnOpenCustomUniqIDToken(ctx)
				return m{"id": id, "token": token}, err
			}, m{"id": "u", "token": "t"}},
	}
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		w := run(t, Config{Dial: g.dial}, nil)
		w.ready()
		for _, tt := range tests {
			g.setScript(func(l *fakeLink, r received) bool {
				if tt.question == nil {
					if r.cmd != tt.cmd || len(r.payload) > 0 {
						t.Errorf("got %v with %d bytes, want %v", r.cmd, len(r.payload), tt.cmd)
					}
				} else {
					got := tt.question.ProtoReflect().New().Interface()
					if l.decode(r, tt.cmd, got); !proto.Equal(got, tt.question) {
						t.Errorf("%v: got %v, want %v", r.cmd, got, tt.question)
					}
				}
				l.send(r.cmd, tt.answer)
				return true
			})
			got, err := tt.ask(t.Context(), w.Gateways()[0].Link)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%v: got %v, %v; want %v", tt.cmd, got, err, tt.want)
			}
			synctest.Wait()
		}
		w.halt()
	})
}

// A query whose caller has left keeps its place, so that its late answer goes to nobody else.
func TestLateAnswer(t *testing.T) {
	bubble(t, Config{QueryTimeout: time.Second}, nil, func(t *testing.T, w *running, l *fakeLink) {
		gw := w.Gateways()[0]
		if _, err := gw.CheckOnline(t.Context(), []string{"first"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("unanswered: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		got := make(chan []string)
		go func() {
			ids, err := gw.CheckOnline(ctx, []string{"second"})
			if err != nil {
				t.Error(err)
			}
			got <- ids
		}()
		time.Sleep(2 * time.Second)
		for range 2 {
			var m netsvrpb.CheckOnlineReq
			l.decode(l.next(), netsvr.CmdCheckOnline, &m)
			l.send(netsvr.CmdCheckOnline, &netsvrpb.CheckOnlineResp{UniqIds: m.GetUniqIds()})
		}
		if ids := <-got; fmt.Sprint(ids) != "[second]" {
			t.Errorf("got the answer %v", ids)
		}
	})
}

// The answer to a later query says that the earlier ones get none.
func TestUnanswered(t *testing.T) {
	bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
		gw := w.Gateways()[0]
		failed := make(chan error)
		go func() {
			_, err := gw.CheckOnline(t.Context(), []string{"a"})
			failed <- err
		}()
		l.next()
		if n, err := gw.UniqIDCount(t.Context()); n != 7 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		if err := <-failed; !errors.Is(err, ErrUnanswered) {
			t.Errorf("skipped query: %v", err)
		}
	})
}

// When an abandoned query never gets its answer, the next of its command would be taken for it:
// the link is dialled anew.
func TestOutOfStep(t *testing.T) {
	bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
		if _, err := w.Gateways()[0].TopicList(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("unanswered: %v", err)
		}
		l.next()
		time.Sleep(60 * time.Second)
		if _, open := <-l.inbox; open {
			t.Error("the link is still open")
		}
		w.ready()
	})
}

func TestQueryOnLostLink(t *testing.T) {
	bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
		failed := make(chan error)
		for range 3 {
			go func() {
				_, err := w.TopicList(t.Context())
				failed <- err
			}()
		}
		l.next()
		l.next()
		l.next()
		l.nc.Close()
		for range 3 {
			var le *LinkError
			if err := <-failed; !errors.Is(err, ErrLinkLost) || !errors.As(err, &le) || le.Command != "TopicList" {
				t.Errorf("got %v", err)
			}
		}
		w.ready()
	})
}

func TestUnreadableAnswer(t *testing.T) {
	bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
		l.gateway.setScript(func(l *fakeLink, r received) bool {
			if r.cmd != netsvr.CmdTopicList {
				return false
			}
			b, _ := netsvr.V2.AppendFrame(nil, r.cmd, []byte{0x12, 5, 'x'}, 0)
			l.write(b)
			return true
		})
		if _, err := w.TopicList(t.Context()); !errors.Is(err, netsvr.ErrMalformed) {
			t.Errorf("got %v", err)
		}
		if _, err := w.UniqIDCount(t.Context()); err != nil {
			t.Errorf("the link should have stayed: %v", err)
		}
	})
}

func TestTooManyQueries(t *testing.T) {
	bubble(t, Config{}, nil, func(t *testing.T, w *running, l *fakeLink) {
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		for range maxWaiting {
			go func() {
				_, err := w.TopicList(ctx)
				failed <- err
			}()
		}
		synctest.Wait()
		if _, err := w.TopicList(ctx); !errors.Is(err, ErrTooManyQueries) {
			t.Errorf("got %v", err)
		}
		cancel()
		for range maxWaiting {
			<-failed
		}
	})
}
