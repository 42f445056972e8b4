package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// A nameEntry is a connection in the list that a key of the bucket of names has: of a user's connections
// (key u.HASH), or the one that has a chosen uniqId (c.HASH).
type nameEntry struct {
	Node        uint8  `json:"node"`
	Incarnation string `json:"incarnation"`
	Ref         uint64 `json:"ref"`
	Since       int64  `json:"since"` // unix microseconds, by NATS's clock as the node knows it
	Arrival     uint64 `json:"arrival,omitempty"`
	Sole        bool   `json:"sole,omitempty"`  // there is to be no other that is
	Count       bool   `json:"count,omitempty"` // it counts against the user's limit
}

// A nameList is the value of a key: JSON, so that operators can read it.
type nameList struct {
	Connections []nameEntry `json:"connections"`
}

// nameKey is the key of a user ('u') or a chosen uniqId ('c'). Nobody can choose names whose keys meet.
func nameKey(kind byte, name string) string {
	h := sha256.Sum256([]byte(name))
	return string(kind) + "." + base64.RawURLEncoding.EncodeToString(h[:24])
}

func (e *nameEntry) origin() origin {
	incarnation, _ := strconv.ParseUint(e.Incarnation, 16, 64) // 0 is nobody's
	return origin{e.Node, incarnation}
}

func (e *nameEntry) is(o *nameEntry) bool {
	return e.Ref == o.Ref && e.Node == o.Node && e.Incarnation == o.Incarnation
}

// after reports whether e's login was asked for later than o's. Of one node the order is known. Of two
// nodes their clocks say it; but what lies ahead of this node's clock is of one that is fast, and says
// nothing: then who comes to the list last is the later.
func (e *nameEntry) after(o *nameEntry, now int64) bool {
	if e.Node == o.Node && e.Incarnation == o.Incarnation {
		return e.Arrival > o.Arrival
	}
	if e.Since > now {
		return false
	}
	return e.Since > o.Since || e.Since == o.Since && e.Node > o.Node
}

// errNames is an error of the store in which the list is kept: it is not known whether the last write
// has happened.
type errNames struct {
	error
	late  bool // the caller's time was over: the store may be well
	write bool // it takes no writes, as far as is known
}

func (e errNames) Unwrap() error { return e.error }

const (
	// nameWait is how long the store may take for one operation.
	nameWait = time.Second
	// A list that another has changed meanwhile is tried again after up to so long, twice as long each
	// time.
	nameBackoff, nameBackoffMax = time.Millisecond, 64 * time.Millisecond
)

// change has f make another list of a key's, and writes that: again with the list as it is then, when
// another has changed it meanwhile. Connections that are not there any more are not in what f gets, which it may
// change. It writes what has not changed only if touch is set. Errors are f's, the context's, and errNames.
func (n *names) change(ctx context.Context, key string, touch bool, f func(list []nameEntry) ([]nameEntry, error)) error {
	for pause := nameBackoff; ; pause = min(2*pause, nameBackoffMax) {
		old, revision, err := n.read(ctx, key)
		if err != nil {
			return err
		}
		list, err := n.living(ctx, key, old)
		if err != nil {
			return err
		}
		next, err := f(list)
		if err != nil {
			return err
		}
		if slices.Equal(next, old) && (!touch || len(next) == 0) {
			return nil
		}
		err = n.write(ctx, key, revision, next)
		if !errors.Is(err, ErrKeyExists) {
			return err
		}
		n.count.conflicts.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(pause)):
		}
	}
}

// read returns a key's list, and its revision, 0 if there is none.
func (n *names) read(ctx context.Context, key string) ([]nameEntry, uint64, error) {
	e, err := n.ask(ctx, n.store, key)
	if err != nil || e.Value == nil {
		return nil, 0, err
	}
	var list nameList
	if err := json.Unmarshal(e.Value, &list); err != nil {
		n.count.foreign.Add(1)
		n.log.Warn("a key of the bucket of names is no list of connections: it is written anew", "key", key, "err", err)
		list.Connections = []nameEntry{{}} // nobody: the list is not what it was
	}
	return list.Connections, e.Revision, nil
}

// ask gets a key of a store; one that there is not has no value.
func (n *names) ask(ctx context.Context, from Store, key string) (Entry, error) {
	if !n.held() {
		return Entry{}, errNames{error: errNoLease}
	}
	bounded, cancel := context.WithTimeout(ctx, nameWait)
	defer cancel()
	e, err := from.Get(bounded, key)
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return Entry{}, nil
	case err != nil && ctx.Err() != nil:
		return Entry{}, ctx.Err()
	case err != nil:
		n.count.errors.Add(1)
		return Entry{}, errNames{error: err}
	}
	return e, nil
}

func (n *names) write(ctx context.Context, key string, revision uint64, list []nameEntry) error {
	bounded, cancel := context.WithTimeout(ctx, nameWait)
	defer cancel()
	var err error
	switch value, _ := json.Marshal(nameList{list}); {
	case len(list) == 0 && revision == 0:
	case len(list) == 0:
		err = n.store.Delete(bounded, key, revision)
	case revision == 0:
		_, err = n.store.Create(bounded, key, value)
	default:
		_, err = n.store.Update(bounded, key, value, revision)
	}
	if err == nil || errors.Is(err, ErrKeyExists) {
		return err
	}
	n.count.errors.Add(1)
	return errNames{err, ctx.Err() != nil, true}
}

// living returns the connections of a list whose nodes, and of this node which themselves, are there.
func (n *names) living(ctx context.Context, key string, list []nameEntry) ([]nameEntry, error) {
	var live []nameEntry
	for _, e := range list {
		from := e.origin()
		there := from == n.self && n.holds(key, e.Ref)
		if from != n.self {
			var err error
			if there, err = n.there(ctx, from); err != nil {
				return nil, err
			}
		}
		if there {
			live = append(live, e)
		} else {
			n.count.stale.Add(1)
		}
	}
	return live, nil
}

// there reports whether a node is one of the cluster. Of one that is not in the table, which may have come
// a moment ago, its lease is read.
func (n *names) there(ctx context.Context, from origin) (bool, error) {
	if n.nodes.knows(from) {
		return true, nil
	}
	if from.incarnation == 0 {
		return false, nil
	}
	e, err := n.ask(ctx, n.leases, keyOf(from.id))
	if err != nil || e.Value == nil {
		return false, err
	}
	m, err := readClaim(from.id, e.Value)
	return err == nil && m.Incarnation == from.incarnation, nil
}
