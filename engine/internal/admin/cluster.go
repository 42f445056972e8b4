package admin

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine/internal/cluster"
	"github.com/sluicenet/sluice/engine/internal/link"
)

func collectCluster(p *page, s *cluster.Stats) {
	conns := [...]struct {
		name string
		*cluster.ConnStats
	}{{"data", &s.Data}, {"control", &s.Control}}
	number := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	p.family("sluice_cluster_connected", gauge, "Whether a connection to NATS is there.")
	for _, c := range conns {
		p.sample(number(c.Connected), "connection", c.name)
	}
	p.family("sluice_cluster_disconnects_total", counter, "Times that a connection to NATS was lost.")
	for _, c := range conns {
		p.sample(float64(c.Disconnects), "connection", c.name)
	}
	p.family("sluice_cluster_errors_total", counter, "Errors of NATS that belong to no message, and things that it did not allow.")
	p.sample(float64(s.Data.Errors+s.Control.Errors), "reason", "other")
	p.sample(float64(s.Data.Denied+s.Control.Denied), "reason", "permission")
	p.family("sluice_cluster_dropped_total", counter, "Messages of other nodes that were dropped because too many waited.")
	for _, c := range conns {
		p.sample(float64(c.Dropped), "connection", c.name)
	}
	p.gauge("sluice_cluster_nodes", "Gateways of the cluster that are there, with this one.", float64(s.Nodes))
	p.gauge("sluice_cluster_nodes_suspect", "Those of them that do not renew their lease.", float64(s.Suspect))
	p.gauge("sluice_cluster_lease_held", "Whether the gateway has its server id.", number(s.Held))
	p.gauge("sluice_cluster_lease_age_seconds", "Time since it has renewed its lease.", s.Renewed.Seconds())
	p.counter("sluice_cluster_lease_failures_total", "Renewals of the lease that have failed.", s.RenewFailures)
	p.gauge("sluice_cluster_buckets_wrong", "Buckets of NATS that are not as they have to be.", float64(s.Unfit))
	p.gauge("sluice_cluster_clock_offset_seconds", "By how much this machine's clock is ahead of that of the NATS server that keeps the leases.", s.ClockOffset.Seconds())
	collectClusterTopics(p, &s.Topics)
	collectLog(p, &s.History, s.Differ)
	collectCommands(p, &s.Commands)
	collectNames(p, &s.Names)
	p.gauge("sluice_cluster_other_session_keys", "Other gateways with another session key than this one's, or none: sessions are not resumed between them and this one.", float64(s.OtherKeys))
	collectShared(p, &s.Sessions)
}

// collectClusterTopics tells what was carried between nodes.
func collectClusterTopics(p *page, t *cluster.TopicsStats) {
	inOut := func(name, help string, in, out uint64) {
		p.family(name, counter, help)
		p.sample(float64(in), "direction", "in")
		p.sample(float64(out), "direction", "out")
	}
	inOut("sluice_cluster_frames_total", "Frames that other gateways have sent here and were sent to them.", t.FramesIn, t.FramesOut)
	inOut("sluice_cluster_bytes_total", "Bytes of these frames.", t.BytesIn, t.BytesOut)
	inOut("sluice_cluster_messages_total", "Messages of topics in these frames.", t.MessagesIn, t.MessagesOut)
	p.family("sluice_cluster_messages_missed_total", counter, "Messages of topics that did not get to subscribers here, or from here to other gateways, by reason.")
	for _, c := range []struct {
		reason string
		n      uint64
	}{{"lost", t.Lost}, {"late", t.Late}, {"unwanted", t.Unwanted}, {"away", t.Refused}, {"queue-full", t.Dropped}, {"too-long", t.TooLong}, {"bypassed", t.Bypassed}} {
		p.sample(float64(c.n), "reason", c.reason)
	}
	p.family("sluice_cluster_frames_ignored_total", counter, "Frames that were ignored, by reason.")
	for i, reason := range cluster.IgnoredReasons {
		p.sample(float64(t.Ignored[i]), "reason", reason)
	}
	p.sample(float64(t.LateStatements), "reason", "late")
	p.counter("sluice_cluster_answers_refused_total", "Questions of other gateways that were not answered, since there were too many.", t.RefusedAnswers)
	p.counter("sluice_cluster_barriers_total", "Times that other gateways were waited for, so that subscriptions miss nothing.", t.Barriers)
	p.counter("sluice_cluster_barrier_timeouts_total", "Times that one of them was not waited for, or not any more.", t.BarrierTimeouts)
	p.gauge("sluice_cluster_nodes_excluded", "Gateways that are not waited for, since they do not answer in time: they have to send all that they publish.", float64(t.Excluded))
	p.gauge("sluice_cluster_nodes_bypassed", "Gateways that are sent no messages of topics, since too much is on its way to them.", float64(t.Bypassing))
	p.counter("sluice_cluster_distrusts_total", "Times that this gateway has begun to send all that is published here, since it was not sure that it hears in time who wants it.", t.Distrusts)
	p.gauge("sluice_cluster_queue_bytes", "Bytes that wait to be sent to other gateways.", float64(t.Queue))
	p.gauge("sluice_cluster_topics_subscribed", "Topics that other gateways are asked for.", float64(t.Topics))
	p.gauge("sluice_cluster_topics_published", "Topics of which it is known who wants them.", float64(t.Known))
	p.gauge("sluice_cluster_topics_paced", "Topics whose receivers elsewhere set the pace.", float64(t.Hot))
}

