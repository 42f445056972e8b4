package cluster

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// shuffle has entries go by an order that it makes of that of the keys. The simulation sets it, so that a
// seed gives the same run.
var shuffle func(n int, swap func(i, j int))

// entries goes through a map. Those that are deleted meanwhile are left out.
func entries[K cmp.Ordered, V any](m map[K]V) iter.Seq2[K, V] {
	if shuffle == nil {
		return maps.All(m)
	}
	return func(yield func(K, V) bool) {
		keys := slices.Sorted(maps.Keys(m))
		shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		for _, k := range keys {
			if v, ok := m[k]; ok && !yield(k, v) {
				return
			}
		}
	}
}
