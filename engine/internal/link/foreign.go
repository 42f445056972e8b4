package link

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
)

// Business processes of netsvr's other protocols are told from workers and their links ended, before
// one of their commands is carried out as what its number means here: their TopicUnsubscribe is
// ForceOffline, their TopicDelete ForceOfflineGuest. Certain signs end a link by themselves
// (netsvr.Dialect.ForeignBody, netsvr.ForeignOffline). What could be either is judged by what else is known
// of the link and its host.

// speaks is what a refused process is told, and the operator.
const speaks = "this gateway speaks netsvr protocol 2.0.2"

// foreign ends the link for a certain sign.
func (l *link) foreign(f netsvr.Foreign, body []byte) error {
	l.hub.foreign.note(l.host)
	if f == netsvr.Foreign1 {
		return ends(endForeign1, "the worker speaks netsvr protocol 1 (its frame begins with 0x08): %s", speaks)
	}
	if body[0] == '~' {
		return ends(endForeign3To6, "the worker speaks netsvr protocol 3 to 6 (heartbeat %.32q): %s", body, speaks)
	}
	return ends(endForeign3To6, "the worker speaks netsvr protocol 3 to 6 (command %d): %s",
		binary.BigEndian.Uint32(body), speaks)
}

// checkRegister looks at a Register that is good in dialect 2.0.2. Field 1 alone is what protocol 6
// sends, and what a worker of 2.0.2 may send that is of no SDK: those name a number of goroutines.
func (l *link) checkRegister(payload []byte, id int32) error {
	switch netsvr.SignOf(payload) {
	case netsvr.RegisterOurs:
		l.ours = true
	case netsvr.RegisterEvents:
		if l.ours {
			return nil
		}
		l.bare = true
		if id&(id-1) == 0 { // of one bit: rarely a mask, often a worker id
			return nil
		}
		if l.hub.foreign.known(l.host) {
			return ends(endForeign3To6,
				"the worker id %d is an events mask of netsvr protocol 6, which others of its host speak: %s", id, speaks)
		}
		l.maybeForeign = true
		l.hub.log.Warn("the worker id of a worker could be an events mask of netsvr protocol 6: "+speaks,
			"peer", l.peer, "workerId", id)
	}
	return nil
}

// checkPublish looks at a TopicPublish, which is TopicSubscribe in protocols 3 to 6: a topic that is
// a client's uniqId and has no subscribers is rather the client.
func (l *link) checkPublish(topics [][]byte) {
	if l.bare && !l.ours && len(topics) == 1 && l.hub.gateway.Lookup(topics[0]) != 0 &&
		l.hub.gateway.Engine().Topics().Count(topics[0]) == 0 {
		l.maybeForeign = true
	}
}

// checkOffline looks at a ForceOffline, which is TopicUnsubscribe in protocols 3 to 6.
func (l *link) checkOffline(payload []byte) error {
	certain, name := netsvr.ForeignOffline(payload)
	if certain {
		l.hub.foreign.note(l.host)
		return ends(endForeign3To6, "the worker speaks netsvr protocol 3 to 6 (a TopicUnsubscribe): %s", speaks)
	}
	if len(name) > 0 && !l.ours && (l.maybeForeign || l.hub.gateway.Engine().Topics().Count(name) > 0) {
		return ends(endForeign3To6,
			"the worker speaks netsvr protocol 3 to 6, as it seems (a TopicUnsubscribe from %.64q): %s", name, speaks)
	}
	return nil
}

// foreignHosts remembers for a while which hosts have processes of other protocols.
type foreignHosts struct {
	mu    sync.Mutex
	hosts map[netip.Addr]time.Time // of the last certain sign, by address.Key
}

const (
	// foreignMemory is how long a sign counts. SDKs send their heartbeat, which is one, each 25 s.
	foreignMemory = 10 * time.Minute
	// maxForeignHosts bounds the memory; beyond it signs count for their link alone.
	maxForeignHosts = 1024
)

// note remembers the host of a link.
func (f *foreignHosts) note(host netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.hosts == nil {
		f.hosts = make(map[netip.Addr]time.Time)
	}
	if _, ok := f.hosts[host]; !ok && len(f.hosts) >= maxForeignHosts {
		maps.DeleteFunc(f.hosts, func(_ netip.Addr, last time.Time) bool { return now.Sub(last) > foreignMemory })
		if len(f.hosts) >= maxForeignHosts {
			return
		}
	}
	f.hosts[host] = now
}

// known reports whether the host of a link is remembered.
func (f *foreignHosts) known(host netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, ok := f.hosts[host]
	return ok && time.Since(last) <= foreignMemory
}
