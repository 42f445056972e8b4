package admin

import (
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/budget"
	"github.com/sluicenet/sluice/engine/internal/certs"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/engine/internal/looplag"
	"github.com/sluicenet/sluice/engine/login"
)

// newMetrics returns the handler of /metrics: the gateway's own counters, read when asked for, what is
// known of the process, and what client_golang knows of the runtime. An answer is not compressed: that
// would take more than all else that a scrape does.
func (s *Server) newMetrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(append(processCollector(), collectors.NewGoCollector())...)
	all := newCollector(func(p *page) { s.collect(p); collectProcess(p) }, r)
	return whole(promhttp.HandlerForTransactional(all, promhttp.HandlerOpts{DisableCompression: true}))
}

// collect writes the gateway's own metrics.
func (s *Server) collect(p *page) {
	e, g := s.engine.Stats(), s.gateway.Stats()
	e.Panics += g.Panics
	p.family("sluice_build_info", gauge, "The version that runs; always 1.")
	p.sample(1, "version", s.config.Version, "goversion", runtime.Version())
	p.gauge("sluice_ready", "Whether /readyz says yes.", truth(len(s.reasons()) == 0))
	if f := s.config.LogDropped; f != nil {
		p.counter("sluice_log_lines_dropped_total", "Lines of the log that were lost: nobody read them in time, or they could not be written.", f())
	}
	if f := s.config.AccessLogDropped; f != nil {
		p.counter("sluice_access_log_lines_dropped_total", "Lines of the access log that were lost: its file or stream did not take them in time, or at all.", f())
	}
	if f := s.config.Spans; f != nil {
		sent, dropped, lost := f()
		p.family("sluice_spans_total", counter, "Spans of logins and requests: sent to the collector, dropped because it did not keep up, or lost because it could not be reached or did not want them.")
		p.sample(float64(sent), "result", "sent")
		p.sample(float64(dropped), "result", "dropped")
		p.sample(float64(lost), "result", "lost")
	}
	s.collectOperators(p)
	if s.certs != nil {
		collectCertificates(p, s.certs.Stats())
	}
	s.collectConnections(p, &e)
	s.collectMessages(p, &e)
	s.collectLoops(p, &e)
	s.collectLogins(p, &g)
	collectSessions(p, &g)
	collectRequests(p, &g)
	latency := s.latency.Load()
	p.histogram("sluice_request_seconds", "How long requests waited for their answer, of those that somebody has answered; read once a second.",
		latencyBounds, latency.Counts[:], float64(latency.Sum)/1000)
	if s.web != nil {
		collectWebSocket(p, s.web.Stats())
	}
	if s.hub != nil {
		collectWorkers(p, s.hub.Stats())
	}
	if s.cluster != nil {
		st := s.cluster.Stats()
		collectCluster(p, &st)
		if s.hub != nil {
			collectElsewhere(p, link.Far(s.hub))
		}
	}
}

func collectWebSocket(p *page, s ws.Stats) {
	p.counter("sluice_websocket_deflated_total", "Messages compressed, once for each form of those that go to many.", s.Deflated)
	p.counter("sluice_websocket_deflated_bytes_before_total", "Their bytes before.", s.DeflatedFrom)
	p.counter("sluice_websocket_deflated_bytes_after_total", "Their bytes after, on the wire.", s.DeflatedTo)
	p.counter("sluice_websocket_inflated_total", "Messages that came compressed.", s.Inflated)
	p.counter("sluice_websocket_inflated_bytes_before_total", "Their bytes on the wire.", s.InflatedFrom)
	p.counter("sluice_websocket_inflated_bytes_after_total", "Their bytes inflated.", s.InflatedTo)
}

