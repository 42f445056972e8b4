package link

import (
	"fmt"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Commands that are never answered (protocol section "Command semantics"). Unknown ids are skipped,
// empty data pushes nothing, the empty topic is ignored.

// decoded is the reader's memory for messages: one per link, used again for every command.
type decoded struct {
	broadcast netsvr.Broadcast
	multicast netsvr.Multicast
	single    netsvr.SingleCast
	bulk      netsvr.SingleCastBulk
	publish   netsvr.TopicPublish
	topicBulk netsvr.TopicPublishBulk
	reply     netsvr.Reply
	push      netsvr.Push
}

// offlineGrace is how long a client that is sent away has to read why.
const offlineGrace = 3 * time.Second

func (l *link) command(cmd netsvr.Command, payload []byte) error {
	d := &l.decoded
	switch cmd {
	case netsvr.CmdReply:
		if err := d.reply.Decode(payload); err != nil {
			return err
		}
		return l.reply(&d.reply)
	case netsvr.CmdSingleCast:
		if err := d.single.Decode(payload); err != nil {
			return err
		}
		return l.cast(d.single.UniqID, d.single.Data)
	case netsvr.CmdMulticast:
		if err := d.multicast.Decode(payload); err != nil {
			return err
		}
		if len(d.multicast.Data) > 0 {
			return l.multicast(d.multicast.UniqIDs, l.hub.gateway.Push(d.multicast.Data))
		}
	case netsvr.CmdSingleCastBulk:
		if err := d.bulk.Decode(payload); err != nil {
			return err
		}
		for id, data := range netsvr.Bulk(d.bulk.UniqIDs, d.bulk.Data) {
			if err := l.cast(id, data); err != nil {
				return err
			}
		}
	case netsvr.CmdBroadcast:
		if err := d.broadcast.Decode(payload); err != nil {
			return err
		}
		if len(d.broadcast.Data) > 0 {
			return l.publisher.Broadcast(l.hub.gateway.Push(d.broadcast.Data))
		}
	case netsvr.CmdTopicPublish:
		if err := d.publish.Decode(payload); err != nil {
			return err
		}
		for _, t := range d.publish.Topics {
			if err := l.publish(t, l.hub.gateway.Push(d.publish.Data)); err != nil {
				return err
			}
		}
	case netsvr.CmdTopicPublishBulk:
		if err := d.topicBulk.Decode(payload); err != nil {
			return err
		}
		for t, data := range netsvr.Bulk(d.topicBulk.Topics, d.topicBulk.Data) {
			if err := l.publish(t, l.hub.gateway.Push(data)); err != nil {
				return err
			}
		}
	case netsvr.CmdPush:
		return l.push(payload)
	default:
		return l.change(cmd, payload)
	}
	return nil
}

// reply answers a client's request.
func (l *link) reply(m *netsvr.Reply) error {
	t, ok := l.requests.take(m.ID)
	if !ok {
		// Workers with a pool of links may answer on any of them.
		l.hub.each(func(other *link) {
			if !ok {
				t, ok = other.requests.take(m.ID)
			}
		})
	}
	if !ok {
		return nil // its time was up, or it never was
	}
	l.hub.stats.replies.Add(1)
	return l.gather(t, m.Status, m.Payload)
}

// cast pushes data to one client.
func (l *link) cast(id, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	l.settleIDs()
	if ref := l.hub.gateway.Lookup(id); ref != 0 {
		return l.publisher.Send(ref, l.hub.gateway.Push(data))
	}
	return nil
}

// multicast pushes p to the clients called ids.
func (l *link) multicast(ids [][]byte, p engine.Push) error {
	l.settleIDs()
	l.refs = l.refs[:0]
	for _, id := range ids {
		if ref := l.hub.gateway.Lookup(id); ref != 0 {
			l.refs = append(l.refs, ref)
		}
	}
	if len(l.refs) == 0 {
		return nil
	}
	return l.publisher.Multicast(l.refs, p)
}

// publish pushes p to a topic's subscribers.
func (l *link) publish(topic []byte, p engine.Push) error {
	if len(topic) == 0 || len(p.Payload) == 0 {
		return nil
	}
	l.settle() // subscriptions of this link come first
	return l.publisher.Publish(topic, p)
}

// push is our own command: a cast and a publish that name route and command.
func (l *link) push(payload []byte) error {
	m := &l.decoded.push
	if err := m.Decode(payload); err != nil {
		return err
	}
	p := l.hub.gateway.Push(m.Payload)
	if len(m.Route) > 0 {
		p.Route = string(m.Route)
	}
	if m.Cmd > 0 && m.Cmd <= 255 {
		p.Cmd = uint8(m.Cmd)
	}
	if err := l.multicast(m.UniqIDs, p); err != nil {
		return err
	}
	for _, t := range m.Topics {
		if len(t) == 0 {
			continue
		}
		l.settle()
		if err := l.publisher.Publish(t, p); err != nil {
			return err
		}
	}
	return nil
}

// change carries out the commands that alter clients: each is done by the client's loop, behind
// what this link sent there before.
func (l *link) change(cmd netsvr.Command, payload []byte) error {
	switch cmd {
	case netsvr.CmdConnInfoUpdate:
		m := new(netsvrpb.ConnInfoUpdate)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		if m.NewUniqId != "" && l.hub.gateway.Lookup([]byte(m.NewUniqId)) != 0 {
			// Its holder is sent away by a way that overtakes what this link sent it before.
			l.barrier()
		}
		return l.client(m.UniqId, m.NewUniqId != "", func(c *engine.Conn, s gateway.Session) { l.update(c, s, m) })
	case netsvr.CmdConnInfoDelete:
		m := new(netsvrpb.ConnInfoDelete)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		return l.client(m.UniqId, m.DelUniqId, func(c *engine.Conn, s gateway.Session) {
			if m.DelTopic {
				c.UnsubscribeAll()
			}
			if m.DelSession {
				s.Base().SetSession("")
			}
			if m.DelUniqId {
				l.hub.gateway.Renew(c, s.Base())
			}
			l.tell(c, m.Data)
		})
	case netsvr.CmdTopicSubscribe:
		m := new(netsvrpb.TopicSubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return l.client(m.UniqId, false, func(c *engine.Conn, _ gateway.Session) {
			l.subscribe(c, m.Topics)
			l.tell(c, m.Data)
		})
	case netsvr.CmdTopicUnsubscribe:
		m := new(netsvrpb.TopicUnsubscribe)
		if err := netsvr.Unmarshal(payload, m); err != nil || len(m.Topics) == 0 {
			return err
		}
		return l.client(m.UniqId, false, func(c *engine.Conn, _ gateway.Session) {
			for _, t := range m.Topics {
				c.Unsubscribe([]byte(t))
			}
			l.tell(c, m.Data)
		})
	case netsvr.CmdTopicDelete:
		m := new(netsvrpb.TopicDelete)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		l.unsettled = true
		return l.publisher.DoEach(func(loop *engine.Loop) { l.deleteTopics(loop, m) })
	case netsvr.CmdForceOffline:
		m := new(netsvrpb.ForceOffline)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		return l.offline(m.UniqIds, m.Data, false)
	case netsvr.CmdForceOfflineGuest:
		m := new(netsvrpb.ForceOfflineGuest)
		if err := netsvr.Unmarshal(payload, m); err != nil {
			return err
		}
		if m.Delay <= 0 {
			return l.offline(m.UniqIds, m.Data, true)
		}
		// Looked up and judged when the time has come, on a publisher of its own: the link's
		// belongs to its reader.
		l.hub.delayed.after(time.Duration(m.Delay)*time.Second, func() {
			late := &link{hub: l.hub, publisher: l.hub.gateway.Engine().NewPublisher()}
			_ = late.offline(m.UniqIds, m.Data, true)
		})
		return nil
	}
	return fmt.Errorf("unknown command %v", cmd)
}

// client runs f on the loop of the client called id, if there is one. renames says that f may
// change ids, which the link's next command must find changed.
func (l *link) client(id string, renames bool, f func(*engine.Conn, gateway.Session)) error {
	l.settleIDs()
	ref := l.hub.gateway.Lookup([]byte(id))
	if ref == 0 {
		return nil
	}
	l.unsettled = true
	l.renamed = l.renamed || renames
	return l.publisher.Do(ref, func(c *engine.Conn) {
		if c == nil {
			return
		}
		if s, ok := c.Handler().(gateway.Session); ok && s.Base().Online() {
			f(c, s)
		}
	})
}

// tell pushes data to a client on its own loop.
func (l *link) tell(c *engine.Conn, data []byte) {
	if len(data) > 0 && c.Open() {
		c.Deliver(l.hub.gateway.Push(data))
	}
}

func (l *link) subscribe(c *engine.Conn, topics []string) {
	for _, t := range topics {
		l.hub.gateway.Subscribe(c, []byte(t))
	}
}

// update carries out ConnInfoUpdate. Only fields that are not empty act.
func (l *link) update(c *engine.Conn, s gateway.Session, m *netsvrpb.ConnInfoUpdate) {
	g := l.hub.gateway
	if m.NewUniqId != "" {
		displaced, err := g.Rename(c, s.Base(), m.NewUniqId)
		if err != nil {
			l.hub.log.Warn("uniqId not changed", "uniqId", m.UniqId, "err", err)
		}
		if displaced != 0 {
			l.evict(displaced, m.DataAsNewUniqIdExisted)
		}
	}
	if m.NewSession != "" {
		s.Base().SetSession(m.NewSession)
	}
	if len(m.NewTopics) > 0 {
		c.UnsubscribeAll()
		l.subscribe(c, m.NewTopics)
	}
	l.tell(c, m.Data)
}

// evict sends away a client whose id was given to another. It gets an id of its own for the time
// it has left, so that its end is never taken for the new holder's.
func (l *link) evict(ref engine.Ref, data []byte) {
	g := l.hub.gateway
	g.Engine().Tell(ref, func(c *engine.Conn) {
		if c == nil {
			return
		}
		if s, ok := c.Handler().(gateway.Session); ok && s.Base().Online() {
			g.Renew(c, s.Base())
		}
		if len(data) == 0 {
			c.Close(engine.ReasonForcedOffline)
			return
		}
		l.tell(c, data)
		l.closeLater([]engine.Ref{ref})
	})
}

func (l *link) closeLater(refs []engine.Ref) {
	e := l.hub.gateway.Engine()
	l.hub.delayed.after(offlineGrace, func() {
		for _, ref := range refs {
			e.Tell(ref, func(c *engine.Conn) {
				if c != nil {
					c.Close(engine.ReasonForcedOffline)
				}
			})
		}
	})
}

// offline carries out ForceOffline and ForceOfflineGuest.
func (l *link) offline(ids []string, data []byte, guestsOnly bool) error {
	l.settleIDs()
	l.unsettled = true
	for _, id := range ids {
		ref := l.hub.gateway.Lookup([]byte(id))
		if ref == 0 {
			continue
		}
		err := l.publisher.Do(ref, func(c *engine.Conn) {
			if c == nil {
				return
			}
			s, ok := c.Handler().(gateway.Session)
			if !ok || guestsOnly && s.Base().Session() != "" {
				return
			}
			if len(data) == 0 {
				c.Close(engine.ReasonForcedOffline)
				return
			}
			l.tell(c, data)
			l.closeLater([]engine.Ref{ref})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteTopics takes topics away from a loop's subscribers and tells each of them once.
func (l *link) deleteTopics(loop *engine.Loop, m *netsvrpb.TopicDelete) {
	told := make(map[engine.Ref]bool)
	for _, t := range m.Topics {
		name := []byte(t)
		for _, ref := range loop.Subscribers(nil, name) {
			c := loop.Conn(ref)
			if c == nil {
				continue
			}
			c.Unsubscribe(name)
			told[ref] = true
		}
	}
	for ref := range told {
		if c := loop.Conn(ref); c != nil {
			l.tell(c, m.Data)
		}
	}
}

// settleIDs waits for the loops if a command may have changed ids.
func (l *link) settleIDs() {
	if l.renamed {
		l.settle()
	}
}

// settle waits until the loops have made the changes that this link has asked for.
func (l *link) settle() {
	if l.unsettled {
		l.barrier()
	}
}

// barrier waits until the loops have done all that this link has asked for.
func (l *link) barrier() {
	renamed := l.renamed
	l.unsettled, l.renamed = false, false
	l.onLoops(func(*engine.Loop) {})
	if renamed {
		// A client whose id was taken is on another loop, perhaps, which was told of it a step
		// later.
		l.onLoops(func(*engine.Loop) {})
	}
}
