package session

// dueItem is something that expires.
type dueItem interface {
	dueAt() int64 // unix milliseconds
	setPos(int)   // told by the heap where the item is, for fix and remove
}

// dueHeap is a binary heap of items, the one that expires first at the front.
type dueHeap[T dueItem] []T

func (h *dueHeap[T]) push(x T) {
	*h = append(*h, x)
	x.setPos(len(*h) - 1)
	h.up(len(*h) - 1)
}

// remove takes out the item at position i.
func (h *dueHeap[T]) remove(i int) {
	last := len(*h) - 1
	h.swap(i, last)
	var none T
	(*h)[last] = none
	*h = (*h)[:last]
	if i < last {
		h.fix(i)
	}
	if c := cap(*h); c > slimAbove && last < c/8 {
		*h = append(make(dueHeap[T], 0, 2*last), *h...)
	}
}

// fix restores the order after the item at position i changed its time.
func (h *dueHeap[T]) fix(i int) {
	h.up(i)
	h.down(i)
}

// popDue takes out and returns the first item if it is due at unix milliseconds ms.
func (h *dueHeap[T]) popDue(ms int64) (x T, ok bool) {
	if len(*h) == 0 || (*h)[0].dueAt() > ms {
		return x, false
	}
	x = (*h)[0]
	h.remove(0)
	return x, true
}

func (h *dueHeap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if (*h)[parent].dueAt() <= (*h)[i].dueAt() {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *dueHeap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(*h) {
			return
		}
		if right := child + 1; right < len(*h) && (*h)[right].dueAt() < (*h)[child].dueAt() {
			child = right
		}
		if (*h)[i].dueAt() <= (*h)[child].dueAt() {
			return
		}
		h.swap(i, child)
		i = child
	}
}

func (h *dueHeap[T]) swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].setPos(i)
	s[j].setPos(j)
}