func collectCertificates(p *page, s certs.Stats) {
	p.family("sluice_tls_certificate_expiry_timestamp_seconds", gauge, "When a certificate, or the first of its chain, ends, unix time; 0: there is none yet. name: its file, or the host that ACME gets it for.")
	for i, c := range s.Certificates {
		ends := 0.0
		if !c.Ends.IsZero() {
			ends = float64(c.Ends.Unix())
		}
		p.sample(ends, "index", strconv.Itoa(i), "name", c.Name)
	}
	p.counter("sluice_tls_reloads_total", "Changed files of certificates and client CAs that were taken over.", s.Reloads)
	p.counter("sluice_tls_reloads_failed_total", "Changed files that could not be used: what they held before stays in force.", s.Failures)
	p.counter("sluice_tls_orders_total", "Certificates got from the ACME service or its cache.", s.Orders)
	p.counter("sluice_tls_orders_failed_total", "Orders of certificates that failed.", s.OrdersFailed)
}

func (s *Server) collectOperators(p *page) {
	s.conns.mu.Lock()
	open := len(s.conns.open)
	s.conns.mu.Unlock()
	p.gauge("sluice_admin_connections", "Connections of operators that are open.", float64(open))
	p.gauge("sluice_admin_connections_limit", "Connections of operators that may be open.", float64(s.config.MaxConnections))
	p.counter("sluice_admin_connections_refused_total", "Connections of operators closed because too many were open.", s.conns.refused.Load())
	p.family("sluice_admin_refused_total", counter, "Requests of operators that were refused: without a token, with a wrong one, with one whose role does not do, or unread because of earlier wrong ones of their address.")
	p.sample(float64(s.access.anonymous.Load()), "reason", "no-token")
	p.sample(float64(s.access.wrong.Load()), "reason", "wrong-token")
	p.sample(float64(s.access.weak.Load()), "reason", "role")
	p.sample(float64(s.access.limited.Load()), "reason", "rate-limited")
	p.counter("sluice_admin_busy_total", "Requests of operators that found too many others asking the loops.", s.busy.Load())
	p.gauge("sluice_admin_tails", "Tails of topics that operators have open.", float64(len(s.tails)))
	p.counter("sluice_admin_tail_messages_total", "Messages that tails have shown.", s.tailed.Load())
	p.counter("sluice_admin_tail_drops_total", "Messages that tails have not shown because their readers were too slow, counted when they end.", s.tailDrops.Load())
	if s.config.TLS != nil {
		p.counter("sluice_admin_handshakes_failed_total", "Connections of operators that ended before their TLS handshake was done.", s.conns.unshaken.Load())
	}
	p.counter("sluice_admin_accept_retries_total", "Errors of accept that passed, on the admin listener.", s.conns.retries.Load())
}

func (s *Server) collectConnections(p *page, e *engine.Stats) {
	p.gauge("sluice_connections", "Client sockets that are open.", float64(e.Connections))
	p.gauge("sluice_connections_limit", "Client sockets that may be open.", float64(s.engine.Limits().MaxConnections))
	p.family("sluice_clients", gauge, "Clients that are logged in, by protocol.")
	clients := s.clients(e)
	for _, name := range slices.Sorted(maps.Keys(clients)) {
		p.sample(float64(clients[name]), "protocol", name)
	}
	p.counter("sluice_connections_accepted_total", "Connections accepted.", e.Accepted)
	s.collectHandshakes(p, &e.Handshakes)
	p.counter("sluice_accept_retries_total", "Errors of accept that passed, such as too many open files.", e.AcceptRetry)
	p.family("sluice_connections_refused_total", counter, "Connections closed before they were served.")
	for _, r := range engine.Reasons() {
		if n := e.Refused[r]; n > 0 || r == engine.ReasonTooManyClients || r == engine.ReasonLoginBanned {
			p.sample(float64(n), "reason", r.String())
		}
	}
	p.family("sluice_connections_closed_total", counter, "Connections closed.")
	for _, r := range engine.Reasons() {
		p.sample(float64(e.Closed[r]), "reason", r.String())
	}
}

