package link

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
)

// wide reports whether a query is answered for the whole cluster to a link of that scope.
func wide(cmd netsvr.Command) bool {
	switch cmd {
	case netsvr.CmdCheckOnline, netsvr.CmdUniqIDList, netsvr.CmdUniqIDCount, netsvr.CmdTopicCount,
		netsvr.CmdTopicList, netsvr.CmdTopicUniqIDList, netsvr.CmdTopicUniqIDCount, netsvr.CmdConnInfo,
		netsvr.CmdUserConnList:
		return true
	}
	return false
}

// queryAll answers a query for the whole cluster. The answer has this node's server id, and names the
// nodes that have not answered.
func (l *link) queryAll(cmd netsvr.Command, payload []byte) error {
	h := l.hub
	asked, nodes := cmd, []uint8(nil)
	switch cmd {
	case netsvr.CmdTopicCount:
		asked, payload = netsvr.CmdTopicList, nil // a topic may have subscribers on several nodes
	case netsvr.CmdCheckOnline:
		m := new(netsvrpb.CheckOnlineReq)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		nodes = whose(h, m.UniqIds)
	case netsvr.CmdConnInfo:
		m := new(netsvrpb.ConnInfoReq)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		nodes = whose(h, m.UniqIds)
		if l.wantsIdentity && !m.WantsIdentity {
			m.WantsIdentity = true
			if b, err := netsvr.AppendMessage(nil, m); err == nil {
				payload = b
			}
		}
	}
	var mu sync.Mutex
	var answers [][]byte
	var missing []uint32
	size := 0
	over := make(chan struct{})
	h.cluster.Ask(nodes, append(appendFar(farQuery, asked, len(payload)), payload...), queryWait,
		func(node uint8, answer []byte, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil && len(answer) > 0 && answer[0] == 1 {
				answers, size = append(answers, answer[1:]), size+len(answer)
				h.charge(engine.KindLinkQueue, len(answer))
				return
			}
			missing = append(missing, uint32(node))
			h.far.stats.unanswered.Add(1)
			h.log.Warn("a node has not answered a worker's query", "peer", l.peer, "command", cmd.String(),
				"node", node, "err", err)
		}, func() { close(over) })
	own, err := l.askHere(asked, payload)
	select {
	case <-over:
	case <-h.gateway.Engine().Stopped():
	}
	mu.Lock()
	list, gone, charged := answers, slices.Clone(missing), size
	mu.Unlock()
	defer h.charge(engine.KindLinkQueue, -charged)
	if err != nil || own == nil {
		return err
	}
	slices.Sort(gone)
	server := int32(h.gateway.Config().ServerID)
	if cmd == netsvr.CmdUniqIDList { // which may be too long to be made into strings
		return l.answer(cmd, func(dst []byte) []byte {
			for _, b := range list {
				dst = append(dst, b...)
			}
			dst = append(dst, own...) // the last server id counts
			for _, node := range gone {
				dst = protowire.AppendTag(dst, 110, protowire.VarintType)
				dst = protowire.AppendVarint(dst, uint64(node))
			}
			return dst
		})
	}
	m, err := merge(cmd, server, own, list, gone)
	if err != nil {
		return err
	}
	return l.respond(cmd, m)
}

// whose are the nodes that may have the clients called ids; nil: all.
func whose(h *Hub, ids []string) []uint8 {
	nodes := []uint8{}
	for _, s := range deal(h, ids) {
		if s.nodes == nil {
			return nil
		}
		nodes = append(nodes, s.nodes...)
	}
	return nodes
}

// merge makes one answer of those of several nodes, of which the first is this one's.
func merge(cmd netsvr.Command, server int32, own []byte, others [][]byte, missing []uint32) (proto.Message, error) {
	all := append([][]byte{own}, others...)
	switch cmd {
	case netsvr.CmdCheckOnline:
		sum := &netsvrpb.CheckOnlineResp{MissingNodes: missing}
		err := each(all, func(m *netsvrpb.CheckOnlineResp) { sum.UniqIds = append(sum.UniqIds, m.UniqIds...) })
		sum.UniqIds = unique(sum.UniqIds)
		return sum, err
	case netsvr.CmdUniqIDCount:
		sum := &netsvrpb.UniqIdCountResp{ServerId: server, MissingNodes: missing}
		return sum, each(all, func(m *netsvrpb.UniqIdCountResp) { sum.Count += m.Count })
	case netsvr.CmdTopicCount, netsvr.CmdTopicList:
		sum := &netsvrpb.TopicListResp{ServerId: server, MissingNodes: missing}
		err := each(all, func(m *netsvrpb.TopicListResp) { sum.Topics = append(sum.Topics, m.Topics...) })
		sum.Topics = unique(sum.Topics)
		if cmd == netsvr.CmdTopicCount {
			return &netsvrpb.TopicCountResp{ServerId: server, Count: int32(len(sum.Topics)), MissingNodes: missing}, err
		}
		return sum, err
	case netsvr.CmdTopicUniqIDList:
		sum := &netsvrpb.TopicUniqIdListResp{
			ServerId: server, Items: make(map[string]*netsvrpb.TopicUniqIdListResp_Item), MissingNodes: missing,
		}
		return sum, each(all, func(m *netsvrpb.TopicUniqIdListResp) {
			for t, item := range m.Items {
				if s := sum.Items[t]; s != nil {
					s.UniqIds = append(s.UniqIds, item.UniqIds...)
				} else {
					sum.Items[t] = item
				}
			}
		})
	case netsvr.CmdTopicUniqIDCount:
		sum := &netsvrpb.TopicUniqIdCountResp{ServerId: server, Items: make(map[string]int32), MissingNodes: missing}
		return sum, each(all, func(m *netsvrpb.TopicUniqIdCountResp) {
			for t, n := range m.Items {
				sum.Items[t] += n
			}
		})
	case netsvr.CmdConnInfo:
		sum := &netsvrpb.ConnInfoResp{Items: make(map[string]*netsvrpb.ConnInfoResp_Item), MissingNodes: missing}
		return sum, each(all, func(m *netsvrpb.ConnInfoResp) {
			for id, item := range m.Items {
				if sum.Items[id] == nil {
					sum.Items[id] = item
				}
			}
		})
	default:
		sum := &netsvrpb.UserConnListResp{
			ServerId: server, Items: make(map[string]*netsvrpb.UserConnListResp_Item), MissingNodes: missing,
		}
		return sum, each(all, func(m *netsvrpb.UserConnListResp) {
			for user, item := range m.Items {
				if s := sum.Items[user]; s != nil {
					s.Count += item.Count
					s.Conns = append(s.Conns, item.Conns...)
				} else {
					sum.Items[user] = item
				}
			}
		})
	}
}

// each reads messages of one type.
func each[T any, P interface {
	*T
	proto.Message
}](all [][]byte, f func(P)) error {
	for _, b := range all {
		m := P(new(T))
		if err := netsvr.Unmarshal(b, m); err != nil {
			return err
		}
		f(m)
	}
	return nil
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
