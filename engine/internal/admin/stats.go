package admin

import (
	"maps"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/session"
)

// A report is the answer of /api/v1/stats: the gateway's counters since its start, and what is now.
type report struct {
	Time          time.Time         `json:"time"`
	UptimeSeconds float64           `json:"uptimeSeconds"`
	Version       string            `json:"version"`
	Ready         bool              `json:"ready"`
	NotReady      []string          `json:"notReady"` // reasons
	Connections   connectionsReport `json:"connections"`
	Messages      messagesReport    `json:"messages"`
	Memory        memoryReport      `json:"memory"`
	Loops         []loopReport      `json:"loops"`
	Panics        uint64            `json:"panics"`
	Logins        map[string]uint64 `json:"logins"` // by outcome
	Users         int               `json:"users"`
	Sessions      sessionsReport    `json:"sessions"`
	Requests      requestsReport    `json:"requests"`
	Latency       histogramView     `json:"latency"` // of requests
	Workers       *workersReport    `json:"workers"` // null: no worker listener
}

type connectionsReport struct {
	Now       int64             `json:"now"`
	Limit     int               `json:"limit"`
	Clients   map[string]int64  `json:"clients"` // logged in now, by protocol
	Accepted  uint64            `json:"accepted"`
	Refused   map[string]uint64 `json:"refused"` // by reason; those that occurred
	Closed    map[string]uint64 `json:"closed"`  // likewise
	AcceptErr uint64            `json:"acceptRetries"`
}

type messagesReport struct {
	ReceivedBytes   uint64            `json:"receivedBytes"`
	SentBytes       uint64            `json:"sentBytes"`
	ReceivedPackets uint64            `json:"receivedPackets"`
	SentPackets     uint64            `json:"sentPackets"`
	Sends           uint64            `json:"sends"`
	Publishes       uint64            `json:"publishes"`
	PublishWaits    uint64            `json:"publishWaits"`
	Deliveries      uint64            `json:"deliveries"`
	DeliveredBytes  uint64            `json:"deliveredPayloadBytes"`
	Drops           map[string]uint64 `json:"drops"` // by reason; those that occurred
	BacklogBytes    int64             `json:"backlogBytes"`
	Topics          int               `json:"topics"`
}

type memoryReport struct {
	Clients int64            `json:"clientsBytes"`
	Limit   int64            `json:"clientsLimitBytes"`
	Kinds   map[string]int64 `json:"kinds"`
	Heap    uint64           `json:"heapBytes"`
	System  uint64           `json:"systemBytes"`
}

type loopReport struct {
	LagSeconds float64 `json:"lagSeconds"`
}

type sessionsReport struct {
	Attached int    `json:"attached"`
	Detached int    `json:"detached"`
	Spent    int    `json:"spent"`
	Evicted  uint64 `json:"evicted"`
	Resumed  uint64 `json:"resumed"`

	EvictedFor map[string]uint64 `json:"evictedFor"` // of them, by the limit that they were over

	StateBytes    int64             `json:"stateBytes"`    // session texts and topics kept
	StatesDropped map[string]uint64 `json:"statesDropped"` // by the limit that they were over
}

type requestsReport struct {
	All      uint64 `json:"all"`
	TimedOut uint64 `json:"timedOut"`
	Refused  uint64 `json:"refused"`
	Late     uint64 `json:"lateReplies"`
	Holds    uint64 `json:"inputHolds"`
	Inflate  uint64 `json:"inflateHolds"`
	Waited   uint64 `json:"waitedForWorker"`
}

type workersReport struct {
	Links        int               `json:"links"`
	Registered   int               `json:"registered"`
	Commands     uint64            `json:"commands"`
	Malformed    uint64            `json:"malformed"`
	Unknown      uint64            `json:"unknown"`
	Transfers    uint64            `json:"transfers"`
	Drops        map[string]uint64 `json:"drops"` // by reason
	Replies      uint64            `json:"replies"`
	LostRequests uint64            `json:"lostRequests"`
	Moved        uint64            `json:"moved"`
	DroppedBytes uint64            `json:"droppedBytes"`
	DelayedFull  uint64            `json:"delayedRefused"`
	LinksRefused uint64            `json:"linksRefused"`
	LinksEnded   map[string]uint64 `json:"linksEnded"` // by reason; those that occurred
	Panics       uint64            `json:"panics"`
	Unencoded    uint64            `json:"unencoded"`
}

func (s *Server) report(now time.Time) report {
	e, g := s.engine.Stats(), s.gateway.Stats()
	e.Panics += g.Panics
	r := report{
		Time:          now.UTC(),
		UptimeSeconds: now.Sub(s.begun).Seconds(),
		Version:       s.config.Version,
		NotReady:      s.reasons(),
		Connections:   s.connections(&e),
		Messages:      messages(&e),
		Memory:        s.memoryNow(&e),
		Latency:       latencyView(s.latency.Load()),
		Panics:        e.Panics,
		Logins:        g.Refused,
		Users:         g.Users,
		Sessions:      sessions(g.Sessions, g.Resumed),
		Requests:      requests(&g),
	}
	r.Ready = len(r.NotReady) == 0
	if r.Ready {
		r.NotReady = []string{}
	}
	r.Logins["ok"] = g.Logins
	for i := range s.engine.Loops() {
		r.Loops = append(r.Loops, loopReport{LagSeconds: s.lag.Of(i).Seconds()})
	}
	if s.hub != nil {
		r.Workers = workers(s.hub.Stats())
	}
	return r
}

