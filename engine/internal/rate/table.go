package rate

// A Table has the buckets that are not full, by key. It forgets them by itself: what was not used for
// a second is full, so two maps take turns, and the older is thrown away. The zero Table is ready for
// use, by one goroutine at a time.
type Table[K comparable] struct {
	// Max is how many buckets one of the maps holds. Over it the maps take turns early, so that those
	// which have been used the longest ago are full again before their time. Zero means any number.
	Max int

	now, before map[K]Bucket
	turned      int64 // when they took turns, in ns
}

// At returns the bucket of a key.
func (t *Table[K]) At(key K, now int64) Bucket {
	t.turn(now)
	if b, ok := t.now[key]; ok {
		return b
	}
	return t.before[key]
}

// Put sets the bucket of a key. One that needs more than Window to be full again may be forgotten
// sooner: who has it wait sets it again behind the wait.
func (t *Table[K]) Put(key K, now int64, b Bucket) {
	t.turn(now)
	if t.now == nil {
		t.now = make(map[K]Bucket)
	}
	t.now[key] = b
	if t.Max > 0 && len(t.now) >= t.Max {
		t.next(now)
	}
}

// Take takes n tokens of a key's bucket if it has them.
func (t *Table[K]) Take(key K, now int64, n, perSecond int) bool {
	b := t.At(key, now)
	if !b.Take(now, n, perSecond) {
		return false
	}
	t.Put(key, now, b)
	return true
}

// Len returns how many buckets the maps hold.
func (t *Table[K]) Len() int { return len(t.now) + len(t.before) }

// Forget throws away what is full by now.
func (t *Table[K]) Forget(now int64) { t.turn(now) }

func (t *Table[K]) turn(now int64) {
	passed := now - t.turned
	if passed < Window {
		return
	}
	t.next(now)
	if passed >= 2*Window {
		t.before = nil
	}
}

func (t *Table[K]) next(now int64) { t.before, t.now, t.turned = t.now, nil, now }
