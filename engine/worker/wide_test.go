package worker

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// TestSeveralGatewaysAreNotWide: a Worker that is told of several gateways does everything on each of them.
// If one of these did it for the whole cluster, clients would get it twice.
func TestSeveralGatewaysAreNotWide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
