package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// The commands of a Worker go to the gateways concerned, one after the other, each on its first
// link. One that fails does not keep the others from it; the errors come joined.

// toEach runs command on each of the gateways and joins the errors.
func toEach(gateways []*Gateway, command func(*Gateway) error) error {
	if len(gateways) == 1 {
		return command(gateways[0])
	}
	var errs []error
	for _, g := range gateways {
		if err := command(g); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ConnInfoUpdate changes a connection, at the gateway that has it.
func (w *Worker) ConnInfoUpdate(ctx context.Context, u ConnInfoUpdate) error {
	return toEach(w.where(u.UniqID), func(g *Gateway) error { return g.ConnInfoUpdate(ctx, u) })
}

// ConnInfoDelete takes things from a connection, at the gateway that has it.
func (w *Worker) ConnInfoDelete(ctx context.Context, d ConnInfoDelete) error {
	return toEach(w.where(d.UniqID), func(g *Gateway) error { return g.ConnInfoDelete(ctx, d) })
}

// Broadcast pushes data to every connection of every gateway.
func (w *Worker) Broadcast(ctx context.Context, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.Broadcast(ctx, data) })
}

// SingleCast pushes data to a connection, wherever it is.
func (w *Worker) SingleCast(ctx context.Context, uniqID string, data []byte) error {
	return toEach(w.where(uniqID), func(g *Gateway) error { return g.SingleCast(ctx, uniqID, data) })
}

// Multicast pushes data to connections, wherever they are.
func (w *Worker) Multicast(ctx context.Context, uniqIDs []string, data []byte) error {
	return w.deal(uniqIDs, func(g *Gateway, ids []string) error { return g.Multicast(ctx, ids, data) })
}

// SingleCastBulk pushes data pairwise to as many connections, or all of it to the only one. Other
// shapes push nothing.
func (w *Worker) SingleCastBulk(ctx context.Context, uniqIDs []string, data [][]byte) error {
	if !netsvr.BulkFits(len(uniqIDs), len(data)) {
		return nil
	}
	if len(uniqIDs) == 1 {
		return toEach(w.where(uniqIDs[0]), func(g *Gateway) error { return g.SingleCastBulk(ctx, uniqIDs, data) })
	}
	if whom := w.whom(); len(whom) == 1 {
		return whom[0].SingleCastBulk(ctx, uniqIDs, data)
	}
	var errs []error
	for _, s := range w.shares(uniqIDs) {
		theirs := make([][]byte, len(s.at))
		for i, at := range s.at {
			theirs[i] = data[at]
		}
		errs = append(errs, s.gateway.SingleCastBulk(ctx, s.uniqIDs, theirs))
	}
	return errors.Join(errs...)
}

// TopicSubscribe adds a connection to topics and pushes data to it.
func (w *Worker) TopicSubscribe(ctx context.Context, uniqID string, topics []string, data []byte) error {
	return toEach(w.where(uniqID), func(g *Gateway) error { return g.TopicSubscribe(ctx, uniqID, topics, data) })
}

// TopicSubscribeLast is TopicSubscribe that has a connection which is not subscribed yet get the last
// messages first that each topic has kept, so many of it at most.
func (w *Worker) TopicSubscribeLast(ctx context.Context, uniqID string, topics []string, last int, data []byte) error {
	return toEach(w.where(uniqID), func(g *Gateway) error { return g.TopicSubscribeLast(ctx, uniqID, topics, last, data) })
}

// TopicUnsubscribe removes a connection from topics and pushes data to it.
func (w *Worker) TopicUnsubscribe(ctx context.Context, uniqID string, topics []string, data []byte) error {
	return toEach(w.where(uniqID), func(g *Gateway) error { return g.TopicUnsubscribe(ctx, uniqID, topics, data) })
}

// TopicDelete ends topics on every gateway.
func (w *Worker) TopicDelete(ctx context.Context, topics []string, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.TopicDelete(ctx, topics, data) })
}

// TopicPublish pushes data to the subscribers of topics on every gateway.
func (w *Worker) TopicPublish(ctx context.Context, topics []string, data []byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.TopicPublish(ctx, topics, data) })
}

// TopicPublishBulk publishes data pairwise to as many topics, or all of it to the only one, on
// every gateway. Other shapes publish nothing.
func (w *Worker) TopicPublishBulk(ctx context.Context, topics []string, data [][]byte) error {
	return toEach(w.whom(), func(g *Gateway) error { return g.TopicPublishBulk(ctx, topics, data) })
}

// Push pushes under a route or command of the caller's choice: to connections wherever they are,
// and to the subscribers of topics and to users on every gateway.
func (w *Worker) Push(ctx context.Context, p Push) error {
	if whom := w.whom(); len(whom) == 1 {
		return whom[0].Push(ctx, p)
	}
	shares := w.shares(p.UniqIDs)
	var errs []error
	for _, g := range w.gateways {
		theirs := p
		theirs.UniqIDs = nil
		if i := slices.IndexFunc(shares, func(s share) bool { return s.gateway == g }); i >= 0 {
			theirs.UniqIDs = shares[i].uniqIDs
		}
		if len(theirs.UniqIDs)+len(theirs.Topics)+len(theirs.Users) > 0 {
			errs = append(errs, g.Push(ctx, theirs))
		}
	}
	return errors.Join(errs...)
}