func (s *Server) collectHandshakes(p *page, h *engine.HandshakeStats) {
	p.family("sluice_tls_handshakes_total", counter, "TLS handshakes of clients, by how they ended, and by the version that was agreed.")
	p.sample(float64(h.TLS12), "result", "ok", "version", "1.2")
	p.sample(float64(h.TLS13), "result", "ok", "version", "1.3")
	p.sample(float64(h.Failed), "result", "failed", "version", "none")
	p.sample(float64(h.TimedOut), "result", "timeout", "version", "none")
	p.sample(float64(h.Abandoned), "result", "abandoned", "version", "none")
	p.counter("sluice_tls_resumed_total", "TLS handshakes that were resumed from a ticket.", h.Resumed)
	p.counter("sluice_tls_idle_records_total", "TLS records without data, behind the handshake: new keys, mostly.", h.KeyUpdates)
	p.gauge("sluice_tls_handshakes", "TLS handshakes under way.", float64(h.Running))
	p.gauge("sluice_tls_handshakes_waiting", "TLS handshakes that wait for their turn.", float64(h.Waiting))
}

// clients counts the clients of each protocol that the gateway has dialects of.
func (s *Server) clients(e *engine.Stats) map[string]int64 {
	n := make(map[string]int64)
	for i, d := range s.engine.Config().Dialects {
		name, _, _ := strings.Cut(d.Name, "-")
		n[name] += e.Clients[i]
	}
	return n
}

func (s *Server) collectMessages(p *page, e *engine.Stats) {
	p.counter("sluice_received_bytes_total", "Bytes received from clients.", e.BytesIn)
	p.counter("sluice_sent_bytes_total", "Bytes sent to clients.", e.BytesOut)
	p.counter("sluice_received_packets_total", "Packets received from clients.", e.PacketsIn)
	p.family("sluice_client_over_rate_total", counter, "Times that a client was over its rate: of packets and bytes (max-packet-rate, max-byte-rate) and of what came out of a compression (max-inflate-rate) it was not read for a while; requests (max-request-rate) were refused.")
	for _, m := range engine.Rates() {
		p.sample(float64(e.OverRate[m]), "limit", m.String())
	}
	p.counter("sluice_sent_packets_total", "Packets sent to clients whole.", e.PacketsOut)
	p.counter("sluice_sends_total", "System calls that sent something to a client.", e.Sends)
	p.counter("sluice_publishes_total", "Publishes, to topics with and without subscribers.", e.Publishes)
	s.collectHistory(p, e)
	p.counter("sluice_publish_waits_total", "Publishes and pushes that had to wait for room.", e.Waits)
	p.counter("sluice_deliveries_total", "Messages queued for clients: publishes, once for each subscriber, and pushes.", e.Deliveries)
	p.counter("sluice_delivered_payload_bytes_total", "Bytes of their payloads.", e.PayloadOut)
	p.family("sluice_drops_total", counter, "Messages that did not reach a client or a topic.")
	for _, d := range engine.Drops() {
		p.sample(float64(e.Dropped[d]), "reason", d.String())
	}
	p.family("sluice_memory_bytes", gauge, "Bytes kept, by what they are kept for.")
	for _, k := range engine.Kinds() {
		p.sample(float64(e.Accounts[k]), "kind", k.String())
	}
	p.gauge("sluice_memory_clients_bytes", "Bytes kept for clients, of all kinds.", float64(e.Total))
	p.gauge("sluice_memory_clients_limit_bytes", "Bytes from which the clients with the largest accounts are closed.",
		float64(s.engine.Limits().BacklogTotal))
	p.gauge("sluice_client_addresses", "Addresses that clients are connected from, IPv6 by /64.", float64(e.Addresses))
	s.collectMemory(p, e)
	p.gauge("sluice_topics", "Topics that have subscribers.", float64(e.Topics))
}

