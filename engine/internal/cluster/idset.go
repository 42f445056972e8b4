package cluster

// An idSet is a set of server ids.
type idSet [4]uint64

func (s *idSet) add(id uint8)      { s[id>>6] |= 1 << (id & 63) }
func (s *idSet) remove(id uint8)   { s[id>>6] &^= 1 << (id & 63) }
func (s *idSet) has(id uint8) bool { return s[id>>6]&(1<<(id&63)) != 0 }
func (s *idSet) empty() bool       { return *s == idSet{} }

func (s *idSet) addAll(o *idSet) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s *idSet) removeAll(o *idSet) {
	for i := range s {
		s[i] &^= o[i]
	}
}

// keepAll removes all that are not in o, and reports whether some are left.
func (s *idSet) keepAll(o *idSet) bool {
	for i := range s {
		s[i] &= o[i]
	}
	return !s.empty()
}

func (s *idSet) hasAll(o *idSet) bool {
	for i := range s {
		if o[i]&^s[i] != 0 {
			return false
		}
	}
	return true
}

// list returns the ids, in order.
func (s *idSet) list() (ids []int) {
	for id := range 256 {
		if s.has(uint8(id)) {
			ids = append(ids, id)
		}
	}
	return ids
}
