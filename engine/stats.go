package engine

import "sync/atomic"

// Stats are an Engine's counters since it started. Counters only rise; the fields marked
// "now" are gauges.
type Stats struct {
	Accepted    uint64             // connections
	Refused     [numReasons]uint64 // connections closed before they reached a loop
	AcceptRetry uint64             // accept errors that passed, such as too many open files
	Closed      [numReasons]uint64 // connections, by Reason
	Connections int64              // now

	BytesIn, BytesOut uint64           // received and sent
	Sends             uint64           // system calls that sent
	PacketsIn         uint64           // packets that protocols have handled; see Conn.CountPackets
	PacketsOut        uint64           // messages sent whole: deliveries, replies, final words
	Publishes         uint64           // publishes accepted, to topics with and without subscribers
	Deliveries        uint64           // messages queued for connections
	PayloadOut        uint64           // bytes of their payloads
	Dropped           [numDrops]uint64 // messages, by Drop
	Replayed          uint64           // of Deliveries, those of a topic's history
	Gaps              uint64           // times that a subscriber was told that messages are gone for good
	Waits             uint64           // publishes that had to wait
	Panics            uint64           // of handlers, encoders and functions of others
	Wakeups           uint64           // of loops, by mail or a deadline
	Handshakes        HandshakeStats
	LoopsLate         uint64 // times that a loop took more than 100 ms to run what it was told

	OverRate [numRates]uint64 // times that a connection was over its rate, by Rate

	Total    int64           // now: bytes kept for connections, of all kinds
	Accounts [numKinds]int64 // now: bytes kept, by Kind
	Topics   int             // now
	// Addresses are those that clients are connected from now, IPv6 by /64.
	Addresses int
	Clients   [MaxDialects]int64 // now: by the dialect they take pushes in, an index into Config.Dialects
}

// loopStats are one loop's counters: written by the loop alone, read by anybody.
type loopStats struct {
	_          [64]byte // not on a line with what other goroutines write
	closed     [numReasons]atomic.Uint64
	dropped    [numDrops]atomic.Uint64
	bytesIn    atomic.Uint64
	bytesOut   atomic.Uint64
	sends      atomic.Uint64
	packetsIn  atomic.Uint64
	overRate   [numRates]atomic.Uint64
	packetsOut atomic.Uint64
	deliveries atomic.Uint64
	payloadOut atomic.Uint64
	publishes  atomic.Uint64
	waits      atomic.Uint64
	replayed   atomic.Uint64
	gaps       atomic.Uint64
	panics     atomic.Uint64
	wakeups    atomic.Uint64
	handshakes handshakeStats
	open       atomic.Int64
	told       atomic.Int64 // of open: everything is sent to them, their end too
	cutOff     atomic.Int64 // of those that a shutdown closed: ended with something unsent
	accounts   [numKinds]atomic.Int64
	clients    [MaxDialects]atomic.Int64
	allClients atomic.Int64
	turns      turnTimes
	calls      atomic.Uint64 // of gnet, each counted when it begins and when it ends
	_          [64]byte
}

// Stats returns the counters. It may be called from any goroutine.
func (e *Engine) Stats() Stats {
	s := Stats{
		Accepted:    e.accepted.Load(),
		AcceptRetry: e.acceptRetry.Load(),
		Total:       e.total.Load(),
		Topics:      e.topics.Len(),
		LoopsLate:   e.lag.LateTimes(),
		Addresses:   e.addresses.count(),
	}
	for i := range e.refused {
		s.Refused[i] = e.refused[i].Load()
	}
	for i := range len(e.loops) + 1 {
		st := &e.outside
		if i < len(e.loops) {
			st = e.loops[i].stats
		}
		for i := range st.closed {
			s.Closed[i] += st.closed[i].Load()
		}
		for i := range st.dropped {
			s.Dropped[i] += st.dropped[i].Load()
		}
		for i := range st.overRate {
			s.OverRate[i] += st.overRate[i].Load()
		}
		for i := range st.accounts {
			s.Accounts[i] += st.accounts[i].Load()
		}
		for i := range st.clients {
			s.Clients[i] += st.clients[i].Load()
		}
		s.Connections += st.open.Load()
		s.BytesIn += st.bytesIn.Load()
		s.BytesOut += st.bytesOut.Load()
		s.Sends += st.sends.Load()
		s.PacketsIn += st.packetsIn.Load()
		s.PacketsOut += st.packetsOut.Load()
		s.Deliveries += st.deliveries.Load()
		s.PayloadOut += st.payloadOut.Load()
		s.Publishes += st.publishes.Load()
		s.Waits += st.waits.Load()
		s.Replayed += st.replayed.Load()
		s.Gaps += st.gaps.Load()
		s.Panics += st.panics.Load()
		s.Wakeups += st.wakeups.Load()
		st.handshakes.addTo(&s.Handshakes)
	}
	s.Accounts[KindHistory] += e.history.Bytes()
	s.Handshakes.Running, s.Handshakes.Waiting = e.handshakes.now()
	return s
}

// Delivered returns Stats.Deliveries and PayloadOut alone, which is cheap enough to be asked for often.
func (e *Engine) Delivered() (messages, bytes uint64) {
	messages, bytes = e.outside.deliveries.Load(), e.outside.payloadOut.Load()
	for _, l := range e.loops {
		messages += l.stats.deliveries.Load()
		bytes += l.stats.payloadOut.Load()
	}
	return messages, bytes
}