// collectMemory writes what is known of the memory budget, if there is one.
func (s *Server) collectMemory(p *page, e *engine.Stats) {
	m := s.memory
	if m == nil {
		return
	}
	p.gauge("sluice_memory_limit_bytes", "Bytes that the process may use (memory).", float64(m.Limit()))
	p.gauge("sluice_memory_used_bytes", "Bytes that it uses, without garbage and the kernel's buffers.", float64(m.Used()))
	p.gauge("sluice_memory_stage", "What is shed to save memory: 0 nothing, 1 new connections, 2 detached sessions, too, 3 the slowest clients, too.",
		float64(m.Stage()))
	p.family("sluice_memory_stage_entered_total", counter, "Times that a stage of saving memory began.")
	for stage := budget.Calm + 1; stage < budget.Stages; stage++ {
		p.sample(float64(m.Entered(stage)), "stage", strconv.Itoa(int(stage)))
	}
	p.family("sluice_memory_shed_total", counter, "What was shed to save memory, by the stage: connections refused, detached sessions forgotten, clients closed.")
	for stage, n := range []uint64{e.Refused[engine.ReasonMemory], m.Trimmed(), e.Closed[engine.ReasonMemory]} {
		p.sample(float64(n), "stage", strconv.Itoa(stage+1))
	}
}

func (s *Server) collectLoops(p *page, e *engine.Stats) {
	counts, sum := s.lag.Histogram()
	p.histogram("sluice_loop_lag_seconds", "How late loops ran what they were told, up to twenty times a second each.",
		looplag.Bounds[:], counts, sum.Seconds())
	p.family("sluice_loop_last_lag_seconds", gauge, "How late a loop ran what it was last told, or how long it has not run it.")
	for i := range s.engine.Loops() {
		p.sample(s.lag.Of(i).Seconds(), "loop", strconv.Itoa(i))
	}
	p.counter("sluice_loop_late_total", "Times that a loop took more than 100 ms to run what it was told; the log says what it was at.", e.LoopsLate)
	_, total, longest, below := s.engine.Turns()
	p.histogram("sluice_loop_turn_seconds", "How long loops' turns for messages were.", turnBounds, below[:], total.Seconds())
	p.gauge("sluice_loop_longest_turn_seconds", "The longest turn since the start.", longest.Seconds())
	p.counter("sluice_loop_wakeups_total", "Times that loops were woken for messages.", e.Wakeups)
	p.counter("sluice_panics_total", "Panics of handlers, each of which cost a message or a connection.", e.Panics)
}

func (s *Server) collectLogins(p *page, g *gateway.Stats) {
	p.family("sluice_logins_total", counter, "Logins and resumptions decided on, by outcome.")
	p.sample(float64(g.Logins), "outcome", "ok")
	for _, outcome := range slices.Sorted(maps.Keys(g.Refused)) {
		p.sample(float64(g.Refused[outcome]), "outcome", outcome)
	}
	p.family("sluice_logins_unasked_total", counter, "Logins refused as unavailable because too many waited for the login provider: in all (queue), of their address, or with their token.")
	for _, limit := range slices.Sorted(maps.Keys(g.LoginsUnasked)) {
		p.sample(float64(g.LoginsUnasked[limit]), "limit", limit)
	}
	p.counter("sluice_login_bans_total", "Times that an address was banned because too many of its logins were refused.", g.Bans)
	p.counter("sluice_login_user_guesses_total", "Times that a user had more refused logins, from any addresses, than there may be (user-failures): further ones ban their address at once.", g.UserGuesses)
	p.gauge("sluice_login_suspects", "Addresses and users of whose refused logins or bans something is known.", float64(g.Suspects))
	p.gauge("sluice_login_calls", "Logins that the login provider is asked about now.", float64(g.LoginCalls))
	p.gauge("sluice_logins_waiting", "Logins that wait for the login provider to be asked.", float64(g.LoginsWaiting))
	p.family("sluice_token_calls_total", counter, "Calls for one-time tokens, by outcome.")
	p.sample(float64(s.tokens.issued.Load()), "outcome", "issued")
	p.sample(float64(s.tokens.unauthorized.Load()), "outcome", "unauthorized")
	p.sample(float64(s.tokens.failed.Load()), "outcome", "failed")
	if otp, ok := s.gateway.Config().Login.(*login.OTP); ok {
		outstanding, evicted := otp.Len()
		p.gauge("sluice_tokens", "One-time tokens that were issued and not used yet.", float64(outstanding))
		p.counter("sluice_tokens_evicted_total", "One-time tokens that newer ones drove out before their time.", evicted)
	}
}

