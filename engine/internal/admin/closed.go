package admin

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// keepClosed is how many ended connections are remembered.
const keepClosed = 10_000

// A closed is a connection that has ended, or was refused.
type closedConn struct {
	Time        time.Time `json:"time"`
	Reason      string    `json:"reason"`
	Refused     bool      `json:"refused"` // it was never served
	UniqID      string    `json:"uniqId"`
	User        string    `json:"user"`
	Protocol    string    `json:"protocol"`
	Peer        string    `json:"peer"`
	Listener    int       `json:"listener"`
	Seconds     float64   `json:"seconds"` // that it was there
	BytesIn     uint64    `json:"bytesIn"`
	BytesOut    uint64    `json:"bytesOut"`
	MessagesIn  uint64    `json:"messagesIn"`
	MessagesOut uint64    `json:"messagesOut"`
}

// An ended is a closedConn as it is kept.
type ended struct {
	at       time.Time
	why      engine.Reason
	refused  bool
	listener uint8
	id, user string
	protocol string // a constant
	peer     netip.AddrPort
	ms       int64
	traffic  engine.Traffic
}

const endedSize = int64(unsafe.Sizeof(ended{}))

func (e *ended) memory() int64 { return int64(len(e.id) + len(e.user)) }

// endings remember the connections that have ended last, in a ring. Any goroutine may use it.
type endings struct {
	charge func(bytes int64)
	mu     sync.Mutex
	ring   []ended
	total  uint64 // that have ended; the newest is at (total-1) % keepClosed
}

func (r *endings) add(e ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := int(r.total % keepClosed); i < len(r.ring) {
		r.charge(e.memory() - r.ring[i].memory())
		r.ring[i] = e
	} else {
		before := cap(r.ring)
		r.ring = append(r.ring, e)
		r.charge(e.memory() + int64(cap(r.ring)-before)*endedSize)
	}
	r.total++
}

// clear forgets all, for the end.
func (r *endings) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := int64(cap(r.ring)) * endedSize
	for i := range r.ring {
		n += r.ring[i].memory()
	}
	r.charge(-n)
	r.ring, r.total = nil, 0
}

// endedAtOnce is how many are copied under the lock, for which a loop may wait: a few microseconds.
const endedAtOnce = 128

// list calls f with each that is remembered and came before number before, newest first, until f
// returns false. Nobody waits for f.
func (r *endings) list(before uint64, f func(number uint64, e *ended) bool) {
	some := make([]ended, endedAtOnce)
	for n := len(some); n == len(some); {
		var newest uint64
		newest, n = r.copyOut(before, some)
		for i := range n {
			if !f(newest-uint64(i), &some[i]) {
				return
			}
		}
		before = newest - uint64(n)
	}
}

// copyOut copies those that came before number before, newest first, and returns the number of the first
// of them and how many there are.
func (r *endings) copyOut(before uint64, into []ended) (newest uint64, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	newest = min(before, r.total)
	for number := newest; n < len(into) && number > 0 && number+keepClosed > r.total; number-- {
		into[n] = r.ring[(number-1)%keepClosed]
		n++
	}
	return newest, n
}

// hear is what Engine.HearEnds calls.
func (s *Server) hear(end engine.End) {
	e := ended{at: s.engine.Time(), why: end.Why, peer: end.Peer, refused: end.Conn == nil,
		listener: uint8(end.Listener), protocol: "unknown"}
	if c := end.Conn; c != nil {
		e.traffic = end.Traffic
		e.ms = c.Loop().Now() - e.traffic.Since
		e.protocol = protocolOf(end.Handler)
		if h, ok := end.Handler.(gateway.Session); ok {
			cl := h.Base()
			e.user = strings.Clone(cl.User())
			if cl.Online() {
				e.id = s.gateway.ID(cl)
			}
		}
	}
	s.endings.add(e)
}

type closedPage struct {
	Closed []closedConn `json:"closed"`
	Next   *int         `json:"next"`
	Total  uint64       `json:"total"` // since the start
	Kept   int          `json:"kept"`
}

func (s *Server) apiClosed(r *http.Request) (any, error) {
	q := parameters(r, "limit", "cursor", "reason", "user", "protocol", "peer", "search")
	limit, cursor := q.limit(), q.number("cursor", 1<<62, 1<<62)
	reason, user, protocol, search := q.oneOf("reason", reasonNames...), q.given("user"), q.text("protocol"), strings.ToLower(q.text("search"))
	f := connFilter{}
	if text := q.text("peer"); text != "" {
		f = readFilter(&query{values: map[string][]string{"peer": {text}}})
		if !f.peer.IsValid() {
			q.fail("peer=%s: want an address or a network, as 10.0.0.0/8", clip(text))
		}
	}
	if q.err != nil {
		return nil, q.err
	}
	page := closedPage{Closed: []closedConn{}}
	s.endings.list(uint64(cursor), func(number uint64, e *ended) bool {
		if reason != "" && e.why.String() != reason || user != nil && (e.user != *user || *user == "" && e.id == "") || protocol != "" && e.protocol != protocol ||
			f.peer.IsValid() && !f.peer.Contains(e.peer.Addr()) ||
			search != "" && !strings.Contains(strings.ToLower(e.user+" "+e.id+" "+peerText(e.peer)), search) {
			return true
		}
		if len(page.Closed) == limit {
			page.Next = new(int(number))
			return false
		}
		page.Closed = append(page.Closed, closedConn{
			Time: e.at.UTC(), Reason: e.why.String(), Refused: e.refused, UniqID: e.id, User: e.user, Protocol: e.protocol,
			Peer: peerText(e.peer), Listener: int(e.listener), Seconds: float64(e.ms) / 1000,
			BytesIn: e.traffic.BytesIn, BytesOut: e.traffic.BytesOut, MessagesIn: e.traffic.PacketsIn, MessagesOut: e.traffic.PacketsOut,
		})
		return true
	})
	s.endings.mu.Lock()
	page.Total, page.Kept = s.endings.total, len(s.endings.ring)
	s.endings.mu.Unlock()
	return page, nil
}

var reasonNames = func() (names []string) {
	for _, r := range engine.Reasons() {
		names = append(names, r.String())
	}
	return names
}()
