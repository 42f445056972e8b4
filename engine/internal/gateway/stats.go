package gateway

import (
	"sync/atomic"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/session"
)

// gatewayStats are counters of what happens between protocols and workers.
type gatewayStats struct {
	logins   atomic.Uint64
	refused  [numOutcomes]atomic.Uint64
	resumed  atomic.Uint64
	timeouts atomic.Uint64
	busy     atomic.Uint64
	late     atomic.Uint64
	holds    atomic.Uint64
	panics   atomic.Uint64

	namesRefused        [numNameErrors]atomic.Uint64
	sessionTextsRefused atomic.Uint64
	waited              atomic.Uint64
	badTraceparents     atomic.Uint64
	ignored             [numIgnored]atomic.Uint64
	tracesOver          atomic.Uint64

	sessionsTaken    atomic.Uint64
	sessionsNotTaken atomic.Uint64
	sessionsGiven    atomic.Uint64
}

// Stats are a Gateway's counters since it started.
type Stats struct {
	Logins  uint64            // accepted, resumptions included
	Resumed uint64            // by a session ticket
	Refused map[string]uint64 // by outcome
	// LoginsUnasked are those of the refused, as unavailable, about which the provider was not asked
	// because too many were waiting, by whose limit that was: queue, address or token.
	LoginsUnasked map[string]uint64
	// Bans are those of addresses for refused logins, UserGuesses times that a user had more of them
	// than there may be.
	Bans, UserGuesses uint64
	// Suspects are addresses and users of whose refused logins or bans something is known, now.
	Suspects      int
	LoginCalls    int // of the provider, under way now
	LoginsWaiting int // for such a call, now
	Requests      uint64
	Timeouts      uint64 // requests nobody answered in time
	Busy          uint64 // requests refused because nobody could take them
	Late          uint64 // replies to requests that were over, or were another worker's
	Holds         uint64 // times that a client's input was paused for its own requests
	Panics        uint64 // of Events, each of which cost a connection
	// RateLimited are requests, and messages for workers, over Config.MaxRequestRate.
	RateLimited uint64
	// LogOmitted are log lines that were left out because too many of their kind came in a second.
	LogOmitted uint64
	// InflateHolds are times that a client's input was paused because of Config.MaxInflateRate.
	InflateHolds uint64
	// TopicsRefused are subscriptions that were refused, by reason: NameError has them.
	TopicsRefused map[string]uint64
	// RenamesRefused are uniqIds that workers wanted clients to have, likewise.
	RenamesRefused map[string]uint64
	// Waited are requests that waited for a worker, those that none came for included.
	Waited uint64
	// BadTraceparents are traceparents of clients that are none, which were ignored; TracesOver
	// those of logins and requests that were to be recorded, and were not: more than
	// Config.TraceAsked.
	BadTraceparents, TracesOver uint64
	// Ignored are packets of clients that were ignored, by reason: Ignored has them.
	Ignored map[string]uint64
	// SessionsTaken are sessions of other gateways that were resumed here, SessionsNotTaken tickets
	// that were refused because none was to be had for them, and SessionsGiven those of this one
	// that others have.
	SessionsTaken, SessionsNotTaken, SessionsGiven uint64
	// SessionTextsRefused are session texts over Config.MaxSessionText.
	SessionTextsRefused uint64
	Clients             int // logged in now
	Users               int // that can be kicked out, now
	Sessions            session.StoreStats
	// JournalMissed are entries of Config.SessionJournal that could not be written when they were to
	// be; JournalBytes is its size.
	JournalMissed uint64
	JournalBytes  int64
}

// Stats returns the counters.
func (g *Gateway) Stats() Stats {
	var e engine.Stats
	if g.engine != nil { // it is bound
		e = g.engine.Stats()
	}
	var requests uint64
	for i := range g.scratch {
		requests += g.scratch[i].requests.Load()
	}
	s := Stats{
		Requests: requests,
		Logins:   g.stats.logins.Load(),
		Resumed:  g.stats.resumed.Load(),
		Refused:  make(map[string]uint64, numOutcomes),
		Timeouts: g.stats.timeouts.Load(),
		Busy:     g.stats.busy.Load(),
		Late:     g.stats.late.Load(),
		Holds:    g.stats.holds.Load(),
		Panics:   g.stats.panics.Load(),

		Bans: g.failures.addresses.total.Load(), UserGuesses: g.failures.users.total.Load(),
		Suspects: g.failures.addresses.len() + g.failures.users.len(),

		RateLimited:         e.OverRate[engine.RateRequests],
		LogOmitted:          lograte.Omitted(g.log),
		LoginsUnasked:       make(map[string]uint64),
		TopicsRefused:       make(map[string]uint64),
		RenamesRefused:      make(map[string]uint64),
		Ignored:             make(map[string]uint64, numIgnored),
		SessionTextsRefused: g.stats.sessionTextsRefused.Load(),
		InflateHolds:        e.OverRate[engine.RateInflated],
		Waited:              g.stats.waited.Load(),
		BadTraceparents:     g.stats.badTraceparents.Load(),
		TracesOver:          g.stats.tracesOver.Load(),

		SessionsTaken:    g.stats.sessionsTaken.Load(),
		SessionsNotTaken: g.stats.sessionsNotTaken.Load(),
		SessionsGiven:    g.stats.sessionsGiven.Load(),

		Clients:  g.clients.Len(),
		Users:    g.users.Len(),
		Sessions: g.sessions.Stats(),
	}
	for why := range numIgnored {
		s.Ignored[why.String()] = g.stats.ignored[why].Load()
	}
	for e := range numNameErrors {
		to := s.TopicsRefused
		if e >= ErrUniqIDNotUTF8 {
			to = s.RenamesRefused
		}
		to[e.Reason()] = g.stats.namesRefused[e].Load()
	}
	if j := g.journal.Load(); j != nil {
		s.JournalMissed, s.JournalBytes = j.missed.Load(), j.bytes.Load()
	}
	for r := range errLoginClosed {
		s.LoginsUnasked[loginRefusals[r].name] = g.logins.refused[r].Load()
	}
	s.LoginCalls, s.LoginsWaiting = g.logins.numbers()
	for o := Outcome(1); o < numOutcomes; o++ {
		s.Refused[o.String()] = g.stats.refused[o].Load()
	}
	return s
}
