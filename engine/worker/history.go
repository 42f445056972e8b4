package worker

import (
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// A Position is a place in a topic's history: behind the message of that number. It is one
// gateway's, or the same for all gateways of a cluster.
type Position struct {
	// Epoch is another when the gateway has forgotten the topic or was restarted, in a cluster when the
	// stream of the histories is another one.
	Epoch    uint64
	Sequence uint64 // rises from message to message, on one gateway by one; 0: before the first
}

func positionOf(p *netsvrpb.HistoryPosition) Position {
	return Position{Epoch: p.GetEpoch(), Sequence: p.GetSequence()}
}

// A KeptMessage is a message that a topic has kept. It is the caller's.
type KeptMessage struct {
	Position
	Time    time.Time // when it was published, by the gateway's clock, to the millisecond
	Route   string    // as which GOSOC clients got it
	Cmd     uint8     // as which Longbridge clients got it
	Payload []byte
}

// A HistoryPage is the answer of History and LastMessages.
type HistoryPage struct {
	Kept     bool     // the topic has history; else the rest says nothing
	Lost     bool     // messages behind the position asked for are gone for good
	End      Position // behind the topic's last message
	Messages []KeptMessage
}

// History returns up to n messages, 1 to 1,000 and at most a mebibyte of them (one that is longer comes
// alone), that a topic has kept behind a position; the zero Position is before the oldest. There are
// more if the last one is not at End: ask again behind it. The error may be a HistoryError.
func (l *Link) History(ctx context.Context, topic string, after Position, n int) (HistoryPage, error) {
	req := &netsvrpb.HistoryReq{Topic: topic, Limit: uint32(min(max(n, 1), 1<<20))}
	if after != (Position{}) {
		req.After = &netsvrpb.HistoryPosition{Epoch: after.Epoch, Sequence: after.Sequence}
	}
	return l.historyPage(ctx, req)
}

// LastMessages returns the last n messages, 1 to 1,000, that a topic has kept, oldest first. Of
// more than a mebibyte it returns the beginning: there are more, for History, if the last one is
// not at End. The error may be a HistoryError.
func (l *Link) LastMessages(ctx context.Context, topic string, n int) (HistoryPage, error) {
	n = min(max(n, 1), 1000)
	return l.historyPage(ctx, &netsvrpb.HistoryReq{Topic: topic, Last: uint32(n), Limit: uint32(n)})
}

// ErrLost means that messages of a topic are gone for good which were asked for.
var ErrLost = errors.New("worker: messages are gone that the topic has kept no longer")

// Messages returns what a topic has kept behind a position, oldest first, page by page, up to what
// is the last one when it gets there; the zero Position is before the oldest. Where some are gone
// for good the next pair is ErrLost alone, and what is left follows. Any other error is the last
// pair. A topic without history gives nothing.
func (l *Link) Messages(ctx context.Context, topic string, after Position) iter.Seq2[KeptMessage, error] {
	return func(yield func(KeptMessage, error) bool) {
		for {
			page, err := l.History(ctx, topic, after, 1000)
			if err != nil {
				yield(KeptMessage{}, err)
				return
			}
			if page.Lost && !yield(KeptMessage{}, ErrLost) {
				return
			}
			for _, m := range page.Messages {
				if !yield(m, nil) {
					return
				}
				after = m.Position
			}
			if len(page.Messages) == 0 || after == page.End {
				return
			}
		}
	}
}

// number32 is n as it travels: from 0 on.
func number32(n int) uint32 { return uint32(min(max(n, 0), math.MaxUint32)) }

func (l *Link) historyPage(ctx context.Context, req *netsvrpb.HistoryReq) (page HistoryPage, err error) {
	var resp netsvrpb.HistoryResp
	if err := l.ask(ctx, netsvr.CmdHistory, req, &resp); err != nil {
		return page, err
	}
	if text := resp.GetError(); text != "" {
		return page, &HistoryError{text}
	}
	page = HistoryPage{Kept: resp.GetKept(), Lost: resp.GetLost(), End: positionOf(resp.GetEnd())}
	for _, item := range resp.GetItems() {
		page.Messages = append(page.Messages, KeptMessage{
			Position: Position{page.End.Epoch, item.GetSequence()},
			Time:     time.UnixMilli(item.GetUnixMs()), Route: item.GetRoute(), Cmd: uint8(item.GetCmd()), Payload: item.GetPayload(),
		})
	}
	return page, nil
}

// PublishAt publishes to a topic as TopicPublish does, waits until the gateway has done so, and returns
// where in the topic's history the message is; ok is false for a topic without history. It costs a
// round trip: use it for what is followed by a query. The error may be a HistoryError: nobody gets
// the message.
func (l *Link) PublishAt(ctx context.Context, topic string, data []byte) (at Position, ok bool, err error) {
	var resp netsvrpb.PublishAtResp
	err = l.ask(ctx, netsvr.CmdPublishAt, &netsvrpb.PublishAtReq{Topic: topic, Payload: data}, &resp)
	if text := resp.GetError(); err == nil && text != "" {
		err = &HistoryError{text}
	}
	return positionOf(resp.GetAt()), resp.GetKept(), err
}

// A HistoryError is a gateway's: its cluster cannot be reached, and so neither can what topics have
// kept.
type HistoryError struct{ Text string }

// Error implements error.
func (e *HistoryError) Error() string { return "worker: the gateway says: " + e.Text }
