package admin

import (
	"cmp"
	"math/rand/v2"
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

// A ranking is connections in order, all of them or the first few. A loop adds to it while it runs what
// it was told, which is all that it does: who asks makes room before, and puts in order behind it.
type ranking struct {
	down    bool // the greatest first
	most    int  // that are kept; 0: all
	list    []keyedConn
	cutTo   int // of list, the first so many were there at the last cut
	matched int // that were added before it, kept or not
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

// makeRoom makes room for n more.
func (r *ranking) makeRoom(n int) { r.list = slices.Grow(r.list, n) }

// add adds a connection, for which there is room.
func (r *ranking) add(k keyedConn) { r.list = append(r.list, k) }

// cut counts those that were added, and forgets who is not among the first.
func (r *ranking) cut() {
	added := r.list[r.cutTo:]
	r.matched += len(added)
	if r.most > 0 && r.cutTo == r.most { // who comes behind the last of them is not among the first
		last := r.list[r.most-1]
		added = slices.DeleteFunc(added, func(k keyedConn) bool { return r.compare(k, last) > 0 })
		r.list = r.list[:r.cutTo+len(added)]
	}
	if r.most > 0 && len(r.list) >= r.most {
		r.place(r.list, r.most-1)
		r.list = r.list[:r.most]
	}
	r.cutTo = len(r.list)
}

// place puts the element that has number n in the order of list into its place, those before it in front
// of it, and the others behind: in a time that grows with the length alone, unlike sorting. Where it
// looks is left to chance, so that nobody can choose what would take it the longest.
func (r *ranking) place(list []keyedConn, n int) {
	for len(list) > 1 {
		i := rand.IntN(len(list))
		pivot, last := list[i], len(list)-1
		list[i], list[last] = list[last], list[i]
		at := 0
		for j := range last {
			if r.compare(list[j], pivot) < 0 {
				list[at], list[j] = list[j], list[at]
				at++
			}
		}
		list[at], list[last] = list[last], list[at]
		switch {
		case n < at:
			list = list[:at]
		case n > at:
			list, n = list[at+1:], n-at-1
		default:
			return
		}
	}
}

// refs returns the connections in order.
func (r *ranking) refs() []engine.Ref {
	r.cut()
	slices.SortFunc(r.list, r.compare)
	refs := make([]engine.Ref, len(r.list))
	for i, k := range r.list {
		refs[i] = k.ref
	}
	return refs
}
