package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A Client is what names ends connections and redeems tokens with: a gateway.
type Client interface {
	// Kick and Lose end a connection; see gateway.Kick.
	Kick(ref engine.Ref, done func())
	Lose(ref engine.Ref, id string, data []byte, done func())
	// TakeToken uses up a one-time token that was issued here.
	TakeToken(kind gateway.TokenKind, token string) (value string, ok bool)
}

// peers is the way to the other nodes.
type peers interface {
	// ask has a node do something and returns its answer. It blocks.
	ask(ctx context.Context, node uint8, request []byte) ([]byte, error)
}

// names is the gateway.Registry of a cluster. Of each user with connections that exclude others, or
// count, and each chosen uniqId, a key of a bucket lists the connections of all nodes. A login changes the
// list by its revision, so that of two at once one sees the other. What this node has in the lists it
// holds in memory, too: whatever becomes of a key, namework.go makes it right again from that.
//
// While the bucket cannot be used, logins are decided by what this node knows, and registered when it
// can be. Methods of gateway.Registry do not block; what asks the bucket runs on a bounded number of
// goroutines.
type names struct {
	store, leases Store
	nodes         *nodes
	self          origin
	inc           string // self's incarnation, as in entries
	peers         peers
	client        Client
	held          func() bool      // the server id
	now           func() time.Time // by NATS's clock
	charge        func(n int64)
	named         func(id string) // is told of each uniqId that somebody has chosen
	log           *slog.Logger
	pool          taskPool
	count         nameCounts

	ctx    context.Context // done when it is closed
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	wake   chan struct{} // something is to be done in namework.go

	sampling time.Duration // sampleEvery; tests that plant faults look at nothing by chance

	mu     sync.Mutex
	keys   map[string]*heldKey
	byRef  map[engine.Ref][]*holding
	todo   []*heldKey // keys to be made right, each once
	empty  int        // keys of which nothing is held any more, to be made right
	walk   []string   // all keys, to be looked at bit by bit
	touch  bool       // and written
	ends   []nameEnd  // that were not answered
	silent map[origin]time.Time
	lost   *holding  // its key has gone: perhaps the bucket has lost it
	lostAt time.Time // when that was seen
	closed bool
	away   time.Time // since when the bucket cannot be used; zero: it can
	stuck  bool      // it may take no writes
}

// A heldKey is a key in whose list this node has connections, or had a moment ago.
type heldKey struct {
	key    string
	list   []*holding
	queued bool // in todo
	busy   bool // being made right
	again  bool // something has changed meanwhile
	touch  bool // to be written in any case
}

// A holding is a connection of this node in the list of a key.
type holding struct {
	key   *heldKey
	entry nameEntry
	on    bool   // it was let in: the list must have it
	there bool   // the list has had it
	id    string // of a chosen uniqId
	data  []byte // for who loses it
}

// holdingSize is what a holding costs, with its key and its places in maps.
const holdingSize = 384

func (h *holding) size() int64 { return holdingSize + int64(len(h.id)+len(h.data)) }

const (
	// namePool is how many logins are decided at once, and nameQueue how many wait for it; further ones
	// are decided by what this node knows.
	namePool, nameQueue = 64, 16384
	// maxEmpty is of how many keys the end of the last connection may wait to be told. What is over it is
	// left in the list, where it counts for nothing once this node is asked about it.
	maxEmpty = 1 << 16
)

type nameCounts struct {
	logins, local, conflicts, errors, foreign, stale, kicked, lost, overLimit atomic.Uint64
	unanswered, endsDropped, releasesDropped, redeemed, away, emptied         atomic.Uint64
}