func collectSessions(p *page, g *gateway.Stats) {
	p.gauge("sluice_users", "Users of protocols that kick out a user's older connection.", float64(g.Users))
	p.counter("sluice_sessions_resumed_total", "Sessions resumed.", g.Resumed)
	p.family("sluice_sessions", gauge, "Sessions that can be resumed, held by a connection (attached) or waiting for their client (detached), and ended ones remembered (spent).")
	p.sample(float64(g.Sessions.Attached), "state", "attached")
	p.sample(float64(g.Sessions.Detached), "state", "detached")
	p.sample(float64(g.Sessions.Spent), "state", "spent")
	p.family("sluice_sessions_evicted_total", counter, "Sessions forgotten before their time: too many in all (max-sessions), too many of one user without a connection (max-sessions-per-user), or memory was short (memory).")
	p.sample(float64(g.Sessions.Evicted), "reason", "max-sessions")
	p.sample(float64(g.Sessions.OverUser), "reason", "max-sessions-per-user")
	p.sample(float64(g.Sessions.Trimmed), "reason", "memory")
	p.gauge("sluice_session_journal_bytes", "Size of the session journal.", float64(g.JournalBytes))
	p.counter("sluice_session_journal_missed_total", "Entries of the session journal that could not be written when they were to be.", g.JournalMissed)
	p.gauge("sluice_session_state_bytes", "Bytes of session texts and topics kept of sessions that wait for their client.", float64(g.Sessions.Bytes))
	p.family("sluice_session_states_dropped_total", counter, "Session texts and topics that were not kept, or no longer: too much of one session (session-bytes), or of all (session-total).")
	p.sample(float64(g.Sessions.TooLong), "reason", "session-bytes")
	p.sample(float64(g.Sessions.TooMany), "reason", "session-total")
	p.counter("sluice_session_texts_refused_total", "Session texts from workers that are longer than a client's may be.", g.SessionTextsRefused)
	p.counter("sluice_log_lines_omitted_total", "Log lines that were left out because too many of their kind came in a second.", g.LogOmitted)
	p.family("sluice_subscriptions_refused_total", counter, "Subscriptions that were refused: the client has too many topics or bytes of them, or the name is too long or not UTF-8.")
	for _, reason := range slices.Sorted(maps.Keys(g.TopicsRefused)) {
		p.sample(float64(g.TopicsRefused[reason]), "reason", reason)
	}
	p.family("sluice_renames_refused_total", counter, "New uniqIds that were refused: too long, or not UTF-8.")
	for _, reason := range slices.Sorted(maps.Keys(g.RenamesRefused)) {
		p.sample(float64(g.RenamesRefused[reason]), "reason", reason)
	}
}

func collectRequests(p *page, g *gateway.Stats) {
	p.counter("sluice_requests_total", "Requests of clients.", g.Requests)
	p.counter("sluice_request_timeouts_total", "Requests that nobody answered in time.", g.Timeouts)
	p.counter("sluice_requests_refused_total", "Requests that nobody could take.", g.Busy)
	p.counter("sluice_requests_rate_limited_total", "Requests, and messages for workers, over a client's rate (max-request-rate).", g.RateLimited)
	p.family("sluice_packets_ignored_total", counter, "Packets of clients that were ignored: GOSOC requests of a level that there is not (level), Longbridge pushes and responses to nothing (no-request).")
	for _, reason := range slices.Sorted(maps.Keys(g.Ignored)) {
		p.sample(float64(g.Ignored[reason]), "reason", reason)
	}
	p.counter("sluice_request_waits_total", "Requests that waited for a worker to register.", g.Waited)
	p.counter("sluice_traceparents_invalid_total", "Traceparents of clients that are none, which were ignored.", g.BadTraceparents)
	p.counter("sluice_traces_over_limit_total", "Logins and requests that clients wanted to be recorded, and that were not: more than there may be (trace-asked).", g.TracesOver)
	p.counter("sluice_late_replies_total", "Replies to requests that were over, or another worker's.", g.Late)
	p.counter("sluice_inflate_holds_total", "Times that a client's input was paused because it had more inflated than it may a second.", g.InflateHolds)
	p.counter("sluice_input_holds_total", "Times that a client's input was paused because too many of its own requests, or bytes of them and their replies, wait.", g.Holds)
}

