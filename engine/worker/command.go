package worker

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// ConnInfoUpdate changes a connection. Only fields that are not empty act; Data goes last. Where the
// gateway refuses one of them, because of its limits for one, the others act, and Data is not pushed.
type ConnInfoUpdate struct {
	UniqID                 string
	NewUniqID              string
	DataAsNewUniqIDExisted []byte   // for who holds NewUniqID and is closed 3 seconds later; empty: at once
	NewSession             string   // no longer a guest
	NewTopics              []string // instead of those it has; a list of "" only leaves none
	Data                   []byte   // pushed to the connection
}

// ConnInfoDelete takes things from a connection. Data goes last, whatever is taken.
type ConnInfoDelete struct {
	UniqID     string
	DelUniqID  bool // it gets a new one of the gateway's
	DelSession bool
	DelTopic   bool
	Data       []byte
}

// Push is a SingleCast, Multicast and TopicPublish that says how clients are to see it, and may name
// users.
type Push struct {
	UniqIDs []string // to these connections
	Topics  []string // and to the subscribers of these
	Users   []string // and to all connections of these
	Route   string   // for GOSOC clients; empty: the gateway's push route
	Cmd     uint32   // for Longbridge clients, 4 to 255; 0: the gateway's push command
	Payload []byte
}

// A frame is a command about to be queued; its outbox is locked from begin to send.
type frame struct {
	link  *Link
	conn  *conn
	cmd   netsvr.Command
	buf   []byte
	start int
}

func (l *Link) begin(ctx context.Context, cmd netsvr.Command) (frame, error) {
	c, err := l.up(ctx)
	if err != nil {
		return frame{}, l.failed(cmd, err)
	}
	b, err := c.out.lock(ctx, &l.inbox)
	if err != nil {
		return frame{}, l.failed(cmd, err)
	}
	return frame{link: l, conn: c, cmd: cmd, buf: netsvr.V2.BeginFrame(b, cmd), start: len(b)}, nil
}

func (f *frame) send() error {
	b, err := netsvr.EndFrame(f.buf, f.start, f.link.worker.config.MaxFrame)
	f.conn.out.unlock(b)
	return f.link.failed(f.cmd, err)
}

func (l *Link) up(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c := l.current.Load(); c != nil {
		return c, nil
	}
	return nil, ErrNotConnected
}

// failed says where err happened; no error stays none.
func (l *Link) failed(cmd netsvr.Command, err error) error {
	if err == nil {
		return nil
	}
	return &LinkError{Gateway: l.gateway.addr, Command: cmd.String(), Err: err}
}

func (l *Link) send(ctx context.Context, cmd netsvr.Command, m proto.Message) error {
	c, err := l.up(ctx)
	if err == nil {
		err = c.send(ctx, cmd, m)
	}
	return l.failed(cmd, err)
}

// ConnInfoUpdate changes the uniqId, session and topics of a connection in one step.
func (l *Link) ConnInfoUpdate(ctx context.Context, u ConnInfoUpdate) error {
	return l.send(ctx, netsvr.CmdConnInfoUpdate, &netsvrpb.ConnInfoUpdate{
		UniqId: u.UniqID, NewUniqId: u.NewUniqID, DataAsNewUniqIdExisted: u.DataAsNewUniqIDExisted,
		NewSession: u.NewSession, NewTopics: u.NewTopics, Data: u.Data,
	})
}

// ConnInfoDelete takes the uniqId, session or topics from a connection.
func (l *Link) ConnInfoDelete(ctx context.Context, d ConnInfoDelete) error {
	return l.send(ctx, netsvr.CmdConnInfoDelete, &netsvrpb.ConnInfoDelete{
		UniqId: d.UniqID, DelUniqId: d.DelUniqID, DelSession: d.DelSession, DelTopic: d.DelTopic, Data: d.Data,
	})
}

// Broadcast pushes data to every connection of the gateway.
func (l *Link) Broadcast(ctx context.Context, data []byte) error {
	f, err := l.begin(ctx, netsvr.CmdBroadcast)
	if err != nil {
		return err
	}
	m := netsvr.Broadcast{Data: data}
	f.buf = m.Append(f.buf)
	return f.send()
}

// Multicast pushes data to connections; to one that is listed twice, twice.
func (l *Link) Multicast(ctx context.Context, uniqIDs []string, data []byte) error {
	f, err := l.begin(ctx, netsvr.CmdMulticast)
	if err != nil {
		return err
	}
	f.buf = netsvr.AppendMulticast(f.buf, uniqIDs, data)
	return f.send()
}

// SingleCast pushes data to a connection.
func (l *Link) SingleCast(ctx context.Context, uniqID string, data []byte) error {
	f, err := l.begin(ctx, netsvr.CmdSingleCast)
	if err != nil {
		return err
	}
	m := netsvr.SingleCast{UniqID: []byte(uniqID), Data: data}
	f.buf = m.Append(f.buf)
	return f.send()
}

