package session

// Trim forgets one of every part of the sessions that wait for their client, at least one of each
// shard that has any: those that expire first, and with them their snapshots. What that means for
// their clients says Store under eviction. It returns the number of sessions forgotten. Each shard
// is locked by itself.
func (s *Store) Trim(part int) (n int) {
	part = max(part, 1)
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for range (len(sh.detached) + part - 1) / part {
			sh.evict(sh.detached[0], forMemory)
			n++
		}
		sh.byID, sh.peak = slim(sh.byID, sh.peak)
		sh.mu.Unlock()
	}
	return n
}

// A cause is why a session is evicted.
type cause int

const (
	forRoom   cause = iota // StoreConfig.MaxRecords
	forUser                // StoreConfig.MaxPerUser
	forMemory              // Trim
	numCauses
)

// evict forgets r, but not its serial.
func (s *recordShard) evict(r *record, why cause) {
	s.drop(r)
	s.forgotten(r)
	s.spent.put(r.id, r.serial, r.expires)
	s.evicted[why]++
}
