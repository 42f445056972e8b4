package link

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/session"
)

// A share is the part of a command that other nodes carry out: nodes nil: all of them.
type share struct {
	nodes []uint8
	at    []int // of the ids, where they stand in the command
}

// deal says which nodes may have the clients called ids. Whom an id's first byte names does, and others
// that have clients with such ids; ids that nobody has made may be anywhere.
func deal[T ~string | ~[]byte](h *Hub, ids []T) []share {
	var shares []share // each of one node
	add := func(node uint8, at int) {
		i := slices.IndexFunc(shares, func(s share) bool { return s.nodes[0] == node })
		if i < 0 {
			i = len(shares)
			shares = append(shares, share{nodes: []uint8{node}})
		}
		shares[i].at = append(shares[i].at, at)
	}
	known := h.cluster.Nodes()
	type holders struct {
		server uint8
		nodes  []uint8
	}
	var asked []holders
	of := func(server uint8) []uint8 {
		for i := range asked {
			if asked[i].server == server {
				return asked[i].nodes
			}
		}
		asked = append(asked, holders{server, h.cluster.Holders(server)})
		return asked[len(asked)-1].nodes
	}
	everywhere := false
	for at, id := range ids {
		nodes := known
		if server, _, made := session.ParseID(id); made {
			nodes = of(server)
		}
		everywhere = everywhere || len(nodes) == len(known)
		for _, node := range nodes {
			add(node, at)
		}
	}
	if everywhere && len(shares) > 1 && !slices.ContainsFunc(shares, func(s share) bool {
		return len(s.at) != len(shares[0].at)
	}) {
		return []share{{at: shares[0].at}} // the same for all
	}
	return shares
}

func pick[T any](list []T, at []int) []T {
	some := make([]T, len(at))
	for i, n := range at {
		some[i] = list[n]
	}
	return some
}

