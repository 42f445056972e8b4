package admin

import (
	"cmp"
	"slices"
	"sync"

	"github.com/sluicenet/sluice/engine"
)

// A keyedConn is a connection with what it is sorted by.
type keyedConn struct {
	ref  engine.Ref
	key  int64
	text string
}

// A ranking is connections in order, all of them or the first few. Whoever adds to it owns it: a loop
// while it runs what it was told, else the query.
type ranking struct {
	down    bool // the greatest first
	most    int  // that are kept; 0: all
	list    []keyedConn
	matched int       // that were added, kept or not
	floor   keyedConn // with full: whoever comes behind it is not among the first
	full    bool
}

// rankings are lists for the next query: garbage of a mebibyte for each would have the collector go over
// all connections again and again.
var rankings = sync.Pool{New: func() any { return new([]keyedConn) }}

// newRanking makes one that free gives back.
func newRanking(down bool, most int) ranking {
	return ranking{down: down, most: most, list: (*rankings.Get().(*[]keyedConn))[:0]}
}

// free gives the memory back. Nobody may add to r any more.
func (r *ranking) free() {
	const most = 1 << 17 // more is not kept for who may never ask again
	if cap(r.list) <= most {
		clear(r.list[:cap(r.list)]) // users' names
		rankings.Put(&r.list)
	}
}

// compare is called for each connection of a gateway, many times: what decides first comes first.
func (r *ranking) compare(a, b keyedConn) int {
	n := -1
	switch {
	case a.key != b.key:
		if a.key > b.key {
			n = 1
		}
	case a.text != b.text:
		if a.text > b.text {
			n = 1
		}
	default:
		return cmp.Compare(a.ref, b.ref)
	}
	if r.down {
		return -n
	}
	return n
}

// add adds a connection, unless it is not among the first. In the worst order the list is sorted each
// time that it has grown four times over.
func (r *ranking) add(k keyedConn) {
	r.matched++
	if r.full && r.compare(k, r.floor) >= 0 {
		return
	}
	r.list = append(r.list, k)
	if r.most > 0 && len(r.list) >= max(4*r.most, 1024) {
		r.cut()
	}
}

// cut puts the list in order, and forgets who is not among the first.
func (r *ranking) cut() {
	slices.SortFunc(r.list, r.compare)
	if r.most > 0 && len(r.list) >= r.most {
		r.list = r.list[:r.most]
		r.floor, r.full = r.list[r.most-1], true
	}
}

// refs returns the connections in order.
func (r *ranking) refs() []engine.Ref {
	r.cut()
	refs := make([]engine.Ref, len(r.list))
	for i, k := range r.list {
		refs[i] = k.ref
	}
	return refs
}
