package admin

import (
	"cmp"
	"slices"

	"github.com/sluicenet/sluice/engine"
)

// A keyedConn is a connection with what it is sorted by.
type keyedConn struct {
	ref  engine.Ref
	key  int64
	text string
}

// A ranking is connections in order, all of them or the first few.
type ranking struct {
	down    bool // the greatest first
	most    int  // that are kept; 0: all
	list    []keyedConn
	matched int       // that were added, kept or not
	floor   keyedConn // with full: whoever comes behind it is not among the first
	full    bool
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

// wants reports whether k could be among the first. Loops may ask while nothing is added.
func (r *ranking) wants(k keyedConn) bool { return !r.full || r.compare(k, r.floor) < 0 }

// add adds what a loop has found: those that it wanted, of matched in all.
func (r *ranking) add(found []keyedConn, matched int) {
	r.matched += matched
	r.list = append(r.list, found...)
	if r.most > 0 && len(r.list) >= max(4*r.most, 1024) { // in the worst order all of them are sorted in parts
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
