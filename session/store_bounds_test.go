package session

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A session's state is kept whole or not at all.
func TestStoreSnapshotBounds(t *testing.T) {
	state := Snapshot{SessionText: "ab", Topics: []string{"t1", "t2"}}
	for _, v := range []struct {
		name  string
		limit int
		give  Snapshot
		kept  bool
	}{
		{"one byte too many", 2 + 18 + 17, state, false},
		{"all", 2 + 18 + 18, state, true},
		{"text too long", 20, Snapshot{SessionText: strings.Repeat("x", 21)}, false},
		{"text as long as may be", 21, Snapshot{SessionText: strings.Repeat("x", 21)}, true},
		{"nothing", 1, Snapshot{}, true},
	} {
		s := newStore(t, StoreConfig{MaxSnapshotBytes: v.limit})
		is := mustBegin(t, s, t0, 1, "ann")
		s.Detach(t0, is.ID, 1, v.give)
		if st := s.Stats(); (st.TooLong == 0) != v.kept {
			t.Errorf("%s: %+v", v.name, st)
		}
		want := v.give
		if !v.kept {
			want = Snapshot{Lost: true}
		}
		r, err := s.resume(t0, is.Ticket, 2)
		if err != nil || r.User != "ann" || !r.Known || !reflect.DeepEqual(r.Snapshot, want) {
			t.Errorf("%s: %+v, %v, want %+v", v.name, r, err, want)
		}
		if s.Bytes() != 0 {
			t.Errorf("%s: %d bytes are left", v.name, s.Bytes())
		}
	}
}

// When the states of all sessions are too much, the oldest go and their sessions stay.
func TestStoreMaxBytes(t *testing.T) {
	const size = 1000
	each := int64(size + snapshotOverhead)
	s := newStore(t, StoreConfig{MaxRecords: 100, MaxBytes: 3*each + each/2})
	var all []Issued
	for i := range 5 {
		is := mustBegin(t, s, after(time.Duration(9-i)*time.Minute), Ref(i+1), fmt.Sprint("user", i)) // the oldest expires last
		s.Detach(after(time.Duration(10+i)*time.Minute), is.ID, Ref(i+1), Snapshot{SessionText: strings.Repeat(string(rune('a'+i)), size)})
		all = append(all, is)
		if got, want := s.Bytes(), min(int64(i+1), 3)*each; got != want {
			t.Errorf("%d bytes are kept of %d sessions, want %d", got, i+1, want)
		}
	}
	if st := s.Stats(); st.Detached != 5 || st.Evicted != 0 || st.TooMany != 2 || st.TooLong != 0 || st.Bytes != 3*each {
		t.Errorf("%+v", st)
	}
	for i, is := range all {
		r, err := s.resume(after(20*time.Minute), is.Ticket, Ref(100+i))
		want := ""
		if i >= 2 {
			want = strings.Repeat(string(rune('a'+i)), size)
		}
		if err != nil || r.User != fmt.Sprint("user", i) || r.Snapshot.SessionText != want || r.Snapshot.Lost != (i < 2) {
			t.Errorf("session %d: user %q, %.3q, %v", i, r.User, r.Snapshot.SessionText, err)
		}
	}
	if s.Bytes() != 0 {
		t.Errorf("%d bytes are left", s.Bytes())
	}
}

// Of many sessions, which are spread over the shards, those go that were detached first.
func TestStoreTrimsTheOldest(t *testing.T) {
	const all, kept = 1000, 100
	state := func() Snapshot { return Snapshot{SessionText: strings.Repeat("x", 1000)} }
	snap := state()
	s := newStore(t, StoreConfig{MaxBytes: int64(kept * (snap.size() + snapshotOverhead))})
	var ids []SessionID
	for i := range all {
		is := mustBegin(t, s, t0, Ref(i+1), "")
		s.Detach(t0, is.ID, Ref(i+1), state())
		ids = append(ids, is.ID)
	}
	for i, id := range ids {
		if _, got, ok := s.Describe(id); !ok || got.Lost != (i < all-kept) {
			t.Fatalf("session %d of %d: lost %v, %v", i, all, got.Lost, ok)
		}
	}
	if st := s.Stats(); st.TooMany != all-kept {
		t.Errorf("%+v", st)
	}
}

