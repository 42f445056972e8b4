package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/sluicenet/sluice/bench/reactor"
	"github.com/sluicenet/sluice/bench/wire"
)

// Clients of netsvr do not subscribe: their workers do it for them. So the first publisher, a
// worker, asks the gateway who is there, gives everybody a group of topics, and lets the gateway
// tell them which.

// askForList is the first publisher's question, on its loop.
func (w *worker) askForList() {
	for i := range w.conns {
		c := &w.conns[i]
		if link, ok := w.publishing.(*wire.Link); ok && c.role == rolePublisher && c.index == 0 {
			b, err := link.AppendList(nil)
			if err != nil {
				w.err = err
			}
			c.sock.Send(b)
		}
	}
}

// enlist subscribes everybody on the list.
func (w *worker) enlist(c *conn, ids []string) {
	link, ok := w.publishing.(*wire.Link)
	if !ok {
		return
	}
	if len(ids) != w.Connections {
		w.err = fmt.Errorf("the gateway has %d connections, not our %d: others would take part", len(ids), w.Connections)
		return
	}
	for i, id := range ids {
		group := i % w.groups
		var names []string
		for t := group; t < w.Topics; t += w.groups {
			names = append(names, string(w.appendTopic(nil, t)))
		}
		b, err := link.AppendEnlist(nil, id, names, uint32(group))
		if err != nil {
			w.err = err
			return
		}
		c.sock.Send(b)
	}
}

// enlist waits until every member knows its group.
func (r *run) enlist(ctx context.Context) error {
	for _, s := range r.shards {
		if err := s.enlist(); err != nil {
			return err
		}
	}
	for deadline := reactor.Now() + int64(r.StepTimeout); ; {
		if err := r.look(); err != nil {
			return err
		}
		switch {
		case r.total.Err != "":
			return fmt.Errorf("%w: %s", errNotReady, r.total.Err)
		case r.total.Enlisted == r.Connections:
			return nil
		case reactor.Now() > deadline:
			return fmt.Errorf("%w: %d of %d have been subscribed", errNotReady, r.total.Enlisted, r.Connections)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (l *local) enlist() error { return l.each((*worker).askForList) }

func (r *remote) enlist() error {
	_, err := r.ask(order{Do: "enlist"})
	return err
}
