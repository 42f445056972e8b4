package worker

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// ConnInfo is what a gateway knows of a connection.
type ConnInfo struct {
	Session string // empty: a guest
	Topics  []string
	Identity
}

// Metric is one of a gateway's counters; rates are per second, over all the time and over the
// last 1, 5 and 15 minutes, with their highest values.
type Metric struct {
	Count                 int64
	MeanRate, MeanRateMax float32
	Rate1, Rate1Max       float32
	Rate5, Rate5Max       float32
	Rate15, Rate15Max     float32
}

// The items of Metrics, by the numbers of the netsvr worker protocol 2.0.2. A gateway answers with
// those that its --netsvr-metrics names.
const (
	MetricOpens       = 0
	MetricCloses      = 1
	MetricHeartbeats  = 2 // of clients: strings and ping frames
	MetricToWorkers   = 3 // frames
	MetricWorkerBytes = 4 // of those frames, whole
	MetricToClients   = 5 // writes: pushes, pongs, error replies
	MetricClientBytes = 6 // their payload
)

// A Limit is a gateway's limiter of client messages.
type Limit struct {
	Name        string
	Concurrency int   // messages per second
	WorkerIDs   []int // that share it; not for Limit to change
}

func (l *Link) ask(ctx context.Context, cmd netsvr.Command, question, answer proto.Message) error {
	c, err := l.up(ctx)
	if err == nil {
		err = c.ask(ctx, cmd, question, answer)
	}
	if m, ok := answer.(interface{ GetMissingNodes() []uint32 }); ok && err == nil && len(m.GetMissingNodes()) > 0 {
		err = &MissingNodesError{ServerIDs: m.GetMissingNodes()}
	}
	return l.failed(cmd, err)
}

// CheckOnline returns those of uniqIDs that are connected.
func (l *Link) CheckOnline(ctx context.Context, uniqIDs []string) ([]string, error) {
	var resp netsvrpb.CheckOnlineResp
	err := l.ask(ctx, netsvr.CmdCheckOnline, &netsvrpb.CheckOnlineReq{UniqIds: uniqIDs}, &resp)
	return resp.GetUniqIds(), err
}

// UniqIDList returns all that are connected.
func (l *Link) UniqIDList(ctx context.Context) ([]string, error) {
	var resp netsvrpb.UniqIdListResp
	err := l.ask(ctx, netsvr.CmdUniqIDList, nil, &resp)
	return resp.GetUniqIds(), err
}

// UniqIDCount returns how many are connected.
func (l *Link) UniqIDCount(ctx context.Context) (int, error) {
	var resp netsvrpb.UniqIdCountResp
	err := l.ask(ctx, netsvr.CmdUniqIDCount, nil, &resp)
	return int(resp.GetCount()), err
}

// TopicCount returns how many topics have subscribers.
func (l *Link) TopicCount(ctx context.Context) (int, error) {
	var resp netsvrpb.TopicCountResp
	err := l.ask(ctx, netsvr.CmdTopicCount, nil, &resp)
	return int(resp.GetCount()), err
}

// TopicList returns the topics that have subscribers.
func (l *Link) TopicList(ctx context.Context) ([]string, error) {
	var resp netsvrpb.TopicListResp
	err := l.ask(ctx, netsvr.CmdTopicList, nil, &resp)
	return resp.GetTopics(), err
}

// TopicUniqIDList returns the subscribers of each topic; unknown ones are left out.
func (l *Link) TopicUniqIDList(ctx context.Context, topics []string) (map[string][]string, error) {
	var resp netsvrpb.TopicUniqIdListResp
	err := l.ask(ctx, netsvr.CmdTopicUniqIDList, &netsvrpb.TopicUniqIdListReq{Topics: topics}, &resp)
	if !answered(err) {
		return nil, err
	}
	lists := make(map[string][]string, len(resp.GetItems()))
	for topic, item := range resp.GetItems() {
		lists[topic] = item.GetUniqIds()
	}
	return lists, err
}