// forward has other nodes carry out a command of a link with the cluster's scope, as far as it is theirs.
// The error is that of a command that cannot be read.
func (l *link) forward(cmd netsvr.Command, payload []byte) error {
	if !forwardable(cmd) || len(l.hub.cluster.Nodes()) == 0 {
		return nil
	}
	l.publisher.Flush() // what was published before goes first
	if changes(cmd) {
		l.awaitPassed(cmd)
	}
	d := &l.decoded
	same := func(s share) { l.forwardTo(s.nodes, cmd, append(appendFar(farCommand, cmd, len(payload)), payload...)) }
	split := func(s share, encode func([]byte) []byte) {
		l.forwardTo(s.nodes, cmd, encode(appendFar(farCommand, cmd, len(payload))))
	}
	one := func(id string, m proto.Message) error {
		for _, s := range deal(l.hub, []string{id}) {
			same(s)
		}
		return nil
	}
	switch cmd {
	case netsvr.CmdSingleCast:
		if err := d.single.Decode(payload); err != nil || len(d.single.Data) == 0 {
			return err
		}
		l.awaitRenames()
		for _, s := range deal(l.hub, [][]byte{d.single.UniqID}) {
			same(s)
		}
	case netsvr.CmdMulticast:
		m := &d.multicast
		if err := m.Decode(payload); err != nil || len(m.Data) == 0 {
			return err
		}
		l.awaitRenames()
		for _, s := range deal(l.hub, m.UniqIDs) {
			split(s, func(b []byte) []byte { return netsvr.AppendMulticast(b, pick(m.UniqIDs, s.at), m.Data) })
		}
	case netsvr.CmdSingleCastBulk:
		m := &d.bulk
		if err := m.Decode(payload); err != nil || !netsvr.BulkFits(len(m.UniqIDs), len(m.Data)) {
			return err
		}
		l.awaitRenames()
		for _, s := range deal(l.hub, m.UniqIDs) {
			if len(m.UniqIDs) == 1 {
				same(s)
				continue
			}
			split(s, func(b []byte) []byte {
				return netsvr.AppendSingleCastBulk(b, pick(m.UniqIDs, s.at), pick(m.Data, s.at))
			})
		}
	case netsvr.CmdPush:
		m := &d.push
		if err := m.Decode(payload); err != nil {
			return err
		}
		l.awaitRenames()
		shares := deal(l.hub, m.UniqIDs)
		var users [][]byte
		if len(m.Users) > 0 { // they may be anywhere
			users = m.Users
			shares = l.toEach(shares)
		}
		for _, s := range shares {
			split(s, func(b []byte) []byte {
				return netsvr.AppendPush(b, pick(m.UniqIDs, s.at), nil, users, m.Route, m.Cmd, m.Payload)
			})
		}
	case netsvr.CmdConnInfoUpdate:
		m := new(netsvrpb.ConnInfoUpdate)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		l.renaming = l.renaming || m.NewUniqId != ""
		return one(m.UniqId, m)
	case netsvr.CmdConnInfoDelete:
		m := new(netsvrpb.ConnInfoDelete)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		l.renaming = l.renaming || m.DelUniqId
		return one(m.UniqId, m)
	case netsvr.CmdTopicSubscribe:
		m := new(netsvrpb.TopicSubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return one(m.UniqId, m)
	case netsvr.CmdTopicUnsubscribe:
		m := new(netsvrpb.TopicUnsubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return one(m.UniqId, m)
	case netsvr.CmdForceOffline:
		m := new(netsvrpb.ForceOffline)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		for _, s := range deal(l.hub, m.UniqIds) {
			split(s, message(&netsvrpb.ForceOffline{UniqIds: pick(m.UniqIds, s.at), Data: m.Data}))
		}
	case netsvr.CmdForceOfflineGuest:
		m := new(netsvrpb.ForceOfflineGuest)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		for _, s := range deal(l.hub, m.UniqIds) {
			split(s, message(&netsvrpb.ForceOfflineGuest{UniqIds: pick(m.UniqIds, s.at), Delay: m.Delay, Data: m.Data}))
		}
	default: // of users, topics and everybody
		same(share{})
	}
	return nil
}

// toEach adds those nodes to shares that have none.
func (l *link) toEach(shares []share) []share {
	if len(shares) == 0 || shares[0].nodes == nil {
		return append(shares, share{})[:1]
	}
	for _, node := range l.hub.cluster.Nodes() {
		if !slices.ContainsFunc(shares, func(s share) bool { return s.nodes[0] == node }) {
			shares = append(shares, share{nodes: []uint8{node}})
		}
	}
	return shares
}

// message appends a message of generated code, which was read from a good one.
func message(m proto.Message) func([]byte) []byte {
	return func(b []byte) []byte {
		if whole, err := netsvr.AppendMessage(b, m); err == nil {
			return whole
		}
		return b
	}
}

// forwardTo sends a command to nodes, nil: to all. Of a change it is waited for that they have made it,
// before what must not overtake it.
func (l *link) forwardTo(nodes []uint8, cmd netsvr.Command, b []byte) {
	h, c := l.hub, l.hub.cluster
	s := &h.far.stats
	if err := c.Await(roomWait); err != nil {
		s.lost.Add(1)
		h.log.Warn("a worker's command does not reach other nodes", "peer", l.peer, "command", cmd.String(), "err", err)
		return
	}
	s.forwarded.Add(1)
	if !changes(cmd) {
		if err := c.Tell(nodes, b); err != nil {
			s.lost.Add(1)
			h.log.Warn("a worker's command does not reach other nodes", "peer", l.peer, "command", cmd.String(), "err", err)
		}
		return
	}
	l.changing = true
	l.changesFar.begin()
	c.Ask(nodes, b, cmp.Or(h.far.wait, changeWait), func(node uint8, _ []byte, err error) {
		if err != nil {
			s.unacknowledged.Add(1)
			h.log.Warn("a node has not confirmed a worker's command", "peer", l.peer, "command", cmd.String(),
				"node", node, "err", err)
		}
	}, l.changesFar.end)
}
