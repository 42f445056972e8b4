package engine

// A Ref names a connection from anywhere: its loop, its slot in that loop, and the slot's
// generation, so that a slot used again is never taken for the connection that had it before.
// The zero Ref names no connection.
//
//	63      56 55               32 31                0
//	| loop    | slot              | generation       |
type Ref uint64

const (
	maxLoops = 1 << 8
	maxSlots = 1 << 24
)

func makeRef(loop int, slot, gen uint32) Ref {
	return Ref(loop)<<56 | Ref(slot)<<32 | Ref(gen)
}

func (r Ref) loop() int    { return int(r >> 56) }
func (r Ref) slot() uint32 { return uint32(r>>32) & (maxSlots - 1) }
func (r Ref) gen() uint32  { return uint32(r) }
