package session

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	testTTL   = 30 * time.Minute
	testGrace = 5 * time.Second
)

func newStore(t testing.TB, c StoreConfig) *Store {
	t.Helper()
	c.Key, c.Rand = testKey(), newSeededReader()
	s, err := NewStore(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustBegin(t testing.TB, s *Store, now time.Time, ref Ref, user string) Issued {
	t.Helper()
	is, err := s.Begin(now, ref, Login{User: user})
	if err != nil {
		t.Fatal(err)
	}
	return is
}

func (s *Store) resume(now time.Time, ticket string, ref Ref) (Resumed, error) {
	t, err := s.Open(now, []byte(ticket))
	if err != nil {
		return Resumed{}, err
	}
	return s.Resume(now, t, ref)
}

func serialOf(t *testing.T, s *Store, ticket string) uint32 {
	t.Helper()
	got, err := s.sealer.Open([]byte(ticket), time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	return got.Serial
}

func TestStoreBegin(t *testing.T) {
	s := newStore(t, StoreConfig{})
	is := mustBegin(t, s, t0, 1, "ann")
	if is.Expires != after(testTTL).UnixMilli() {
		t.Errorf("expires %d", is.Expires)
	}
	ticket, err := s.sealer.Open([]byte(is.Ticket), t0)
	if want := (Ticket{ID: is.ID, Expires: is.Expires, Began: t0.UnixMilli(), Login: Login{User: "ann"}}); err != nil || ticket != want {
		t.Errorf("ticket %+v, %v, want %+v", ticket, err, want)
	}
	if st := counts(s); st != (StoreStats{Attached: 1}) {
		t.Errorf("stats %+v", st)
	}
	if _, err := s.Begin(t0, 1, Login{User: strings.Repeat("u", MaxUserLen+1)}); !errors.Is(err, ErrUserTooLong) {
		t.Errorf("long user: %v", err)
	}
	if _, err := s.Begin(t0, 1, Login{User: strings.Repeat("u", MaxUserLen)}); err != nil {
		t.Errorf("longest user: %v", err)
	}
}

func TestStoreRandomSource(t *testing.T) {
	if _, err := NewStore(StoreConfig{}); !errors.Is(err, ErrRandom) {
		t.Errorf("none: %v", err)
	}
	s, _ := NewStore(StoreConfig{Rand: zeroReader{}})
	is, err := s.Begin(t0, 1, Login{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Begin(t0, 2, Login{User: "bob"}); !errors.Is(err, ErrRandom) {
		t.Errorf("id of a living session: %v", err)
	}
	s.End(t0, is.ID)
	if _, err := s.Begin(t0, 2, Login{User: "bob"}); !errors.Is(err, ErrRandom) {
		t.Errorf("id of an ended session: %v", err)
	}
	s, _ = NewStore(StoreConfig{Rand: strings.NewReader("15 bytes, alas.")})
	if _, err := s.Begin(t0, 1, Login{User: "ann"}); !errors.Is(err, io.ErrUnexpectedEOF) || s.Stats().Attached != 0 {
		t.Errorf("short: %v", err)
	}
}

// Each row resumes with one of the tickets made so far: "0" is Begin's, "n" that of the row with n as its result.
func TestStoreRotation(t *testing.T) {
	type step struct {
		at     time.Duration
		use    string
		gives  string // name for the new ticket; "told": the last who resumed has tsuccessors
		serial uint32 // of the new ticket
		want   error
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"one after the other", []step{
			{time.Minute, "0", "1", 1, nil}, {2 * time.Minute, "1", "2", 2, nil}, {3 * time.Minute, "2", "3", 3, nil},
		}},
		{"old one after its grace", []step{
			{0, "0", "1", 1, nil}, {3 * testGrace, "0", "", 0, ErrReplayed}, {3 * testGrace, "1", "2", 2, nil},
		}},
		{"old one within its grace: the same rotation again", []step{
			{0, "0", "1", 1, nil}, {3*testGrace - 1e6, "0", "1b", 1, nil}, {time.Minute, "1b", "2", 2, nil},
		}},
		{"old one, when its answer has arrived", []step{
			{0, "0", "1", 1, nil}, {time.Second, "", "told", 0, nil}, {time.Second + testGrace - 1e6, "0", "1b", 1, nil},
			{time.Second + testGrace, "0", "", 0, ErrReplayed}, {time.Minute, "1", "2", 2, nil},
		}},
		{"an answer that arrives late prolongs nothing", []step{
			{0, "0", "1", 1, nil}, {3*testGrace - 1e6, "", "told", 0, nil}, {3 * testGrace, "0", "", 0, ErrReplayed},
		}},
		{"the lost answer was not lost: both are the newest", []step{
			{0, "0", "1", 1, nil}, {time.Second, "0", "1b", 1, nil}, {time.Minute, "1", "2", 2, nil},
			{time.Minute, "1b", "2b", 2, nil}, {2 * time.Minute, "1b", "", 0, ErrReplayed},
		}},
		{"use in grace does not prolong it", []step{
			{0, "0", "1", 1, nil}, {14 * time.Second, "0", "1b", 1, nil}, {16 * time.Second, "0", "", 0, ErrReplayed},
		}},
		{"grace ends when the successor is used", []step{
			{0, "0", "1", 1, nil}, {time.Second, "1", "2", 2, nil}, {time.Second, "0", "", 0, ErrReplayed},
			{time.Second, "1", "2b", 2, nil},
		}},
		{"expiry", []step{{testTTL, "0", "", 0, ErrExpired}}},
		{"just before expiry, and the new one counts from its issue", []step{
			{testTTL - 1e6, "0", "1", 1, nil}, {testTTL, "0", "", 0, ErrExpired},
			{2*testTTL - 2e6, "1", "2", 2, nil}, {2 * testTTL, "1", "", 0, ErrExpired},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, StoreConfig{})
			is := mustBegin(t, s, t0, 1, "ann")
			tickets := map[string]string{"0": is.Ticket}
			for i, st := range c.steps {
				if st.gives == "told" {
					s.Confirm(after(st.at), is.ID, Ref(i+1))
					s.Confirm(after(st.at), is.ID, 1) // somebody who has gone changes nothing
					continue
				}
				r, err := s.resume(after(st.at), tickets[st.use], Ref(i+2))
				if !errors.Is(err, st.want) {
					t.Fatalf("step %d: %v, want %v", i, err, st.want)
				}
				if err != nil {
					if !reflect.DeepEqual(r, Resumed{}) {
						t.Errorf("step %d: refused, with %+v", i, r)
					}
					continue
				}
				if !r.Known || r.User != "ann" || r.ID != is.ID || r.Expires != after(st.at+testTTL).UnixMilli() {
					t.Errorf("step %d: %+v", i, r)
				}
				if got := serialOf(t, s, r.Ticket); got != st.serial {
					t.Errorf("step %d: serial %d, want %d", i, got, st.serial)
				}
				tickets[st.gives] = r.Ticket
			}
		})
	}
}

func TestStoreNoGrace(t *testing.T) {
	s := newStore(t, StoreConfig{Grace: -1})
	is := mustBegin(t, s, t0, 1, "ann")
	if _, err := s.resume(t0, is.Ticket, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.resume(t0, is.Ticket, 3); !errors.Is(err, ErrReplayed) {
		t.Errorf("second use: %v", err)
	}
}

func TestStoreDetachAndResume(t *testing.T) {
	s := newStore(t, StoreConfig{})
	is := mustBegin(t, s, t0, 1, "ann")
	snap := Snapshot{SessionText: "level 3", Topics: []string{"news", "chat"}}
	if successor := s.Detach(after(time.Minute), is.ID, 2, Snapshot{SessionText: "stranger"}); successor != 0 {
		t.Errorf("stranger has successor %d", successor)
	}
	if successor := s.Detach(after(time.Minute), is.ID, 0, Snapshot{SessionText: "nobody"}); successor != 0 {
		t.Errorf("nobody has successor %d", successor)
	}
	if successor := s.Detach(after(time.Minute), is.ID, 1, snap); successor != 0 {
		t.Errorf("successor %d", successor)
	}
	if st := counts(s); st != (StoreStats{Detached: 1}) {
		t.Errorf("stats %+v", st)
	}
	r, err := s.resume(after(2*time.Minute), is.Ticket, 2)
	if err != nil || !reflect.DeepEqual(r.Snapshot, snap) || r.Holder != 0 || !r.Known {
		t.Errorf("resumed %+v, %v", r, err)
	}
	if s.Detach(after(3*time.Minute), is.ID, 1, Snapshot{SessionText: "late"}) != 0 || s.Stats().Attached != 1 {
		t.Error("a former holder detached the new one")
	}
	// An empty state is remembered as such.
	s.Detach(after(3*time.Minute), is.ID, 2, Snapshot{})
	r, err = s.resume(after(3*time.Minute), r.Ticket, 3)
	if err != nil || !r.Known || !reflect.DeepEqual(r.Snapshot, Snapshot{}) {
		t.Errorf("resumed %+v, %v", r, err)
	}
	// After the last ticket has expired there is nothing to come back to.
	s.Detach(after(time.Hour), is.ID, 3, snap)
	if st := counts(s); st != (StoreStats{}) {
		t.Errorf("stats %+v", st)
	}
}

// Two connections in one session: the state follows the newest, in whatever order closing and resuming come.
func TestStoreTakeover(t *testing.T) {
	text := func(s string) Snapshot { return Snapshot{SessionText: s} }
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *Store, is Issued, check func(string, any, any))
	}{
		{"older one is told and hands over", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			check("holder", r.Holder, Ref(1))
			check("state before hand-over", r.Snapshot, Snapshot{})
			_, ok := s.Handover(is.ID, 2)
			check("fetched too early", ok, false)
			check("successor", s.Detach(t0, is.ID, 1, text("one")), Ref(2))
			_, ok = s.Handover(is.ID, 1)
			check("fetched by the old", ok, false)
			snap, ok := s.Handover(is.ID, 2)
			check("handed over", snap, text("one"))
			check("handed over", ok, true)
			_, ok = s.Handover(is.ID, 2)
			check("twice", ok, false)
			check("old again", s.Detach(t0, is.ID, 1, text("again")), Ref(0))
			s.Detach(t0, is.ID, 2, text("two"))
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("two"))
		}},
		{"nothing to hand over", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			s.resume(t0, is.Ticket, 2)
			check("successor", s.Detach(t0, is.ID, 1, Snapshot{}), Ref(0))
		}},
		{"the same connection resumes", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 1)
			check("holder", r.Holder, Ref(0))
			s.Detach(t0, is.ID, 1, text("one"))
			r, _ = s.resume(t0, r.Ticket, 2)
			check("state", r.Snapshot, text("one"))
		}},
		{"third comes before the first has handed over", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			r, _ = s.resume(t0, r.Ticket, 3)
			check("holder", r.Holder, Ref(2))
			check("successor of the second, which never had the state", s.Detach(t0, is.ID, 2, text("two")), Ref(0))
			check("successor of the first", s.Detach(t0, is.ID, 1, text("one")), Ref(3))
			snap, _ := s.Handover(is.ID, 3)
			check("handed over", snap, text("one"))
		}},
		{"third comes before the second has fetched its state", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			s.Detach(t0, is.ID, 1, text("one"))
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("one"))
			check("holder", r.Holder, Ref(2))
			_, ok := s.Handover(is.ID, 2)
			check("fetched by the second", ok, false)
			check("successor of the second", s.Detach(t0, is.ID, 2, text("two")), Ref(0))
		}},
		{"new one closes before it fetches that", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			s.Detach(t0, is.ID, 1, text("one"))
			s.Detach(t0, is.ID, 2, Snapshot{})
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("one"))
		}},
		{"new one closes before the old", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			s.Detach(t0, is.ID, 2, Snapshot{})
			check("successor", s.Detach(t0, is.ID, 1, text("one")), Ref(0))
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("one"))
		}},
		{"third between the close of the new and of the old", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			s.Detach(t0, is.ID, 2, text("two"))
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("two"))
			check("holder", r.Holder, Ref(0))
			check("successor", s.Detach(t0, is.ID, 1, text("one")), Ref(3))
		}},
		{"superseded one takes the session back", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			r, _ := s.resume(t0, is.Ticket, 2)
			r, _ = s.resume(t0, r.Ticket, 1)
			check("holder", r.Holder, Ref(2))
			check("successor", s.Detach(t0, is.ID, 1, text("one")), Ref(0))
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("one"))
		}},
		{"never used: state given back", func(t *testing.T, s *Store, is Issued, check func(string, any, any)) {
			s.Detach(t0, is.ID, 1, text("one"))
			r, _ := s.resume(t0, is.Ticket, 2)
			s.Detach(t0, is.ID, 2, r.Snapshot)
			r, _ = s.resume(t0, r.Ticket, 3)
			check("state", r.Snapshot, text("one"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, StoreConfig{})
			c.run(t, s, mustBegin(t, s, t0, 1, "ann"), func(what string, got, want any) {
				t.Helper()
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %+v, want %+v", what, got, want)
				}
			})
		})
	}
}