func newNames(c *Config, table *nodes, p peers, held func() bool) *names {
	n := &names{
		store: c.Names, leases: c.Nodes, nodes: table, self: origin{c.Self, c.Incarnation}, peers: p, held: held, now: c.now,
		charge: func(int64) {}, named: func(string) {}, log: c.logger(), wake: make(chan struct{}, 1),
		keys: make(map[string]*heldKey), byRef: make(map[engine.Ref][]*holding), silent: make(map[origin]time.Time),
	}
	n.sampling = sampleEvery
	n.inc = incarnationText(c.Incarnation)
	n.pool.limit, n.pool.room = namePool, nameQueue
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

func incarnationText(incarnation uint64) string {
	var b [8]byte
	for i := range b {
		b[i] = byte(incarnation >> (56 - 8*i))
	}
	return hex.EncodeToString(b[:])
}

var _ gateway.Registry = (*names)(nil)

// hold notes a connection under a key.
func (n *names) hold(key string, h *holding) {
	h.entry.Node, h.entry.Incarnation = n.self.id, n.inc
	n.mu.Lock()
	defer n.mu.Unlock()
	k := n.keyLocked(key)
	if len(k.list) == 0 && k.queued {
		n.empty--
	}
	h.key = k
	k.list = append(k.list, h)
	ref := engine.Ref(h.entry.Ref)
	n.byRef[ref] = append(n.byRef[ref], h)
	n.charge(h.size())
}

// keyLocked returns a key's heldKey, and makes it if there is none.
func (n *names) keyLocked(key string) *heldKey {
	k := n.keys[key]
	if k == nil {
		k = &heldKey{key: key}
		n.keys[key] = k
	}
	return k
}

// dropLocked forgets a holding.
func (n *names) dropLocked(h *holding) {
	k := h.key
	i := indexOf(k.list, h)
	if i < 0 {
		return
	}
	k.list = removeAt(k.list, i)
	ref := engine.Ref(h.entry.Ref)
	list := n.byRef[ref]
	if list = removeAt(list, indexOf(list, h)); len(list) == 0 {
		delete(n.byRef, ref)
	} else {
		n.byRef[ref] = list
	}
	n.charge(-h.size())
	if len(k.list) > 0 {
		return
	}
	if k.queued {
		n.empty++
	} else if !k.busy {
		delete(n.keys, k.key)
	}
}

func indexOf(list []*holding, h *holding) int {
	for i, o := range list {
		if o == h {
			return i
		}
	}
	return -1
}

func removeAt(list []*holding, i int) []*holding {
	list[i] = list[len(list)-1]
	list[len(list)-1] = nil
	return list[:len(list)-1]
}

func (n *names) drop(h *holding) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dropLocked(h)
}

// releaseLocked forgets a holding, and has its key's list be told.
func (n *names) releaseLocked(h *holding) {
	k := h.key
	if indexOf(k.list, h) < 0 {
		return
	}
	if len(k.list) == 1 && !k.queued && n.empty >= maxEmpty {
		n.count.releasesDropped.Add(1)
	} else {
		n.queueLocked(k)
	}
	n.dropLocked(h)
}

// holds reports whether a connection of this node is among those of a key.
func (n *names) holds(key string, ref uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.findLocked(key, ref) != nil
}

func (n *names) findLocked(key string, ref uint64) *holding {
	if k := n.keys[key]; k != nil {
		for _, h := range k.list {
			if h.entry.Ref == ref {
				return h
			}
		}
	}
	return nil
}

// usable reports whether the bucket can be used, as far as is known.
func (n *names) usable() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.away.IsZero() && !n.closed
}

// Enter implements gateway.Registry.
func (n *names) Enter(r gateway.Registration, done func(gateway.Outcome, int)) {
	h := &holding{entry: nameEntry{
		Ref: uint64(r.Ref), Since: n.now().Add(-time.Since(r.Since)).UnixMicro(), Arrival: r.Arrival, Sole: r.Exclusive, Count: r.Limit > 0,
	}}
	n.count.logins.Add(1)
	n.hold(nameKey('u', r.User), h)
	if !n.usable() || !n.pool.submit(func() { n.enter(h, &r, done) }) {
		n.alone(h)
		done(gateway.LoginOK, 0)
	}
}

// alone lets a login in by what this node knows. The list is told when it can be.
func (n *names) alone(h *holding) {
	n.count.local.Add(1)
	n.letIn(h, true)
}

// letIn has the list have a holding. tell says that it may not have it yet.
func (n *names) letIn(h *holding, tell bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h.on, h.there = true, h.there || !tell
	if tell || indexOf(h.key.list, h) < 0 { // it has left meanwhile
		n.queueLocked(n.keyLocked(h.key.key))
	}
}

