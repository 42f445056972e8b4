package session

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// Sessions whose clients never come back leave nothing behind, and those that stay are untouched.
func TestStoreMemoryComesBack(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	const n = 100_000
	s := newStore(t, StoreConfig{})
	kept := mustBegin(t, s, after(testTTL), 1, "ben")
	before := liveBytes()
	for i := range n {
		is := mustBegin(t, s, t0, Ref(i+2), fmt.Sprint("user-", i))
		if i%2 == 0 {
			s.Detach(t0, is.ID, Ref(i+2), Snapshot{SessionText: "level 3", Topics: []string{fmt.Sprint("topic-", i)}})
		}
		if i%4 == 1 {
			s.End(t0, is.ID)
		}
	}
	full := liveBytes()
	if st := s.Stats(); st.Attached != n/4+1 || st.Detached != n/2 || st.Spent != n/4 {
		t.Fatalf("%+v", st)
	}
	for s.Expire(after(testTTL), 1024) == 1024 {
	}
	left := liveBytes()
	t.Logf("%d B a session, %d B when all had expired", (full-before)/n, (int64(left)-int64(before))/n)
	if left > before && left-before > (full-before)/10 {
		t.Errorf("%d of %d bytes stay", left-before, full-before)
	}
	if st := s.Stats(); st != (StoreStats{Attached: 1}) {
		t.Errorf("%+v", st)
	}
	if _, err := s.resume(after(testTTL+time.Second), kept.Ticket, 2); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(s)
}