func (s *Server) connections(e *engine.Stats) connectionsReport {
	r := connectionsReport{
		Now: e.Connections, Limit: s.engine.Limits().MaxConnections, Clients: s.clients(e),
		Accepted: e.Accepted, AcceptErr: e.AcceptRetry,
		Refused: make(map[string]uint64), Closed: make(map[string]uint64),
	}
	for _, why := range engine.Reasons() {
		if n := e.Refused[why]; n > 0 {
			r.Refused[why.String()] = n
		}
		if n := e.Closed[why]; n > 0 {
			r.Closed[why.String()] = n
		}
	}
	return r
}

func messages(e *engine.Stats) messagesReport {
	r := messagesReport{
		ReceivedBytes: e.BytesIn, SentBytes: e.BytesOut, ReceivedPackets: e.PacketsIn, SentPackets: e.PacketsOut,
		Sends: e.Sends, Publishes: e.Publishes, PublishWaits: e.Waits, Deliveries: e.Deliveries,
		DeliveredBytes: e.PayloadOut, BacklogBytes: e.Accounts[engine.KindUnsent] + e.Accounts[engine.KindShared], Topics: e.Topics, Drops: make(map[string]uint64),
	}
	for _, d := range engine.Drops() {
		if n := e.Dropped[d]; n > 0 {
			r.Drops[d.String()] = n
		}
	}
	return r
}

func sessions(st session.StoreStats, resumed uint64) sessionsReport {
	return sessionsReport{Attached: st.Attached, Detached: st.Detached, Spent: st.Spent, Resumed: resumed,
		Evicted:    st.Evicted + st.OverUser + st.Trimmed,
		EvictedFor: map[string]uint64{"max-sessions": st.Evicted, "max-sessions-per-user": st.OverUser, "memory": st.Trimmed},
		StateBytes: st.Bytes, StatesDropped: map[string]uint64{"session-bytes": st.TooLong, "session-total": st.TooMany}}
}

func requests(g *gateway.Stats) requestsReport {
	return requestsReport{All: g.Requests, TimedOut: g.Timeouts, Refused: g.Busy, Late: g.Late, Holds: g.Holds, Inflate: g.InflateHolds, Waited: g.Waited}
}

func workers(h link.Stats) *workersReport {
	maps.DeleteFunc(h.Ended, func(_ string, n uint64) bool { return n == 0 })
	return &workersReport{
		LinksEnded: h.Ended,
		Links:      h.Links, Registered: h.Registered, Commands: h.Commands, Malformed: h.Malformed, Unknown: h.Unknown,
		Transfers: h.Transfers, Replies: h.Replies, LostRequests: h.LostRequests,
		Moved: h.Moved, DroppedBytes: h.WriteDropped,
		DelayedFull: h.DelayedFull, LinksRefused: h.Refused, Panics: h.Panics, Unencoded: h.Unencoded,
		Drops: map[string]uint64{"no-worker": h.NoWorker, "queue-full": h.QueueFull, "limited": h.Limited},
	}
}

// memoryNow says what is kept, and what the process takes for it.
func (s *Server) memoryNow(e *engine.Stats) memoryReport {
	r := memoryReport{Clients: max(e.Total, 0), Limit: s.engine.Limits().BacklogTotal, Kinds: make(map[string]int64)}
	for _, k := range engine.Kinds() {
		r.Kinds[k.String()] = max(e.Accounts[k], 0)
	}
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	r.Heap, r.System = samples[0].Value.Uint64(), samples[1].Value.Uint64()
	return r
}

// stirred reports whether a loop has done something since it was asked last: else it sleeps, and is let be.
func (s *Server) stirred() bool {
	for i := range s.sampled {
		if s.lag.Begun(i) != s.sampled[i].Load() {
			return true
		}
	}
	return false
}

// sampleLatency asks each loop how long requests waited, and waits for none: the sum is in force once
// all have answered.
func (s *Server) sampleLatency() {
	if !s.stirred() {
		return
	}
	parts := make([]gateway.Latency, s.engine.Loops())
	var left atomic.Int32
	left.Store(int32(len(parts)))
	for i := range parts {
		s.engine.Visit(i, func(l *engine.Loop) {
			s.gateway.Latencies(l, &parts[i], make(map[uint32]*gateway.Latency))
			s.sampled[i].Store(s.lag.Begun(i))
			if left.Add(-1) == 0 {
				all := new(gateway.Latency)
				for i := range parts {
					all.Add(&parts[i])
				}
				s.latency.Store(all)
			}
		})
	}
}
