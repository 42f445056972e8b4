package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

const (
	// endWait is how long a login waits for the end of a connection elsewhere. A node that has not
	// answered is not waited for in the next silentFor.
	endWait, silentFor = 500 * time.Millisecond, 2 * time.Second
	// What was not answered is asked again each endAgain, up to endTries times, while the node has not
	// left: maxEnds of them at once.
	endAgain = time.Second
	endTries = 60
	maxEnds  = 4096
)

// A nameEnd is a connection elsewhere that has to go, since it is not in the list any more.
type nameEnd struct {
	key   string
	entry nameEntry
	id    string // the uniqId that it has lost
	data  []byte // what it is told of that
	tries int
}

// ends are connections that have to go, each once.
type ends []nameEnd

func (l *ends) add(e nameEnd) {
	for i := range *l {
		if (*l)[i].entry.is(&e.entry) {
			return
		}
	}
	*l = append(*l, e)
}

// A nameRequest is what a node asks of another.
type nameRequest struct {
	Op          string            `json:"op"`                    // end, alive, take
	Incarnation string            `json:"incarnation,omitempty"` // of the process that is asked; empty: any
	Key         string            `json:"key,omitempty"`
	Refs        []uint64          `json:"refs,omitempty"`
	ID          string            `json:"id,omitempty"`
	Data        []byte            `json:"data,omitempty"`
	Kind        gateway.TokenKind `json:"kind,omitempty"`
	Token       string            `json:"token,omitempty"`
}

// A nameAnswer is the answer.
type nameAnswer struct {
	OK    bool     `json:"ok"`
	Refs  []uint64 `json:"refs,omitempty"` // those that are there
	Value string   `json:"value,omitempty"`
}

const opEnd, opAlive, opTake = "end", "alive", "take"

// request asks a node and waits for the answer.
func (n *names) request(ctx context.Context, node uint8, r *nameRequest) (nameAnswer, error) {
	var a nameAnswer
	body, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	answer, err := n.peers.ask(ctx, node, body)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(answer, &a)
}

// serve does what another node asks. It does not block: answer is called once, on any goroutine, unless
// the request cannot be read, which the error says.
func (n *names) serve(body []byte, answer func([]byte)) error {
	var r nameRequest
	if err := json.Unmarshal(body, &r); err != nil {
		n.count.foreign.Add(1)
		return err
	}
	say := func(a nameAnswer) {
		b, _ := json.Marshal(a)
		answer(b)
	}
	mine := r.Incarnation == "" || r.Incarnation == n.inc // else what it asks about has gone with its process
	switch {
	case r.Op == opTake:
		value, ok := n.client.TakeToken(r.Kind, r.Token)
		say(nameAnswer{OK: ok, Value: value})
	case r.Op == opAlive:
		var a nameAnswer
		for _, ref := range r.Refs {
			if mine && n.holds(r.Key, ref) {
				a.Refs = append(a.Refs, ref)
			}
		}
		a.OK = true
		say(a)
	case r.Op == opEnd && len(r.Refs) == 1:
		if !mine || !n.endHere(r.Key, r.Refs[0], r.ID, r.Data, func() { say(nameAnswer{OK: true}) }) {
			say(nameAnswer{OK: true}) // it has ended before
		}
	default:
		n.count.foreign.Add(1)
		return errors.New("cluster: no request about names of ours")
	}
	return nil
}

// endHere ends a connection of this node whose place in the list another has. It reports false when there
// is none.
func (n *names) endHere(key string, ref uint64, id string, data []byte, done func()) bool {
	n.mu.Lock()
	h := n.findLocked(key, ref)
	if h != nil {
		n.dropLocked(h)
	}
	n.mu.Unlock()
	if h == nil {
		return false
	}
	if key[0] == 'c' {
		n.count.lost.Add(1)
		n.client.Lose(engine.Ref(ref), h.id, data, done)
	} else {
		n.count.kicked.Add(1)
		n.client.Kick(engine.Ref(ref), done)
	}
	return true
}

