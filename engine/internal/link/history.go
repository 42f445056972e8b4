package link

import (
	"context"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/topic"
)

// historyBytes is how many bytes of messages an answer to History has at most, but for the first.
const historyBytes = 1 << 20

func position(at topic.Position) *netsvrpb.HistoryPosition {
	return &netsvrpb.HistoryPosition{Epoch: at.Epoch, Sequence: at.Seq}
}

// history answers with what a topic has kept. In a cluster the link waits for that, as for other questions
// to it.
func (l *link) history(cmd netsvr.Command, server int32, payload []byte) error {
	req := new(netsvrpb.HistoryReq)
	if err := netsvr.Unmarshal(payload, req); err != nil {
		return err
	}
	ask := gateway.HistoryQuery{Limit: int(min(req.Limit, gateway.MostHistory)), Last: int(min(req.Last, gateway.MostHistory)), Bytes: historyBytes}
	if req.After != nil {
		ask.After = &topic.Position{Epoch: req.After.Epoch, Seq: req.After.Sequence}
	}
	got, kept, err := l.hub.gateway.History(context.Background(), []byte(req.Topic), ask)
	resp := &netsvrpb.HistoryResp{ServerId: server, Kept: kept}
	if err != nil {
		resp.Error = err.Error()
	} else if kept {
		resp.Lost, resp.End = got.Lost, position(got.End)
		for i := range got.Messages {
			m := &got.Messages[i]
			resp.Items = append(resp.Items, &netsvrpb.HistoryResp_Item{
				Sequence: m.Seq, UnixMs: m.Time.UnixMilli(), Route: m.Route, Cmd: uint32(m.Cmd), Payload: m.Payload,
			})
		}
	}
	return l.respond(cmd, resp)
}

// publishAt publishes a message and answers where in the topic's history it is. What cannot be published
// is counted as a Push is, and answered as a topic without history.
func (l *link) publishAt(cmd netsvr.Command, server int32, payload []byte) error {
	req := new(netsvrpb.PublishAtReq)
	if err := netsvr.Unmarshal(payload, req); err != nil {
		return err
	}
	g := l.hub.gateway
	p := g.Push(req.Payload)
	if req.Route != "" {
		p.Route = req.Route
	}
	resp := &netsvrpb.PublishAtResp{ServerId: server}
	if req.Cmd != 0 {
		if err := gateway.CheckPushCmd(req.Cmd); err != nil {
			l.hub.stats.badPush.Add(1)
			l.hub.log.Warn("push refused", "peer", l.peer, "workerId", l.workerID, "err", err)
			return l.respond(cmd, resp)
		}
		p.Cmd = uint8(req.Cmd)
	}
	l.checkPublish([][]byte{[]byte(req.Topic)})
	if req.Topic == "" || len(req.Payload) == 0 {
		return l.respond(cmd, resp)
	}
	l.published = l.scope
	at, kept, err := l.publisher.PublishAt([]byte(req.Topic), p)
	if err != nil {
		resp.Error = err.Error()
		if err := l.refused([]byte(req.Topic), err); err != nil {
			return err
		}
	}
	if resp.Kept = kept; kept {
		resp.At = position(at)
	}
	return l.respond(cmd, resp)
}
