package session

// StoreStats are the numbers for a metrics page.
type StoreStats struct {
	Attached int // sessions held by a connection
	Detached int // sessions waiting for their client
	Spent    int // evicted and ended sessions remembered

	Evicted  uint64 // sessions evicted for want of room, in all: because of MaxRecords
	OverUser uint64 // because of MaxPerUser
	Trimmed  uint64 // by Trim

	Bytes   int64  // of the session texts and topics kept
	Waiting int64  // WaitingBytes
	TooLong uint64 // times that those of one session were not kept, being over MaxSnapshotBytes
	TooMany uint64 // times that those of one session went because of MaxBytes
}

// Stats counts, one shard at a time.
func (s *Store) Stats() (st StoreStats) {
	st.Waiting = s.WaitingBytes()
	st.Bytes, st.TooLong, st.TooMany = s.bytes.Load(), s.tooLong.Load(), s.tooMany.Load()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		st.Attached += len(sh.attached)
		st.Detached += len(sh.detached)
		st.Spent += len(sh.spent.due)
		st.Evicted += sh.evicted[forRoom]
		st.OverUser += sh.evicted[forUser]
		st.Trimmed += sh.evicted[forMemory]
		sh.mu.Unlock()
	}
	return st
}