// What was lost is known until a client was told: not when it was never told of its resumption, and not
// when its former connection hands nothing over.
func TestStoreLostIsRemembered(t *testing.T) {
	s := newStore(t, StoreConfig{MaxSnapshotBytes: 10})
	is := mustBegin(t, s, t0, 1, "ann")
	long := Snapshot{SessionText: strings.Repeat("x", 11)}
	s.Detach(t0, is.ID, 1, long)
	r, err := s.resume(t0, is.Ticket, 2)
	if err != nil || !r.Snapshot.Lost {
		t.Fatalf("%+v, %v", r, err)
	}
	s.TakeBack(t0, r, 2)
	if r, err = s.resume(t0, is.Ticket, 3); err != nil || !r.Snapshot.Lost {
		t.Fatalf("taken back: %+v, %v", r, err)
	}
	next, err := s.resume(t0, r.Ticket, 4) // which takes over
	if err != nil || next.Snapshot.Lost || next.Holder != 3 {
		t.Fatalf("taken over: %+v, %v", next, err)
	}
	if successor := s.Detach(t0, is.ID, 3, long); successor != 4 {
		t.Fatalf("the successor is %d", successor)
	}
	if got, ok := s.Handover(is.ID, 4); !ok || !got.Lost {
		t.Errorf("handed over: %+v, %v", got, ok)
	}
	s.Detach(t0, is.ID, 4, Snapshot{})
	if r, err = s.resume(t0, next.Ticket, 5); err != nil || r.Snapshot.Lost {
		t.Errorf("when it was told: %+v, %v", r, err)
	}
	if s.Bytes() != 0 {
		t.Errorf("%d bytes are left", s.Bytes())
	}
}

// 6,000 sessions with 64 KiB each stay within the default bound, which the heap agrees with.
func TestStoreManySnapshots(t *testing.T) {
	s := newStore(t, StoreConfig{})
	before := liveBytes()
	for i := range 6000 {
		is := mustBegin(t, s, after(time.Duration(i)*time.Millisecond), Ref(i+1), "ann")
		topics := make([]string, 0, 64)
		for j := range 60 {
			topics = append(topics, strings.Repeat(string(rune('a'+j%26)), 1000))
		}
		s.Detach(after(time.Duration(i)*time.Millisecond), is.ID, Ref(i+1), Snapshot{Topics: topics})
		if s.Bytes() > 64<<20 {
			t.Fatalf("%d bytes are kept", s.Bytes())
		}
	}
	grown := int64(liveBytes() - before)
	if st := s.Stats(); st.Bytes < 63<<20 || st.TooMany < 4000 || st.Detached != 6000 {
		t.Errorf("%+v", st)
	}
	records := int64(6000 * 300)
	if b := s.Bytes() + records; !raceEnabled && (grown > b*6/5 || grown < b*4/5) {
		t.Errorf("the heap has grown by %d bytes, the gauge says %d", grown, b)
	}
	for s.Expire(after(testTTL+time.Hour), 1024) == 1024 {
	}
	if s.Bytes() != 0 {
		t.Errorf("%d bytes are left when all have expired", s.Bytes())
	}
	runtime.KeepAlive(s)
}

// The gauge is back at zero whatever becomes of the sessions.
func TestStoreBytesComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newStore(t, StoreConfig{MaxRecords: 50, MaxBytes: 20_000})
	type held struct {
		Issued
		ref Ref
		was Resumed
	}
	var live []held
	next := Ref(0)
	state := func() Snapshot {
		return Snapshot{SessionText: strings.Repeat("x", random.IntN(1500)), Topics: []string{"t"}}
	}
	for step := range 20_000 {
		now := after(time.Duration(step) * 200 * time.Millisecond)
		next++
		if len(live) < 5 || random.IntN(3) == 0 {
			live = append(live, held{Issued: mustBegin(t, s, now, next, "ann"), ref: next})
			continue
		}
		i := random.IntN(len(live))
		h := &live[i]
		switch random.IntN(6) {
		case 0, 1:
			s.Detach(now, h.ID, h.ref, state())
		case 2:
			if r, err := s.resume(now, h.Ticket, next); err == nil {
				live = append(live, held{r.Issued, next, r})
			}
		case 3:
			s.Handover(h.ID, h.ref)
		case 4:
			if h.was.Ticket != "" {
				s.TakeBack(now, h.was, h.ref)
			}
		case 5:
			s.End(now, h.ID)
			live = append(live[:i], live[i+1:]...)
		}
		s.Expire(now, 3)
		sum := int64(0)
		for i := range s.shards {
			for n := s.shards[i].oldest; n != nil; n = n.next {
				if sum += int64(n.bytes); n.owner.snap != n || s.shards[i].byID[n.owner.id] != n.owner {
					t.Fatal("a snapshot of nobody is kept")
				}
			}
		}
		if s.Bytes() != sum || sum > 20_000 {
			t.Fatalf("step %d: the gauge says %d, there are %d", step, s.Bytes(), sum)
		}
	}
	for s.Expire(after(10*24*time.Hour), 1000) > 0 {
	}
	if s.Bytes() != 0 || s.shards[0].oldest != nil {
		t.Errorf("%d bytes are left", s.Bytes())
	}
}

