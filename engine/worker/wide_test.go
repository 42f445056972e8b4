package worker

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// TestSeveralGatewaysAreNotWide: a Worker that is told of several gateways does everything on each of them.
// If one of these did it for the whole cluster, clients would get it twice.
func TestSeveralGatewaysAreNotWide(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		var asked, wide atomic.Int32
		g.script = func(l *fakeLink, r received) bool {
			if r.cmd == netsvr.CmdRegister {
				var m netsvrpb.RegisterReq
				l.decode(r, r.cmd, &m)
				asked.Add(1)
				if m.GetClusterScope() {
					wide.Add(1)
				}
			}
			return false
		}
		w := run(t, Config{Gateways: []string{"tcp://a:1", "tcp://b:1"}, Dial: g.dial}, func(w *Worker) { w.Handle("*", echo) })
		w.ready()
		if asked.Load() != 2 || wide.Load() != 0 {
			t.Errorf("%d registrations, %d for the cluster; want 2 and 0", asked.Load(), wide.Load())
		}
		w.halt()
	})
}

// TestMissingNodes: what the others have answered comes with an error that names who has not.
func TestMissingNodes(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		g := newFake(t)
		missing := []uint32{2, 7}
		g.script = func(l *fakeLink, r received) bool {
			switch r.cmd {
			case netsvr.CmdUniqIDList:
				l.send(r.cmd, &netsvrpb.UniqIdListResp{UniqIds: []string{"a"}, MissingNodes: missing})
			case netsvr.CmdTopicUniqIDCount:
				l.send(r.cmd, &netsvrpb.TopicUniqIdCountResp{Items: map[string]int32{"t": 3}, MissingNodes: missing})
			case netsvr.CmdUserConnList:
				l.send(r.cmd, &netsvrpb.UserConnListResp{
					Items: map[string]*netsvrpb.UserConnListResp_Item{"ann": {Count: 1}}, MissingNodes: missing,
				})
			default:
				return false
			}
			return true
		}
		w := run(t, Config{Dial: g.dial}, nil)
		w.ready()
		wantMissing := func(what string, err error) {
			t.Helper()
			if e, ok := errors.AsType[*MissingNodesError](err); !ok || !slices.Equal(e.ServerIDs, missing) {
				t.Errorf("%s: %v", what, err)
			}
		}
		ids, err := w.UniqIDList(t.Context())
		wantMissing("UniqIDList", err)
		if !slices.Equal(ids, []string{"a"}) {
			t.Errorf("%q", ids)
		}
		counts, err := w.TopicUniqIDCount(t.Context(), []string{"t"}, false)
		wantMissing("TopicUniqIDCount", err)
		if counts["t"] != 3 {
			t.Errorf("%v", counts)
		}
		online, err := w.Online(t.Context(), []string{"ann"})
		wantMissing("Online", err)
		if online["ann"] != 1 {
			t.Errorf("%v", online)
		}
		w.halt()
	})
}

// TestClusterOfSeveralGateways: gateways of one cluster stand for each other: each command goes to one of
// them, while that is reached, and then to another, whoever has made the uniqId.
func TestClusterOfSeveralGateways(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		fakes := make(map[string]*fakeGateway)
		for i, addr := range []string{"a:1", "b:1", "c:1"} {
			g := newFake(t)
			g.serverID = int32(i + 1)
			g.script = func(l *fakeLink, r received) bool {
				switch r.cmd {
				case netsvr.CmdRegister:
					var m netsvrpb.RegisterReq
					l.decode(r, r.cmd, &m)
					if !m.GetClusterScope() {
						t.Error("a registration without the cluster's scope")
					}
					l.send(r.cmd, &netsvrpb.RegisterResp{RegisterId: "r1", Cluster: "test"})
				case netsvr.CmdUniqIDList:
					l.send(r.cmd, &netsvrpb.UniqIdListResp{UniqIds: []string{"x", "y"}})
				default:
					return false
				}
				return true
			}
			fakes[addr] = g
		}
		w := run(t, Config{
			Gateways: []string{"tcp://a:1", "tcp://b:1", "tcp://c:1"}, Cluster: true, Dial: dialAll(fakes),
		}, func(w *Worker) { w.Handle("*", echo) })
		w.ready()
		links := make(map[string]*fakeLink)
		for addr, g := range fakes {
			links[addr] = <-g.links
		}
		ctx := t.Context()
		of := func(server string) string { return server + "6A0000000000000F" }
		// use does what a worker may, and wants each command to come once, all to one gateway.
		use := func(addr string) {
			t.Helper()
			err := errors.Join(
				w.Broadcast(ctx, []byte("all")), w.TopicPublish(ctx, []string{"news"}, []byte("news")),
				w.SingleCast(ctx, of("03"), []byte("c")), w.SingleCast(ctx, "chosen", []byte("?")),
				w.Multicast(ctx, []string{of("01"), of("02"), of("77"), "chosen"}, []byte("some")),
				w.SingleCastBulk(ctx, []string{of("01"), of("02")}, [][]byte{{1}, {2}}),
				w.Push(ctx, Push{UniqIDs: []string{of("02")}, Topics: []string{"news"}, Payload: []byte("push")}),
				w.ForceOffline(ctx, []string{of("02")}, nil), w.UserCast(ctx, []string{"ann"}, []byte("ann")),
			)
			if err != nil {
				t.Errorf("%s: %v", addr, err)
			}
			ids, err := w.UniqIDList(ctx)
			if err != nil || !slices.Equal(ids, []string{"x", "y"}) {
				t.Errorf("%s: %q, %v", addr, ids, err)
			}
			synctest.Wait()
			for at, l := range links {
				if n := len(l.inbox); at == addr && n != 9 || at != addr && n != 0 {
					t.Errorf("%d commands at %s, %s stands for all", n, at, addr)
				}
				for len(l.inbox) > 0 {
					<-l.inbox
				}
			}
		}
		lose := func(addr string) {
			fakes[addr].setDown(errors.New("down"))
			links[addr].nc.Close()
			delete(links, addr)
			synctest.Wait()
		}
		use("a:1")
		lose("b:1")
		use("a:1")
		lose("a:1")
		use("c:1")
		fakes["a:1"].setDown(nil)
		links["a:1"] = <-fakes["a:1"].links
		if err := w.Gateways()[0].Ready(ctx); err != nil {
			t.Fatal(err)
		}
		use("c:1") // it goes on with the one that it has
		lose("c:1")
		use("a:1")
		lose("a:1")
		if err := w.Broadcast(ctx, []byte("nobody")); !errors.Is(err, ErrNotConnected) {
			t.Errorf("without a gateway: %v", err)
		}
		w.halt()
	})
}

// TestNoCluster: a gateway that is in no cluster does not stand for others.
func TestNoCluster(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		for _, links := range []int{1, 2} { // the second does not register
			g := newFake(t)
			w := run(t, Config{Gateways: []string{"tcp://a:1"}, Cluster: true, Dial: g.dial, Links: links}, func(w *Worker) {
				if links == 1 {
					w.Handle("*", echo)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := w.Ready(ctx); !errors.Is(err, ErrNoCluster) {
				t.Errorf("with %d links: %v, want ErrNoCluster", links, err)
			}
			cancel()
			w.halt()
		}
		if _, err := New(Config{Cluster: true, Local: true}); !errors.Is(err, ErrConfig) {
			t.Errorf("Cluster and Local: %v", err)
		}
	})
}