func collectWorkers(p *page, h link.Stats) {
	p.gauge("sluice_worker_links", "Connections of workers that are open.", float64(h.Links))
	p.gauge("sluice_workers", "Workers that are registered, on those connections.", float64(h.Registered))
	p.counter("sluice_worker_commands_total", "Commands of workers.", h.Commands)
	p.family("sluice_worker_bad_commands_total", counter, "Commands of workers that could not be decoded (malformed), whose answer cannot be expressed (unencoded), that push with a command no push can have (push-command), whose data do not belong to their ids or topics one by one (bulk-count), or that ended their link (unknown, panic).")
	p.sample(float64(h.Malformed), "reason", "malformed")
	p.sample(float64(h.Unknown), "reason", "unknown")
	p.sample(float64(h.Panics), "reason", "panic")
	p.sample(float64(h.Unencoded), "reason", "unencoded")
	p.sample(float64(h.BadPush), "reason", "push-command")
	p.sample(float64(h.BadBulk), "reason", "bulk-count")
	p.counter("sluice_worker_transfers_total", "Messages, requests and events handed to workers.", h.Transfers)
	p.family("sluice_worker_drops_total", counter, "Messages, requests and events that were not queued for a worker.")
	p.sample(float64(h.NoWorker), "reason", "no-worker")
	p.sample(float64(h.QueueFull), "reason", "queue-full")
	p.sample(float64(h.Limited), "reason", "limited")
	p.counter("sluice_worker_delayed_refused_total", "Delayed messages of workers that were refused: too many bytes of them wait.", h.DelayedFull)
	p.counter("sluice_worker_accept_retries_total", "Errors of accept that passed, on the worker listener.", h.AcceptRetry)
	p.counter("sluice_worker_links_refused_total", "Connections of workers that were refused: too many are open.", h.Refused)
	p.family("sluice_worker_links_ended_total", counter, "Connections of workers that ended, by reason; netsvr-1 and netsvr-3-to-6 are refused versions of the protocol.")
	for _, reason := range slices.Sorted(maps.Keys(h.Ended)) {
		p.sample(float64(h.Ended[reason]), "reason", reason)
	}
	p.gauge("sluice_worker_unproven", "Connections of workers that are open and have not shown their token.", float64(h.Unproven))
	p.family("sluice_worker_unproven_closed_total", counter, "Connections that did not become workers' links: not allowed, or without a token in time, by reason.")
	for _, reason := range slices.Sorted(maps.Keys(h.UnprovenClosed)) {
		p.sample(float64(h.UnprovenClosed[reason]), "reason", reason)
	}
	p.counter("sluice_worker_holds_total", "Times that a worker's link was not read for a while because it sent more than it may (worker-frame-rate, worker-byte-rate).", h.Holds)
	p.counter("sluice_worker_replies_total", "Replies of workers to requests.", h.Replies)
	p.counter("sluice_worker_lost_requests_total", "Requests answered with an error because their worker was lost.", h.LostRequests)
	p.counter("sluice_worker_moved_total", "Messages, requests and events that were moved to another link because their worker had stopped or left.", h.Moved)
	p.counter("sluice_worker_dropped_bytes_total", "Bytes dropped because a worker took nothing in time.", h.WriteDropped)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