// SingleCastBulk pushes data pairwise to as many connections, or all of it to the only one. Other
// shapes push nothing.
func (l *Link) SingleCastBulk(ctx context.Context, uniqIDs []string, data [][]byte) error {
	f, err := l.begin(ctx, netsvr.CmdSingleCastBulk)
	if err != nil {
		return err
	}
	f.buf = netsvr.AppendSingleCastBulk(f.buf, uniqIDs, data)
	return f.send()
}

// TopicSubscribe adds a connection to topics and pushes data to it. Topics that the gateway refuses,
// because of its limits for one, are skipped, and then data is not pushed: it would say that all is
// well.
func (l *Link) TopicSubscribe(ctx context.Context, uniqID string, topics []string, data []byte) error {
	return l.send(ctx, netsvr.CmdTopicSubscribe, &netsvrpb.TopicSubscribe{UniqId: uniqID, Topics: topics, Data: data})
}

// TopicSubscribeLast is TopicSubscribe that has a connection which is not subscribed yet get the last
// messages first that each topic has kept, so many of it at most.
func (l *Link) TopicSubscribeLast(ctx context.Context, uniqID string, topics []string, last int, data []byte) error {
	return l.send(ctx, netsvr.CmdTopicSubscribe,
		&netsvrpb.TopicSubscribe{UniqId: uniqID, Topics: topics, Data: data, Last: number32(last)})
}

// TopicUnsubscribe removes a connection from topics and pushes data to it.
func (l *Link) TopicUnsubscribe(ctx context.Context, uniqID string, topics []string, data []byte) error {
	return l.send(ctx, netsvr.CmdTopicUnsubscribe, &netsvrpb.TopicUnsubscribe{UniqId: uniqID, Topics: topics, Data: data})
}

// TopicDelete ends topics for all their subscribers, and pushes data once to each of them.
func (l *Link) TopicDelete(ctx context.Context, topics []string, data []byte) error {
	return l.send(ctx, netsvr.CmdTopicDelete, &netsvrpb.TopicDelete{Topics: topics, Data: data})
}

// TopicPublish pushes data to the subscribers of topics, once for each topic they have.
func (l *Link) TopicPublish(ctx context.Context, topics []string, data []byte) error {
	f, err := l.begin(ctx, netsvr.CmdTopicPublish)
	if err != nil {
		return err
	}
	f.buf = netsvr.AppendTopicPublish(f.buf, topics, data)
	return f.send()
}

// TopicPublishBulk publishes data pairwise to as many topics, or all of it to the only one. Other
// shapes publish nothing.
func (l *Link) TopicPublishBulk(ctx context.Context, topics []string, data [][]byte) error {
	f, err := l.begin(ctx, netsvr.CmdTopicPublishBulk)
	if err != nil {
		return err
	}
	f.buf = netsvr.AppendTopicPublishBulk(f.buf, topics, data)
	return f.send()
}

// Push pushes under a route or command of the caller's choice. The command is an extension of this
// gateway; others of the protocol end the link.
//
// The error is ErrPushCmd, and nothing was sent, for a command that no push can have.
func (l *Link) Push(ctx context.Context, p Push) error {
	if p.Cmd != 0 && (p.Cmd < 4 || p.Cmd > 255) {
		return l.failed(netsvr.CmdPush, fmt.Errorf("%w: %d", ErrPushCmd, p.Cmd))
	}
	f, err := l.begin(ctx, netsvr.CmdPush)
	if err != nil {
		return err
	}
	f.buf = netsvr.AppendPush(f.buf, p.UniqIDs, p.Topics, p.Users, []byte(p.Route), p.Cmd, p.Payload)
	return f.send()
}

// ForceOffline closes connections: at once, or 3 seconds after data was pushed to them. Their
// sessions cannot be resumed.
func (l *Link) ForceOffline(ctx context.Context, uniqIDs []string, data []byte) error {
	return l.send(ctx, netsvr.CmdForceOffline, &netsvrpb.ForceOffline{UniqIds: uniqIDs, Data: data})
}

// ForceOfflineGuest is ForceOffline for those that have no session text by the time that delay,
// rounded up to whole seconds, is over.
func (l *Link) ForceOfflineGuest(ctx context.Context, uniqIDs []string, delay time.Duration, data []byte) error {
	return l.send(ctx, netsvr.CmdForceOfflineGuest, &netsvrpb.ForceOfflineGuest{
		UniqIds: uniqIDs, Delay: seconds(delay), Data: data,
	})
}

// seconds rounds up: a short delay is not none.
func seconds(d time.Duration) int32 {
	return int32(min((max(d, 0)+time.Second-1)/time.Second, 1<<31-1))
}