// ForceOffline closes connections, wherever they are: at once, or 3 seconds after data was pushed.
func (w *Worker) ForceOffline(ctx context.Context, uniqIDs []string, data []byte) error {
	return w.deal(uniqIDs, func(g *Gateway, ids []string) error { return g.ForceOffline(ctx, ids, data) })
}

// ForceOfflineGuest is ForceOffline for those that have no session text by the time that delay,
// rounded up to whole seconds, is over.
func (w *Worker) ForceOfflineGuest(ctx context.Context, uniqIDs []string, delay time.Duration, data []byte) error {
	return w.deal(uniqIDs, func(g *Gateway, ids []string) error {
		return g.ForceOfflineGuest(ctx, ids, delay, data)
	})
}

// deal gives each gateway the ids that may be its own.
func (w *Worker) deal(uniqIDs []string, command func(*Gateway, []string) error) error {
	if whom := w.whom(); len(whom) == 1 {
		return command(whom[0], uniqIDs)
	}
	var errs []error
	for _, s := range w.shares(uniqIDs) {
		errs = append(errs, command(s.gateway, s.uniqIDs))
	}
	return errors.Join(errs...)
}

// The queries of a Worker ask the gateways concerned at the same time. With an error they return
// what the others answered.

// CheckOnline returns those of uniqIDs that are connected to some gateway, without order.
func (w *Worker) CheckOnline(ctx context.Context, uniqIDs []string) ([]string, error) {
	online, err := gather(w.asked(uniqIDs), func(s share) ([]string, error) {
		return s.gateway.CheckOnline(ctx, s.uniqIDs)
	})
	return union(online), err
}

// ConnInfo returns session and topics of connections, wherever they are; unknown ones are left out.
func (w *Worker) ConnInfo(ctx context.Context, uniqIDs []string) (map[string]ConnInfo, error) {
	infos, err := gather(w.asked(uniqIDs), func(s share) (map[string]ConnInfo, error) {
		return s.gateway.ConnInfo(ctx, s.uniqIDs)
	})
	all := make(map[string]ConnInfo)
	for _, m := range infos {
		maps.Copy(all, m)
	}
	return all, err
}

// UniqIDList returns all that are connected to any gateway.
func (w *Worker) UniqIDList(ctx context.Context) ([]string, error) {
	lists, err := gather(w.whom(), func(g *Gateway) ([]string, error) { return g.UniqIDList(ctx) })
	return slices.Concat(lists...), err
}

// UniqIDCount returns how many are connected to all gateways together.
func (w *Worker) UniqIDCount(ctx context.Context) (int, error) {
	counts, err := gather(w.whom(), func(g *Gateway) (int, error) { return g.UniqIDCount(ctx) })
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum, err
}

// TopicList returns the topics that have subscribers anywhere, each once, without order.
func (w *Worker) TopicList(ctx context.Context) ([]string, error) {
	lists, err := gather(w.whom(), func(g *Gateway) ([]string, error) { return g.TopicList(ctx) })
	return union(lists), err
}

// TopicUniqIDList returns the subscribers of each topic on all gateways together.
func (w *Worker) TopicUniqIDList(ctx context.Context, topics []string) (map[string][]string, error) {
	lists, err := gather(w.whom(), func(g *Gateway) (map[string][]string, error) {
		return g.TopicUniqIDList(ctx, topics)
	})
	all := make(map[string][]string)
	for _, m := range lists {
		for topic, ids := range m {
			all[topic] = append(all[topic], ids...)
		}
	}
	return all, err
}

// TopicUniqIDCount returns how many subscribers topics have on all gateways together; with all,
// every topic.
func (w *Worker) TopicUniqIDCount(ctx context.Context, topics []string, all bool) (map[string]int, error) {
	counts, err := gather(w.whom(), func(g *Gateway) (map[string]int, error) {
		return g.TopicUniqIDCount(ctx, topics, all)
	})
	sum := make(map[string]int)
	for _, m := range counts {
		for topic, n := range m {
			sum[topic] += n
		}
	}
	return sum, err
}

// asked is shares for a query.
func (w *Worker) asked(uniqIDs []string) []share {
	if whom := w.whom(); len(whom) == 1 {
		return []share{{gateway: whom[0], uniqIDs: uniqIDs}}
	}
	return w.shares(uniqIDs)
}

func union(lists [][]string) []string {
	if len(lists) == 1 {
		return lists[0]
	}
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// gather asks all at once and returns the answers there are, and the errors joined.
func gather[G, T any](whom []G, ask func(G) (T, error)) ([]T, error) {
	answers, errs := make([]T, len(whom)), make([]error, len(whom))
	var wg sync.WaitGroup
	for i := range whom {
		if i == len(whom)-1 {
			answers[i], errs[i] = ask(whom[i]) // the last, often the only one, needs no goroutine
			break
		}
		wg.Go(func() { answers[i], errs[i] = ask(whom[i]) })
	}
	wg.Wait()
	good := answers[:0]
	for i := range whom {
		if answered(errs[i]) {
			good = append(good, answers[i])
		}
	}
	return good, errors.Join(errs...)
}
