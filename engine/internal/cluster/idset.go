package cluster

// An idSet is a set of server ids.
type idSet [4]uint64

func (s *idSet) add(id uint8)      { s[id>>6] |= 1 << (id & 63) }
func (s *idSet) remove(id uint8)   { s[id>>6] &^= 1 << (id & 63) }
func (s *idSet) has(id uint8) bool { return s[id>>6]&(1<<(id&63)) != 0 }
func (s *idSet) empty() bool       { return *s == idSet{} }