func TestStoreEviction(t *testing.T) {
	s := newStore(t, StoreConfig{MaxRecords: 3})
	begin := func(minute int, ref Ref) Issued {
		return mustBegin(t, s, after(time.Duration(minute)*time.Minute), ref, fmt.Sprint("user", ref))
	}
	a, b, c := begin(0, 1), begin(1, 2), begin(2, 3)
	rb, _ := s.resume(after(2*time.Minute), b.Ticket, 4) // b now expires after c would
	s.Detach(after(2*time.Minute), c.ID, 3, Snapshot{SessionText: "c"})
	s.Detach(after(2*time.Minute), b.ID, 4, Snapshot{SessionText: "b"})

	d := begin(3, 5) // evicts b or c, both detached and due at 32 minutes; a is due earlier, but attached
	if st := counts(s); st != (StoreStats{Attached: 2, Detached: 1, Spent: 1, Evicted: 1}) {
		t.Fatalf("%+v", st)
	}
	begin(4, 6) // the other one of b and c
	e := begin(5, 7)
	if st := counts(s); st != (StoreStats{Attached: 3, Spent: 3, Evicted: 3}) {
		t.Fatalf("%+v", st)
	}
	for _, v := range []struct {
		name, ticket, user string
		want               error
	}{
		{"evicted, rotated out", b.Ticket, "", ErrReplayed},
		{"evicted, newest", rb.Ticket, "user2", nil},
		{"evicted, never used", c.Ticket, "user3", nil},
		{"evicted while attached, being the first to expire", a.Ticket, "user1", nil},
		{"used a moment ago, within grace", c.Ticket, "user3", nil},
	} {
		r, err := s.resume(after(6*time.Minute), v.ticket, 8)
		if !errors.Is(err, v.want) || r.User != v.user || r.Snapshot.SessionText != "" {
			t.Errorf("%s: %+v, %v, want %v", v.name, r, err, v.want)
		}
	}
	// These took the places of d, e and the one between, whose tickets are as good.
	for _, is := range []Issued{d, e} {
		if r, err := s.resume(after(7*time.Minute), is.Ticket, 9); err != nil || r.Known {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if st := s.Stats(); st.Attached+st.Detached != 3 {
		t.Errorf("%+v, want 3 records", st)
	}
}

func TestStoreEvictionPrefersDueRecords(t *testing.T) {
	s := newStore(t, StoreConfig{MaxRecords: 2})
	mustBegin(t, s, t0, 1, "ann")
	kept := mustBegin(t, s, after(20*time.Minute), 2, "bob")
	s.Detach(after(20*time.Minute), kept.ID, 2, Snapshot{SessionText: "b"})
	mustBegin(t, s, after(testTTL), 3, "cyd")
	if st := counts(s); st != (StoreStats{Attached: 1, Detached: 1}) {
		t.Errorf("%+v, want the expired one gone and none evicted", st)
	}
}

// When the memory of spent tickets overflows, a replay or a revoked ticket is still refused.
func TestStoreSpentOverflow(t *testing.T) {
	s := newStore(t, StoreConfig{MaxRecords: 100, MaxSpent: 2})
	elsewhere := newStore(t, StoreConfig{})
	elsewhere.rand.Read(make([]byte, 999)) // other session ids than s makes
	early := mustBegin(t, elsewhere, t0, 1, "early")
	late := mustBegin(t, elsewhere, after(10*time.Minute), 1, "late")

	var ended []Issued
	for i := range 5 {
		is := mustBegin(t, s, after(time.Duration(i)*time.Minute), Ref(i+1), "ann")
		ended = append(ended, is)
		s.End(after(time.Duration(i)*time.Minute), is.ID)
	}
	if st := s.Stats(); st.Spent != 2 {
		t.Errorf("%d spent entries, want 2", st.Spent)
	}
	for i, is := range ended {
		want := ErrForgotten
		if i >= 3 {
			want = ErrEnded
		}
		if _, err := s.resume(after(10*time.Minute), is.Ticket, 99); !errors.Is(err, want) {
			t.Errorf("session %d: %v, want %v", i, err, want)
		}
	}
	// The price: a ticket from elsewhere that expires no later than what was forgotten.
	if _, err := s.resume(after(10*time.Minute), early.Ticket, 99); !errors.Is(err, ErrForgotten) {
		t.Errorf("early: %v", err)
	}
	if r, err := s.resume(after(10*time.Minute), late.Ticket, 99); err != nil || r.User != "late" {
		t.Errorf("late: %+v, %v", r, err)
	}
	if is := mustBegin(t, s, after(10*time.Minute), 98, "bob"); is.Ticket == "" {
		t.Error("no new session")
	}
}

func TestStoreExpireInSteps(t *testing.T) {
	s := newStore(t, StoreConfig{})
	for i := range 100 {
		is := mustBegin(t, s, after(time.Duration(i)*time.Second), Ref(i+1), "ann")
		switch i % 4 {
		case 1:
			s.Detach(after(time.Duration(i)*time.Second), is.ID, Ref(i+1), Snapshot{SessionText: "x"})
		case 2:
			s.End(after(time.Duration(i)*time.Second), is.ID)
		}
	}
	left := func() int { st := s.Stats(); return st.Attached + st.Detached + st.Spent }
	if n := s.Expire(after(testTTL-1e6), 1000); n != 0 || left() != 100 {
		t.Errorf("%d expired before their time", n)
	}
	for _, want := range []int{7, 7, 7, 7, 7, 7, 7, 1, 0} { // the first 50
		if n := s.Expire(after(testTTL+49*time.Second), 7); n != want {
			t.Errorf("expired %d, want %d", n, want)
		}
	}
	if left() != 50 {
		t.Errorf("%d left, want 50", left())
	}
	if n := s.Expire(after(testTTL+time.Hour), 1000); n != 50 || left() != 0 {
		t.Errorf("expired %d, %d left", n, left())
	}
	if n := s.Expire(after(testTTL+time.Hour), 0); n != 0 {
		t.Errorf("expired %d of at most 0", n)
	}
}

// Bounds hold with many shards.
func TestStoreBoundsAcrossShards(t *testing.T) {
	const records, spent = 16384, 8192
	s := newStore(t, StoreConfig{MaxRecords: records, MaxSpent: spent})
	if len(s.shards) != 2 {
		t.Fatalf("%d shards", len(s.shards))
	}
	for i := range 2 * (records + spent) {
		mustBegin(t, s, after(time.Duration(i)*time.Millisecond), Ref(i+1), "ann")
	}
	if st := s.Stats(); st.Attached > records || st.Attached < records*95/100 || st.Spent > spent || st.Spent < spent*95/100 {
		t.Errorf("%+v", st)
	}
}

// An evicted session that comes back keeps the expiry of the longest ticket it ever had.
func TestStoreEvictedKeepsExpiry(t *testing.T) {
	elsewhere := newStore(t, StoreConfig{TTL: 2 * time.Hour})
	elsewhere.rand.Read(make([]byte, 999)) // other session ids than s makes
	s := newStore(t, StoreConfig{TTL: 30 * time.Minute, MaxRecords: 1})
	is := mustBegin(t, elsewhere, t0, 1, "ann")
	r, err := s.resume(t0, is.Ticket, 2)
	if err != nil {
		t.Fatal(err)
	}
	mustBegin(t, s, t0, 3, "bob") // evicts ann
	if _, err := s.resume(t0, r.Ticket, 4); err != nil {
		t.Fatal(err)
	}
	s.Expire(after(time.Hour), 100)
	if _, err := s.resume(after(time.Hour), is.Ticket, 5); !errors.Is(err, ErrReplayed) {
		t.Errorf("%v, want %v", err, ErrReplayed)
	}
}
