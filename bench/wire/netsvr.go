package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// netsvrDriver is a netsvr customer, inside WebSocket messages. It has no login, no ids and no
// subscriptions: requests carry their number in front of the body, and topics are a worker's
// affair; see Link.
type netsvrDriver struct {
	replies bool // what comes back answers requests
}

func newNetsvr(o Options) *netsvrDriver { return &netsvrDriver{replies: o.Replies} }

// netsvrWorker is the worker id that the gateway's own echo has.
const netsvrWorker = "001"

func (d *netsvrDriver) AppendOpen(dst []byte, _ *Peer) ([]byte, bool)  { return dst, false }
func (d *netsvrDriver) AppendLogin(dst []byte, _ *Peer) ([]byte, bool) { return dst, false }

var errNetsvrTopics = errors.New("wire: netsvr customers have no topics of their own")

func (d *netsvrDriver) AppendSubscribe(dst []byte, _ *Peer, _ uint32, _ []string) ([]byte, error) {
	return dst, errNetsvrTopics
}

func (d *netsvrDriver) AppendPublish(dst []byte, _ *Peer, _ uint32, _ string, _ []byte) ([]byte, error) {
	return dst, errNetsvrTopics
}

func (d *netsvrDriver) AppendRequest(dst []byte, _ *Peer, id uint32, route string, body []byte) ([]byte, error) {
	if route == "" {
		route = netsvrWorker
	}
	const digits = 3
	if n, err := strconv.ParseUint(route, 10, 16); err != nil || n < 1 || n > 999 || len(route) > digits {
		return dst, fmt.Errorf("wire: a netsvr route is a worker id from 1 to 999, not %q", route)
	}
	dst = append(dst, "000"[:digits-len(route)]...)
	return append(append(dst, route...), body...), nil
}

func (d *netsvrDriver) AppendPing(dst []byte, _ *Peer) []byte {
	return append(dst, netsvr.V2.Ping()...)
}
func (d *netsvrDriver) AppendPong(dst []byte, _ *Peer, _ []byte) []byte { return dst }
func (d *netsvrDriver) AppendGoodbye(dst []byte, _ *Peer) []byte        { return dst }

func (d *netsvrDriver) Body(size int) ([]byte, int, int, error) {
	if size < stamp.MinSize {
		return nil, 0, 0, fmt.Errorf("wire: a message of this protocol has at least %d bytes", stamp.MinSize)
	}
	body := make([]byte, size)
	stamp.Fill(body)
	return body, 0, size, nil
}

func (d *netsvrDriver) RequestStamp() int { return stamp.Width }

// EchoReply leaves out the number, which differs each time.
func (d *netsvrDriver) EchoReply(body []byte) []byte { return body[stamp.Width:] }

func (d *netsvrDriver) Layout([]byte) Layout { return Layout{IDAt: -1} }

func (d *netsvrDriver) Can(Ability) bool { return false }

func (d *netsvrDriver) Next(_ *Peer, src []byte, ev *Event) (int, error) {
	if len(src) == 0 {
		return 0, nil
	}
	ev.Body = src
	switch {
	case string(src) == netsvr.V2.Pong():
		ev.Kind = None
	case bytes.HasPrefix(src, enlisted):
		n, ok := stamp.Get(src[len(enlisted):])
		if !ok {
			return 0, fmt.Errorf("wire: a worker's word cannot be read: %.60q", src)
		}
		ev.Kind, ev.ID = Enlisted, n
	case d.replies:
		id, ok := stamp.Get(src)
		if !ok {
			return 0, fmt.Errorf("wire: the gateway says %.60q", src)
		}
		ev.Kind, ev.ID, ev.OK, ev.Body = Reply, id, true, src[stamp.Width:]
	default:
		ev.Kind, ev.BodyAt = Push, 0
	}
	return len(src), nil
}

// enlisted begins the message that a Link has sent to a customer with its subscriptions.
var enlisted = []byte("sluice-bench heard ")

// A Link speaks the worker protocol, for publishers that are workers. Bodies are those of the
// clients' protocol.
type Link struct {
	Driver
	topics [1][]byte
}

// NewLink makes a Link for clients of d.
func NewLink(d Driver) *Link { return &Link{Driver: d} }

// AppendOpen says nothing: a worker need not register to publish.
func (l *Link) AppendOpen(dst []byte, _ *Peer) ([]byte, bool) { return dst, false }

// AppendLogin says nothing either.
func (l *Link) AppendLogin(dst []byte, _ *Peer) ([]byte, bool) { return dst, false }

// AppendPublish appends a TopicPublish.
func (l *Link) AppendPublish(dst []byte, _ *Peer, _ uint32, topic string, body []byte) ([]byte, error) {
	start := len(dst)
	dst = netsvr.V2.BeginFrame(dst, netsvr.CmdTopicPublish)
	l.topics[0] = append(l.topics[0][:0], topic...)
	dst = netsvr.AppendTopicPublish(dst, l.topics[:], body)
	return netsvr.EndFrame(dst, start, netsvr.DefaultFrameLimit)
}

// AppendPing appends a worker's heartbeat.
func (l *Link) AppendPing(dst []byte, _ *Peer) []byte { return netsvr.V2.AppendPing(dst) }

// AppendPong says nothing: a gateway does not ask.
func (l *Link) AppendPong(dst []byte, _ *Peer, _ []byte) []byte { return dst }

// AppendGoodbye says nothing: workers just close.
func (l *Link) AppendGoodbye(dst []byte, _ *Peer) []byte { return dst }

// Layout is that of a packet without an id.
func (l *Link) Layout([]byte) Layout { return Layout{IDAt: -1} }

// AppendList asks who is there; the answer is List.
func (l *Link) AppendList(dst []byte) ([]byte, error) {
	start := len(dst)
	return netsvr.EndFrame(netsvr.V2.BeginFrame(dst, netsvr.CmdUniqIDList), start, netsvr.DefaultFrameLimit)
}

// AppendEnlist subscribes a customer to topics and tells it the number, which comes out of its
// Driver as Enlisted.
func (l *Link) AppendEnlist(dst []byte, uniqID string, topics []string, number uint32) ([]byte, error) {
	data := append(enlisted[:len(enlisted):len(enlisted)], make([]byte, stamp.Width)...)
	stamp.Put(data[len(enlisted):], number)
	start := len(dst)
	dst = netsvr.V2.BeginFrame(dst, netsvr.CmdTopicSubscribe)
	dst, err := netsvr.AppendMessage(dst, &netsvrpb.TopicSubscribe{UniqId: uniqID, Topics: topics, Data: data})
	if err != nil {
		return dst[:start], err
	}
	return netsvr.EndFrame(dst, start, netsvr.DefaultFrameLimit)
}

// Next reads a frame.
func (l *Link) Next(_ *Peer, src []byte, ev *Event) (int, error) {
	body, n, err := netsvr.ParseFrame(src, netsvr.MaxFrameLen)
	if err != nil || n == 0 {
		return 0, err
	}
	if cmd, payload := netsvr.V2.Split(body); cmd == netsvr.CmdUniqIDList {
		var m netsvrpb.UniqIdListResp
		if err := netsvr.Unmarshal(payload, &m); err != nil {
			return 0, err
		}
		ev.Kind, ev.List = List, m.UniqIds
	}
	return n, nil
}