// TopicUniqIDCount returns how many subscribers each of topics has; unknown ones are left out.
// With all it returns every topic, whatever is listed.
func (l *Link) TopicUniqIDCount(ctx context.Context, topics []string, all bool) (map[string]int, error) {
	var resp netsvrpb.TopicUniqIdCountResp
	err := l.ask(ctx, netsvr.CmdTopicUniqIDCount, &netsvrpb.TopicUniqIdCountReq{Topics: topics, CountAll: all}, &resp)
	if !answered(err) {
		return nil, err
	}
	counts := make(map[string]int, len(resp.GetItems()))
	for topic, n := range resp.GetItems() {
		counts[topic] = int(n)
	}
	return counts, err
}

// ConnInfo returns session and topics of connections; unknown ones are left out.
func (l *Link) ConnInfo(ctx context.Context, uniqIDs []string) (map[string]ConnInfo, error) {
	var resp netsvrpb.ConnInfoResp
	err := l.ask(ctx, netsvr.CmdConnInfo, &netsvrpb.ConnInfoReq{UniqIds: uniqIDs, WantsIdentity: true}, &resp)
	if !answered(err) {
		return nil, err
	}
	infos := make(map[string]ConnInfo, len(resp.GetItems()))
	for id, item := range resp.GetItems() {
		infos[id] = ConnInfo{Session: item.GetSession(), Topics: item.GetTopics(), Identity: Identity{
			User: item.GetUser(), Protocol: item.GetProtocol(), Peer: item.GetPeer(),
			metadata: listOf(item.GetMetadata()), claims: listOf(item.GetClaims()),
		}}
	}
	return infos, err
}

// Metrics returns the counters that the gateway keeps, by the numbers of its items.
func (l *Link) Metrics(ctx context.Context) (map[int]Metric, error) {
	var resp netsvrpb.MetricsResp
	if err := l.ask(ctx, netsvr.CmdMetrics, nil, &resp); err != nil {
		return nil, err
	}
	metrics := make(map[int]Metric, len(resp.GetItems()))
	for number, m := range resp.GetItems() {
		metrics[int(number)] = Metric{
			Count:    m.GetCount(),
			MeanRate: m.GetMeanRate(), MeanRateMax: m.GetMeanRateMax(),
			Rate1: m.GetRate1(), Rate1Max: m.GetRate1Max(),
			Rate5: m.GetRate5(), Rate5Max: m.GetRate5Max(),
			Rate15: m.GetRate15(), Rate15Max: m.GetRate15Max(),
		}
	}
	return metrics, nil
}

// Limit changes the limiters named, where Concurrency is above 0, until the gateway restarts or is
// given others, and returns all limiters as they are then. Without changes it only returns them.
func (l *Link) Limit(ctx context.Context, changes []Limit) ([]Limit, error) {
	var req netsvrpb.LimitReq
	for _, c := range changes {
		req.Items = append(req.Items, &netsvrpb.LimitReq_Item{
			Name: c.Name, Concurrency: int32(min(max(c.Concurrency, 0), 1<<31-1)),
		})
	}
	var resp netsvrpb.LimitResp
	if err := l.ask(ctx, netsvr.CmdLimit, &req, &resp); err != nil {
		return nil, err
	}
	limits := make([]Limit, 0, len(resp.GetItems()))
	for _, item := range resp.GetItems() {
		lim := Limit{Name: item.GetName(), Concurrency: int(item.GetConcurrency())}
		for _, id := range item.GetWorkerIds() {
			lim.WorkerIDs = append(lim.WorkerIDs, int(id))
		}
		limits = append(limits, lim)
	}
	return limits, nil
}

// ConnOpenCustomUniqIDToken returns a token with which a WebSocket client may once connect under an
// id of its own choice, and a proposal for that id.
func (l *Link) ConnOpenCustomUniqIDToken(ctx context.Context) (uniqID, token string, err error) {
	var resp netsvrpb.ConnOpenCustomUniqIdTokenResp
	err = l.ask(ctx, netsvr.CmdConnOpenCustomUniqIDToken, nil, &resp)
	return resp.GetUniqId(), resp.GetToken(), err
}