// Refusals of a login.
var (
	errLaterLogin = errors.New("cluster: a later login of the user is there")
	errUserLimit  = errors.New("cluster: the user has as many connections as allowed")
)

// enter decides on a login.
func (n *names) enter(h *holding, r *gateway.Registration, done func(gateway.Outcome, int)) {
	ctx, cancel := context.WithTimeout(n.ctx, time.Until(r.Deadline))
	defer cancel()
	at := attempt{h: h, r: r, now: n.now}
	err := n.change(ctx, h.key.key, false, at.list)
	if errors.Is(err, errUserLimit) && n.findDead(ctx, h.key.key, &at) {
		err = n.change(ctx, h.key.key, false, at.list)
	}
	var bad errNames
	switch {
	case err == nil:
		n.letIn(h, false)
	case errors.Is(err, errLaterLogin), errors.Is(err, errUserLimit):
		o := gateway.LoginConcurrent
		if errors.Is(err, errUserLimit) {
			o = gateway.LoginOverLimit
			n.count.overLimit.Add(1)
		}
		n.drop(h) // it was not written
		done(o, at.online)
		return
	case errors.As(err, &bad):
		n.failedAt(bad)
		n.alone(h)
		at.online = 0
	default: // its time is over, or the gateway's
		n.drop(h)
		done(gateway.LoginUnavailable, 0)
		return
	}
	n.end(ctx, at.gone)
	done(gateway.LoginOK, at.online)
}

// An attempt is a login that is to get into a list.
type attempt struct {
	h      *holding
	r      *gateway.Registration
	now    func() time.Time
	dead   []nameEntry // that are in the list and have ended
	others []nameEntry // that count
	gone   ends        // that have to go
	online int
}

// list puts the login into the list, if it may.
func (a *attempt) list(list []nameEntry) ([]nameEntry, error) {
	self, now := &a.h.entry, a.now().UnixMicro()
	next := make([]nameEntry, 0, len(list)+1)
	a.others, a.online = a.others[:0], 0
	for _, e := range list {
		own := e.Node == self.Node && e.Incarnation == self.Incarnation
		switch {
		case e.is(self), hasEntry(a.dead, &e): // of an attempt whose answer was lost
			continue
		case e.Sole && self.Sole && e.after(self, now):
			return nil, errLaterLogin
		case e.Sole && self.Sole && !own: // this node's own go by its own rules
			a.gone.add(nameEnd{key: a.h.key.key, entry: e})
			continue
		case own && (e.Ref == uint64(a.r.Replaces[0]) || e.Ref == uint64(a.r.Replaces[1])):
		case e.Count && self.Count:
			a.others = append(a.others, e)
		}
		next = append(next, e)
	}
	if a.online = len(a.others) + 1; self.Count && a.online > a.r.Limit {
		a.online--
		return nil, errUserLimit
	}
	return append(next, *self), nil
}

func hasEntry(list []nameEntry, e *nameEntry) bool {
	for i := range list {
		if list[i].is(e) {
			return true
		}
	}
	return false
}

// Leave implements gateway.Registry.
func (n *names) Leave(ref engine.Ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.byRef[ref]) > 0 {
		n.releaseLocked(n.byRef[ref][0])
	}
}

// Name implements gateway.Registry. Who comes last has it: there is nothing to wait for.
func (n *names) Name(id string, ref engine.Ref, data []byte) {
	n.named(id)
	key := nameKey('c', id)
	n.mu.Lock()
	if k := n.keys[key]; k != nil {
		for len(k.list) > 0 { // this node has taken it from them
			n.dropLocked(k.list[0])
		}
	}
	n.mu.Unlock()
	h := &holding{id: id, data: data, entry: nameEntry{
		Ref: uint64(ref), Since: n.now().UnixMicro(), Arrival: n.count.logins.Add(1), Sole: true,
	}}
	n.hold(key, h)
	n.letIn(h, true)
}

// Unname implements gateway.Registry.
func (n *names) Unname(id string, ref engine.Ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.findLocked(nameKey('c', id), uint64(ref)); h != nil {
		n.releaseLocked(h)
	}
}