func collectCommands(p *page, s *cluster.RPCStats) {
	p.family("sluice_cluster_commands_total", counter, "Commands of workers and clients between gateways: sent without (told) and with (asked) a wish for an answer, answers that came (answered), and those of others that were carried out (served).")
	p.sample(float64(s.Told), "kind", "told")
	p.sample(float64(s.Asked), "kind", "asked")
	p.sample(float64(s.Answered), "kind", "answered")
	p.sample(float64(s.Served), "kind", "served")
	p.family("sluice_cluster_commands_failed_total", counter, "Commands and answers that were not sent, or came to nothing.")
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		p.sample(float64(s.Refused[reason]), "reason", strings.ReplaceAll(reason, "_", "-"))
	}
	p.sample(float64(s.Silent), "reason", "silent")
	p.sample(float64(s.Busy), "reason", "busy")
	p.sample(float64(s.Late), "reason", "late")
	p.sample(float64(s.Panics), "reason", "panic")
	p.family("sluice_cluster_commands_ignored_total", counter, "What came in place of a command and was not understood.")
	for _, reason := range slices.Sorted(maps.Keys(s.Ignored)) {
		p.sample(float64(s.Ignored[reason]), "reason", reason)
	}
	p.gauge("sluice_cluster_commands_waiting", "Commands that wait for answers.", float64(s.Waiting))
	p.gauge("sluice_cluster_commands_waiting_bytes", "Bytes of commands and answers that wait to be sent.", float64(s.WaitingBytes))
}

// collectElsewhere adds what passes between workers and clients here and other gateways.
func collectElsewhere(p *page, s link.FarStats) {
	p.family("sluice_cluster_worker_commands_total", counter, "Commands of workers here for clients elsewhere: forwarded; lost, as NATS is away or too much waits; unacknowledged, changes that a gateway did not confirm in time; overtaking, changes that may have come before what was published before them; unanswered, gateways that did not answer a query; and what came from elsewhere: served, and bad, which could not be read.")
	p.sample(float64(s.Forwarded), "kind", "forwarded")
	p.sample(float64(s.Lost), "kind", "lost")
	p.sample(float64(s.Unacknowledged), "kind", "unacknowledged")
	p.sample(float64(s.Overtaking), "kind", "overtaking")
	p.sample(float64(s.Unanswered), "kind", "unanswered")
	p.sample(float64(s.Served), "kind", "served")
	p.sample(float64(s.Bad), "kind", "bad")
	p.family("sluice_cluster_worker_requests_total", counter, "Requests, messages and events of clients here that went to workers elsewhere: sent; again, tries with another gateway; lost, which nobody took; and taken, requests of clients elsewhere that workers here were given.")
	p.sample(float64(s.Requests), "kind", "sent")
	p.sample(float64(s.Again), "kind", "again")
	p.sample(float64(s.RequestsLost), "kind", "lost")
	p.sample(float64(s.RequestsTaken), "kind", "taken")
}

// A clusterNode is a gateway of the cluster.
type clusterNode struct {
	ServerID    int       `json:"serverId"`
	Incarnation string    `json:"incarnation"`
	Address     string    `json:"address"`
	Version     string    `json:"version"`
	Since       time.Time `json:"since"`
	Workers     []int     `json:"workers"` // ids of workers that take clients' requests there
	Self        bool      `json:"self"`
	Suspect     bool      `json:"suspect"`
	OtherKey    bool      `json:"otherSessionKey"` // sessions do not go between it and this gateway
	OtherRules  bool      `json:"otherHistory"`    // it has other rules of history than this one
}

type clusterPage struct {
	Name   string        `json:"name"`
	Ready  bool          `json:"ready"`
	Status []string      `json:"status"`
	Nodes  []clusterNode `json:"nodes"`
}

// apiCluster answers with the gateways that are there.
func (s *Server) apiCluster(r *http.Request) (any, error) {
	if err := parameters(r).err; err != nil {
		return nil, err
	}
	if s.cluster == nil {
		return nil, notThere("the gateway is alone: there is no --cluster")
	}
	ready := s.cluster.Ready()
	out := clusterPage{Name: s.cluster.Name(), Ready: ready == nil, Status: s.cluster.Status(), Nodes: []clusterNode{}}
	if ready != nil {
		out.Status = append([]string{oneLine(ready.Error())}, out.Status...)
	}
	self := s.cluster.Self()
	add := func(m *cluster.Member) {
		n := clusterNode{
			ServerID: int(m.ID), Incarnation: fmt.Sprintf("%016x", m.Incarnation), Address: m.Address, Version: m.Version,
			Since: m.Since.UTC(), Workers: m.Workers, Self: m == &self, Suspect: m.Suspect, OtherKey: m != &self && s.cluster.OtherKey(m),
			OtherRules: m.History != self.History,
		}
		if n.Workers == nil {
			n.Workers = []int{}
		}
		out.Nodes = append(out.Nodes, n)
	}
	listed := false
	for _, m := range s.cluster.Members() {
		if !listed && m.ID > self.ID {
			listed = true
			add(&self)
		}
		add(&m)
	}
	if !listed {
		add(&self)
	}
	return out, nil
}
