package topic

import "cmp"

// Before reports whether p is before q, where epochs follow one another: what has positions in one
// order for all topics begins a later epoch when it begins anew.
func (p Position) Before(q Position) bool {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Seq, q.Seq)) < 0
}