// end ends connections elsewhere, and waits a while for that.
func (n *names) end(ctx context.Context, list []nameEnd) {
	var all sync.WaitGroup
	for i := range list {
		e := &list[i]
		if n.isSilent(e.entry.origin()) || i >= namePool {
			n.endLater(*e)
			continue
		}
		all.Go(func() {
			if err := n.endThere(ctx, e); err != nil {
				n.count.unanswered.Add(1)
				n.endLater(*e)
			}
		})
	}
	all.Wait()
}

func (n *names) endThere(ctx context.Context, e *nameEnd) error {
	_, err := n.request(ctx, e.entry.Node, &nameRequest{
		Op: opEnd, Incarnation: e.entry.Incarnation, Key: e.key, Refs: []uint64{e.entry.Ref}, ID: e.id, Data: e.data,
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.silent[e.entry.origin()] = time.Now()
	} else {
		delete(n.silent, e.entry.origin())
	}
	return err
}

func (n *names) isSilent(node origin) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.silent[node]
	if !ok {
		return false
	}
	if time.Since(at) >= silentFor {
		delete(n.silent, node)
		return false
	}
	return true
}

// endLater has a connection be ended once its node answers.
func (n *names) endLater(e nameEnd) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e.tries++
	if e.tries > endTries || len(n.ends) >= maxEnds {
		n.count.endsDropped.Add(1)
		return
	}
	n.ends = append(n.ends, e)
	n.charge(nameEndSize + int64(len(e.data)))
}

// nameEndSize is what a nameEnd costs.
const nameEndSize = 256

// endAgain asks again for what was not answered.
func (n *names) endAgain(ctx context.Context) {
	n.mu.Lock()
	list := n.ends
	n.ends = nil
	for i := range list {
		n.charge(-nameEndSize - int64(len(list[i].data)))
	}
	n.mu.Unlock()
	for i := range list {
		e := &list[i]
		switch there, err := n.there(ctx, e.entry.origin()); {
		case err == nil && !there: // and all its connections with it
		case err != nil || n.isSilent(e.entry.origin()) || n.endThere(ctx, e) != nil:
			n.endLater(*e)
		}
	}
}

// findDead asks the other nodes which of those that count are still there. It reports whether some are not.
func (n *names) findDead(ctx context.Context, key string, a *attempt) bool {
	byNode := make(map[origin][]uint64)
	for i := range a.others {
		if o := a.others[i].origin(); o != n.self {
			byNode[o] = append(byNode[o], a.others[i].Ref)
		}
	}
	there := make(map[origin]map[uint64]bool, len(byNode))
	for o, refs := range byNode {
		r := nameRequest{Op: opAlive, Incarnation: incarnationText(o.incarnation), Key: key, Refs: refs}
		answer, err := n.request(ctx, o.id, &r)
		if err != nil {
			continue // it is believed
		}
		set := make(map[uint64]bool, len(answer.Refs))
		for _, ref := range answer.Refs {
			set[ref] = true
		}
		there[o] = set
	}
	for _, e := range a.others {
		if set, ok := there[e.origin()]; ok && !set[e.Ref] {
			a.dead = append(a.dead, e)
		}
	}
	return len(a.dead) > 0
}

// Redeem implements gateway.Registry: the node that has issued a token is the one to say whether it is
// good, so it is good once.
func (n *names) Redeem(kind gateway.TokenKind, token string, deadline time.Time, done func(string, error)) {
	issuer, ok := session.TokenIssuer(token)
	_, there := n.nodes.find(issuer)
	switch {
	case !n.held():
		done("", login.ErrUnavailable)
		return
	case !ok || !there:
		done("", login.ErrUnknown)
		return
	}
	n.count.redeemed.Add(1)
	if !n.pool.submit(func() {
		ctx, cancel := context.WithDeadline(n.ctx, deadline)
		defer cancel()
		switch a, err := n.request(ctx, issuer, &nameRequest{Op: opTake, Kind: kind, Token: token}); {
		case err != nil:
			done("", errors.Join(login.ErrUnavailable, err))
		case !a.OK:
			done("", login.ErrUnknown)
		default:
			done(a.Value, nil)
		}
	}) {
		done("", login.ErrUnavailable)
	}
}