func TestStoreEnd(t *testing.T) {
	s := newStore(t, StoreConfig{})
	is := mustBegin(t, s, t0, 1, "ann")
	r, err := s.resume(t0, is.Ticket, 2)
	if err != nil {
		t.Fatal(err)
	}
	if holder, known := s.End(after(time.Minute), is.ID); holder != 2 || !known {
		t.Errorf("holder %d, want 2; known %v", holder, known)
	}
	if holder, known := s.End(after(time.Minute), is.ID); holder != 0 || known {
		t.Errorf("the second time: holder %d, known %v", holder, known)
	}
	for _, ticket := range []string{is.Ticket, r.Ticket} {
		if _, err := s.resume(after(time.Minute), ticket, 3); !errors.Is(err, ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	}
	if s.Detach(after(time.Minute), is.ID, 2, Snapshot{SessionText: "x"}) != 0 {
		t.Error("an ended session has an successor")
	}
	s.Expire(after(testTTL-1), 100)
	if _, err := s.resume(after(testTTL-1e6), r.Ticket, 3); !errors.Is(err, ErrEnded) {
		t.Errorf("to the last moment: %v", err)
	}
	s.Expire(after(testTTL+time.Minute), 100)
	if st := counts(s); st != (StoreStats{}) {
		t.Errorf("remembered beyond the last expiry: %+v", st)
	}
}

// Former is whose state there is to wait for.
func TestStoreFormer(t *testing.T) {
	s := newStore(t, StoreConfig{})
	is := mustBegin(t, s, t0, 1, "ann")
	resume := func(ref, holder, former Ref) Resumed {
		t.Helper()
		r, err := s.resume(t0, is.Ticket, ref)
		if err != nil || r.Holder != holder || r.Former != former {
			t.Errorf("%d resumes: holder %d, former %d, %v; want %d and %d", ref, r.Holder, r.Former, err, holder, former)
		}
		return r
	}
	resume(2, 1, 1)
	s.TakeBack(t0, resume(3, 2, 1), 3) // 3 has superseded 2, which waits for 1, and vanishes
	resume(4, 0, 1)
	if next := s.Detach(t0, is.ID, 1, Snapshot{SessionText: "x"}); next != 4 {
		t.Errorf("the state is for %d, want 4", next)
	}
	if r := resume(5, 4, 0); r.Snapshot.SessionText != "x" {
		t.Errorf("5 gets %q, which 4 did not fetch", r.Snapshot.SessionText)
	}
}

// Who is sent away takes the session with him, unless another connection has it by now.
func TestStoreEndHeld(t *testing.T) {
	for _, tc := range []struct {
		name  string
		then  func(s *Store, r Resumed) // after connection 2 has resumed the session of 1
		ref   Ref
		ended bool
	}{
		{"the holder", func(*Store, Resumed) {}, 2, true},
		{"the former holder", func(*Store, Resumed) {}, 1, false},
		{"the former holder, and nobody holds it", func(s *Store, r Resumed) { s.TakeBack(t0, r, 2) }, 1, true},
		{"of a session that has ended", func(s *Store, r Resumed) { s.End(t0, r.ID) }, 1, true},
	} {
		s := newStore(t, StoreConfig{})
		is := mustBegin(t, s, t0, 1, "ann")
		r, err := s.resume(t0, is.Ticket, 2)
		if err != nil {
			t.Fatal(err)
		}
		tc.then(s, r)
		if got := s.EndHeld(t0, is.ID, tc.ref); got != tc.ended || s.Ended(is.ID) != tc.ended {
			t.Errorf("%s: ends it: %v, ended: %v, want %v", tc.name, got, s.Ended(is.ID), tc.ended)
		}
		if _, err := s.resume(t0, r.Ticket, 3); errors.Is(err, ErrEnded) != tc.ended {
			t.Errorf("%s: then %v", tc.name, err)
		}
	}
}

// A second Store with the same key stands for the gateway after a restart, or for another gateway.
func TestStoreUnknownTicket(t *testing.T) {
	first, second := newStore(t, StoreConfig{}), newStore(t, StoreConfig{})
	is := mustBegin(t, first, t0, 1, "ann")
	r1, _ := first.resume(t0, is.Ticket, 2)
	first.Detach(t0, is.ID, 2, Snapshot{SessionText: "level 3"})

	r2, err := second.resume(after(time.Minute), r1.Ticket, 7)
	if err != nil || r2.User != "ann" || r2.Known || r2.Holder != 0 || !reflect.DeepEqual(r2.Snapshot, Snapshot{Lost: true}) {
		t.Fatalf("%+v, %v, want the user only", r2, err)
	}
	if r2.ID != is.ID || serialOf(t, second, r2.Ticket) != 2 {
		t.Errorf("session %v, serial %d", r2.ID, serialOf(t, second, r2.Ticket))
	}
	for _, v := range []struct {
		name, ticket string
		at           time.Duration
		want         error
	}{
		{"older serial, at once", is.Ticket, time.Minute, ErrReplayed},
		{"the one used, within grace", r1.Ticket, time.Minute + 3*testGrace - 1e6, nil},
		{"the one used, after grace", r1.Ticket, time.Minute + 3*testGrace, ErrReplayed},
	} {
		if _, err := second.resume(after(v.at), v.ticket, 8); !errors.Is(err, v.want) {
			t.Errorf("%s: %v, want %v", v.name, err, v.want)
		}
	}
	// Back at the first gateway, which has seen serial 1 only: the state waits there, and 2 is ahead of it.
	r3, err := first.resume(after(2*time.Minute), r2.Ticket, 9)
	if err != nil || r3.Snapshot.SessionText != "level 3" || serialOf(t, first, r3.Ticket) != 3 {
		t.Errorf("%+v, %v", r3, err)
	}
	if _, err := first.resume(after(2*time.Minute), r1.Ticket, 9); !errors.Is(err, ErrReplayed) {
		t.Errorf("what the other gateway rotated out: %v", err)
	}
	// Revoked where it is not known.
	third := newStore(t, StoreConfig{})
	third.End(after(2*time.Minute), is.ID)
	if _, err := third.resume(after(3*time.Minute), r3.Ticket, 1); !errors.Is(err, ErrEnded) {
		t.Errorf("ended unknown: %v", err)
	}
}

// A ticket from a gateway with a longer TTL outlives ours: it must not become good again when ours would have expired.
func TestStoreLongerTTLElsewhere(t *testing.T) {
	elsewhere := newStore(t, StoreConfig{TTL: 2 * time.Hour})
	for _, v := range []struct {
		name string
		end  bool
		want error
	}{{"used", false, ErrReplayed}, {"used, then ended", true, ErrEnded}} {
		s := newStore(t, StoreConfig{TTL: testTTL})
		is := mustBegin(t, elsewhere, t0, 1, "ann")
		if _, err := s.resume(after(time.Minute), is.Ticket, 2); err != nil {
			t.Fatal(err)
		}
		if v.end {
			s.End(after(time.Minute), is.ID)
		}
		s.Expire(after(time.Hour), 100)
		if _, err := s.resume(after(time.Hour), is.Ticket, 3); !errors.Is(err, v.want) {
			t.Errorf("%s: %v, want %v", v.name, err, v.want)
		}
		s.Expire(after(2*time.Hour), 100)
		if st := counts(s); st != (StoreStats{}) {
			t.Errorf("%s: left over %+v", v.name, st)
		}
	}
}

// A login that failed behind Resume: the client knows the ticket it had, and no other.
func TestStoreTakeBack(t *testing.T) {
	state := Snapshot{SessionText: "level 3", Topics: []string{"news"}}
	begin := func(t *testing.T) (*Store, Issued) {
		s := newStore(t, StoreConfig{})
		is := mustBegin(t, s, t0, 1, "ann")
		return s, is
	}
	must := func(t *testing.T, s *Store, at time.Duration, ticket string, ref Ref) Resumed {
		t.Helper()
		r, err := s.resume(after(at), ticket, ref)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("nobody held it", func(t *testing.T) {
		s, is := begin(t)
		s.Detach(t0, is.ID, 1, state)
		for i := range 3 { // long behind every grace, the same ticket
			at := time.Duration(i) * time.Minute
			r := must(t, s, at, is.Ticket, 2)
			if !reflect.DeepEqual(r.Snapshot, state) {
				t.Errorf("round %d: %+v", i, r.Snapshot)
			}
			if successor := s.TakeBack(after(at), r, 2); successor != 0 || counts(s) != (StoreStats{Detached: 1}) {
				t.Errorf("round %d: successor %d, %+v", i, successor, s.Stats())
			}
		}
	})
	t.Run("the grace of the ticket before goes on", func(t *testing.T) {
		s, is := begin(t)
		first := must(t, s, 0, is.Ticket, 2)
		s.TakeBack(after(time.Second), must(t, s, time.Second, first.Ticket, 3), 3)
		must(t, s, 4*time.Second, is.Ticket, 4)
		if _, err := s.resume(after(3*testGrace), is.Ticket, 5); !errors.Is(err, ErrReplayed) {
			t.Errorf("behind its grace: %v", err)
		}
		must(t, s, time.Minute, first.Ticket, 6)
	})
	t.Run("within grace: somebody may have been told", func(t *testing.T) {
		s, is := begin(t)
		told := must(t, s, 0, is.Ticket, 2)
		s.TakeBack(after(time.Second), must(t, s, time.Second, is.Ticket, 3), 3)
		must(t, s, time.Minute, told.Ticket, 4)
	})
	t.Run("another has resumed since", func(t *testing.T) {
		s, is := begin(t)
		s.Detach(t0, is.ID, 1, state)
		r := must(t, s, 0, is.Ticket, 2)
		told := must(t, s, time.Second, is.Ticket, 3)
		if successor := s.TakeBack(after(time.Second), r, 2); successor != 3 {
			t.Errorf("successor %d, want 3", successor)
		}
		if got, ok := s.Handover(is.ID, 3); !ok || !reflect.DeepEqual(got, state) {
			t.Errorf("handed over %+v, %v", got, ok)
		}
		must(t, s, time.Minute, told.Ticket, 4)
	})
	t.Run("the older holder's state comes later", func(t *testing.T) {
		s, is := begin(t)
		r := must(t, s, 0, is.Ticket, 2)
		s.TakeBack(t0, r, 2)
		if successor := s.Detach(t0, is.ID, 1, state); successor != 0 {
			t.Errorf("successor %d", successor)
		}
		if r := must(t, s, time.Minute, is.Ticket, 3); !reflect.DeepEqual(r.Snapshot, state) || r.Holder != 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("not known here", func(t *testing.T) {
		_, is := begin(t)
		s := newStore(t, StoreConfig{})
		r := must(t, s, 0, is.Ticket, 2)
		s.TakeBack(t0, r, 2)
		must(t, s, time.Minute, is.Ticket, 3)
	})
	t.Run("ended meanwhile", func(t *testing.T) {
		s, is := begin(t)
		r := must(t, s, 0, is.Ticket, 2)
		s.End(t0, is.ID)
		s.TakeBack(t0, r, 2)
		if _, err := s.resume(t0, is.Ticket, 3); !errors.Is(err, ErrEnded) {
			t.Errorf("%v", err)
		}
	})
}

// No ticket outlives its login, nor the session's greatest age, however often it is renewed.
func TestStoreTicketsEnd(t *testing.T) {
	const ttl, age, until = 30 * time.Minute, 2 * time.Hour, 70 * time.Minute
	for _, tc := range []struct {
		name  string
		age   time.Duration
		until time.Duration
		end   time.Duration // of the last ticket; 0: there is none
	}{
		{"without end", 0, 0, 0},
		{"greatest age", age, 0, age},
		{"end of the login", 0, until, until},
		{"the earlier of both", age, until, until},
		{"the earlier of both, the other way", until, age, until},
	} {
		s := newStore(t, StoreConfig{TTL: ttl, MaxAge: tc.age})
		l := Login{User: "ann", Proof: 7}
		if tc.until > 0 {
			l.Until = after(tc.until).UnixMilli()
		}
		is, err := s.Begin(t0, 1, l)
		if err != nil {
			t.Fatal(err)
		}
		var at time.Duration
		for ; at < 4*time.Hour; at += 20 * time.Minute {
			r, err := s.resume(after(at), is.Ticket, 1)
			if err != nil {
				if !errors.Is(err, ErrExpired) || tc.end == 0 || at < tc.end {
					t.Errorf("%s: after %v: %v", tc.name, at, err)
				}
				break
			}
			want := after(at + ttl)
			if tc.end > 0 && after(tc.end).Before(want) {
				want = after(tc.end)
			}
			if r.Expires != want.UnixMilli() || r.Login != l {
				t.Errorf("%s: after %v: expires %v, want %v; %+v", tc.name, at, time.UnixMilli(r.Expires).Sub(t0), want.Sub(t0), r.Login)
			}
			is = r.Issued
		}
		if tc.end > 0 && at >= tc.end+20*time.Minute {
			t.Errorf("%s: good after %v", tc.name, at)
		}
		// A gateway that has no record of it holds it to the same.
		other := newStore(t, StoreConfig{TTL: ttl, MaxAge: tc.age})
		if _, err := other.resume(after(4*time.Hour), is.Ticket, 1); tc.end > 0 && !errors.Is(err, ErrExpired) {
			t.Errorf("%s: elsewhere: %v", tc.name, err)
		}
	}
}

// A greatest age that was set later holds for tickets from before, too; a login that is over has no session.
func TestStoreTicketsEndEarlier(t *testing.T) {
	is := mustBegin(t, newStore(t, StoreConfig{TTL: time.Hour}), t0, 1, "ann")
	s := newStore(t, StoreConfig{TTL: time.Hour, MaxAge: time.Minute})
	if _, err := s.resume(after(time.Minute-time.Millisecond), is.Ticket, 1); err != nil {
		t.Error(err)
	}
	if _, err := s.resume(after(time.Minute), is.Ticket, 1); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	if _, err := s.Begin(t0, 1, Login{User: "ann", Until: t0.UnixMilli()}); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
}
