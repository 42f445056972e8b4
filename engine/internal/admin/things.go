package admin

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/session"
)

// A sessionRow is a session that its client can resume.
type sessionRow struct {
	ID         string    `json:"id"`
	User       string    `json:"user"`
	State      string    `json:"state"`
	Connection string    `json:"connection"` // that has it; empty: detached
	UniqID     string    `json:"uniqId"`     // of that connection
	Expires    time.Time `json:"expires"`
	Topics     int       `json:"topics"` // of that connection, or that are kept
	Bytes      int       `json:"bytes"`  // that are kept while it is detached
}

type sessionsPage struct {
	Sessions []sessionRow `json:"sessions"`
	Next     *string      `json:"next"`
	Attached int          `json:"attached"` // in all
	Detached int          `json:"detached"`
}

func (s *Server) apiSessions(r *http.Request) (any, error) {
	q := parameters(r, "limit", "cursor", "user", "state")
	limit, user, state := q.limit(), q.given("user"), q.oneOf("state", "attached", "detached")
	var after session.SessionID
	if text := q.text("cursor"); text != "" {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != len(after) {
			q.fail("cursor=%s: want what an earlier answer has as next", clip(text))
		}
		copy(after[:], b)
	}
	if q.err != nil {
		return nil, q.err
	}
	list := s.gateway.Sessions(after, limit+1, func(l *session.Listed) bool {
		return (user == nil || l.User == *user) && (state == "" || (state == "attached") == (l.Holder != 0))
	})
	st := s.gateway.Stats().Sessions
	page := sessionsPage{Sessions: []sessionRow{}, Attached: st.Attached, Detached: st.Detached}
	for i, l := range list {
		if i == limit {
			page.Next = &page.Sessions[limit-1].ID
			break
		}
		page.Sessions = append(page.Sessions, sessionRowOf(&l))
	}
	if err := s.addHolders(r.Context(), page.Sessions, list); err != nil {
		return nil, err
	}
	return page, nil
}

// A histogramView is how many of something were at most how long. The last bucket has no bound.
type histogramView struct {
	Count      uint64    `json:"count"`
	SumSeconds float64   `json:"sumSeconds"`
	Bounds     []float64 `json:"bounds"` // seconds
	Counts     []uint64  `json:"counts"` // one more than there are bounds, not cumulated
	P50        float64   `json:"p50"`    // seconds; the bound that it is at or below
	P99        float64   `json:"p99"`
}

func newHistogram(bounds []float64, counts []uint64, sum float64) histogramView {
	h := histogramView{SumSeconds: sum, Bounds: bounds, Counts: counts}
	for _, n := range counts {
		h.Count += n
	}
	h.P50, h.P99 = h.quantile(.5), h.quantile(.99)
	return h
}

// quantile returns the bound below which a part of all are; the greatest there is when they are above.
func (h *histogramView) quantile(q float64) float64 {
	seen, want := uint64(0), q*float64(h.Count)
	for i, n := range h.Counts {
		if seen += n; float64(seen) >= want && seen > 0 {
			return h.Bounds[min(i, len(h.Bounds)-1)]
		}
	}
	return 0
}

var latencyBounds = func() (list []float64) {
	for _, ms := range gateway.LatencyBounds {
		list = append(list, float64(ms)/1000)
	}
	return list
}()

func latencyView(l *gateway.Latency) histogramView {
	return newHistogram(latencyBounds, l.Counts[:], float64(l.Sum)/1000)
}

// A workerRow is a connection of a worker.
type workerRow struct {
	Link          uint32        `json:"link"`
	Peer          string        `json:"peer"`
	Since         time.Time     `json:"since"`
	Registered    bool          `json:"registered"`
	WorkerID      int           `json:"workerId"` // 0: not registered
	RegisterID    string        `json:"registerId"`
	TakesRequests bool          `json:"takesRequests"`
	WantsIdentity bool          `json:"wantsIdentity"`
	QueueBytes    int           `json:"queueBytes"`
	QueueLimit    int           `json:"queueLimitBytes"`
	Received      uint64        `json:"received"` // frames from it
	Sent          uint64        `json:"sent"`     // messages, requests and events queued for it
	SilentSeconds float64       `json:"silentSeconds"`
	Still         bool          `json:"standsStill"`
	Latency       histogramView `json:"latency"`
}

type workersPage struct {
	Workers []workerRow   `json:"workers"`
	Listens bool          `json:"listens"` // workers are served
	Latency histogramView `json:"latency"` // of all requests, whoever answered them
}

func (s *Server) apiWorkers(r *http.Request) (any, error) {
	q := parameters(r, "workerId")
	only := q.number("workerId", 0, gateway.MaxWorker)
	if q.err != nil {
		return nil, q.err
	}
	all, links, err := s.latencies(r.Context())
	if err != nil {
		return nil, err
	}
	page := workersPage{Workers: []workerRow{}, Listens: s.hub != nil, Latency: latencyView(all)}
	if s.hub == nil {
		return page, nil
	}
	for _, l := range s.hub.Links() {
		if only == 0 || l.WorkerID == only {
			page.Workers = append(page.Workers, workerRowOf(&l, links[l.ID]))
		}
	}
	return page, nil
}

func workerRowOf(l *link.LinkInfo, latency *gateway.Latency) workerRow {
	if latency == nil {
		latency = new(gateway.Latency)
	}
	return workerRow{
		Link: l.ID, Peer: l.Peer, Since: l.Since.UTC(), Registered: l.Registered, WorkerID: l.WorkerID, RegisterID: l.RegisterID,
		TakesRequests: l.TakesRequests, WantsIdentity: l.WantsIdentity, QueueBytes: l.QueueBytes, QueueLimit: l.QueueLimit,
		Received: l.Received, Sent: l.Sent, SilentSeconds: l.Silent.Seconds(), Still: l.Still, Latency: latencyView(latency),
	}
}

// latencies adds up what each loop knows.
func (s *Server) latencies(ctx context.Context) (*gateway.Latency, map[uint32]*gateway.Latency, error) {
	all, links := new(gateway.Latency), make(map[uint32]*gateway.Latency)
	for loop := range s.engine.Loops() {
		one, of := new(gateway.Latency), make(map[uint32]*gateway.Latency)
		if err := s.onLoop(ctx, loop, func(l *engine.Loop) { s.gateway.Latencies(l, one, of) }); err != nil {
			return nil, nil, err
		}
		all.Add(one)
		for id, l := range of {
			if links[id] == nil {
				links[id] = new(gateway.Latency)
			}
			links[id].Add(l)
		}
	}
	return all, links, nil
}

// A loopRow is how an event loop is doing.
type loopRow struct {
	Loop               int           `json:"loop"`
	LagSeconds         float64       `json:"lagSeconds"`
	Connections        int           `json:"connections"`
	Clients            int           `json:"clients"`
	Watched            int           `json:"watched"`
	Congested          int           `json:"congested"`
	Mailbox            int           `json:"mailboxMessages"`
	MailBytes          int           `json:"mailboxBytes"`
	Tells              int           `json:"tells"`
	Dirty              int           `json:"waitToBeSentTo"`
	Deferred           int           `json:"deferredPublishes"`
	Turns              histogramView `json:"turns"`
	LongestTurnSeconds float64       `json:"longestTurnSeconds"`
}

type loopsPage struct {
	Loops []loopRow `json:"loops"`
}

var turnBounds = func() (list []float64) {
	for _, d := range engine.TurnBounds {
		list = append(list, d.Seconds())
	}
	return list
}()

func (s *Server) apiLoops(r *http.Request) (any, error) {
	if q := parameters(r); q.err != nil {
		return nil, q.err
	}
	page := loopsPage{Loops: []loopRow{}}
	for i := range s.engine.Loops() {
		var rep engine.LoopReport
		if err := s.onLoop(r.Context(), i, func(l *engine.Loop) { rep = l.Report() }); err != nil {
			return nil, err
		}
		page.Loops = append(page.Loops, loopRow{
			Loop: i, LagSeconds: s.lag.Of(i).Seconds(), Connections: rep.Connections, Clients: rep.Clients,
			Watched: rep.Watched, Congested: rep.Congested, Mailbox: rep.Mailbox, MailBytes: rep.MailBytes, Tells: rep.Tells,
			Dirty: rep.Dirty, Deferred: rep.Deferred, LongestTurnSeconds: rep.LongestTurn.Seconds(),
			Turns: newHistogram(turnBounds, rep.TurnsBelow[:], rep.TurnTime.Seconds()),
		})
	}
	return page, nil
}

// apiStats answers with the counters.
func (s *Server) apiStats(r *http.Request) (any, error) {
	if q := parameters(r); q.err != nil {
		return nil, q.err
	}
	return s.report(time.Now()), nil
}

type onlineAnswer struct {
	User   string `json:"user"`
	Online int    `json:"online"`
}

// apiOnline answers how many connections the user in the query has, of every protocol.
func (s *Server) apiOnline(r *http.Request) (any, error) {
	q := parameters(r, "user")
	user := q.text("user")
	if user == "" {
		q.fail("who? want ?user=ID")
	}
	if q.err != nil {
		return nil, q.err
	}
	return onlineAnswer{user, s.gateway.Online(user)}, nil
}
