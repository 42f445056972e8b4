package session

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"
)

// Of a user's sessions without a connection the one goes that has waited longest, and nobody else's.
func TestStoreMaxPerUser(t *testing.T) {
	for _, v := range []struct {
		name   string
		max    int
		users  []string // of the sessions, detached in this order; they expire in the opposite one
		resume []int    // and then these are taken up again and detached anew
		gone   []int
	}{
		{"as many as may be", 2, []string{"ann", "ann"}, nil, nil},
		{"one more", 2, []string{"ann", "ann", "ann"}, nil, []int{0}},
		{"one at a time", 1, []string{"ann", "ann", "ann"}, nil, []int{0, 1}},
		{"each user has his own", 1, []string{"ann", "ben", "ann", "cyd", "ben"}, nil, []int{0, 1}},
		{"one that comes and goes is the newest", 2, []string{"ann", "ann"}, []int{0}, nil},
		{"and the other one goes", 3, []string{"ann", "ann", "ann", "ann"}, []int{1}, []int{0}},
		{"anonymous clients are no user", 1, []string{"", "", ""}, nil, nil},
		{"any number", 0, []string{"ann", "ann", "ann"}, nil, nil},
		{"any number, too", -1, []string{"ann", "ann", "ann"}, nil, nil},
	} {
		t.Run(v.name, func(t *testing.T) {
			var told []string
			s := newStore(t, StoreConfig{MaxPerUser: v.max, OverUser: func(user string) { told = append(told, user) }})
			tickets := make([]Issued, len(v.users))
			for i := range v.users { // all at once: attached ones do not count
				tickets[i] = mustBegin(t, s, after(time.Duration(-i)*time.Second), Ref(i+1), v.users[i])
			}
			for i, is := range tickets {
				s.Detach(t0, is.ID, Ref(i+1), Snapshot{SessionText: "text"})
			}
			for _, i := range v.resume {
				r, err := s.resume(t0, tickets[i].Ticket, 100)
				if err != nil || !r.Known {
					t.Fatalf("session %d: %+v, %v", i, r, err)
				}
				tickets[i] = r.Issued
				s.Detach(t0, tickets[i].ID, 100, Snapshot{SessionText: "text"})
			}
			var want []string
			for _, i := range v.gone {
				want = append(want, v.users[i])
			}
			kept := len(v.users) - len(v.gone)
			if st := s.Stats(); st.OverUser != uint64(len(v.gone)) || st.Evicted+st.Trimmed != 0 || st.Detached != kept || !slices.Equal(told, want) {
				t.Errorf("%+v, told of %q, want %q", st, told, want)
			}
			for i, is := range tickets {
				gone := slices.Contains(v.gone, i)
				r, err := s.resume(t0, is.Ticket, Ref(200+i))
				if err != nil || r.User != v.users[i] || r.Known == gone || (r.Snapshot.SessionText == "") != gone {
					t.Errorf("session %d: %+v, %v, gone: %v", i, r, err, gone)
				}
			}
			if st := s.Stats(); st.Waiting != 0 || st.Bytes != 0 {
				t.Errorf("%d bytes of an index and %d of states are left", st.Waiting, st.Bytes)
			}
		})
	}
}

// A smaller bound holds from the user's next detached session on, a larger one at once.
func TestStoreSetMaxPerUser(t *testing.T) {
	s := newStore(t, StoreConfig{})
	detach := func(user string) {
		is := mustBegin(t, s, t0, 1, user)
		s.Detach(t0, is.ID, 1, Snapshot{})
	}
	for range 5 {
		detach("ann")
	}
	for _, v := range []struct {
		max  int
		user string
		want int // sessions in all
	}{{2, "ben", 6}, {2, "ann", 3}, {4, "ann", 4}, {-1, "ann", 5}, {0, "ann", 6}, {1, "ann", 2}} {
		s.SetMaxPerUser(v.max)
		detach(v.user)
		if st := s.Stats(); st.Detached != v.want {
			t.Errorf("at most %d, one more of %s: %d detached, want %d", v.max, v.user, st.Detached, v.want)
		}
	}
}

// A ticket that the client was not told of counts like any other session that is left behind.
func TestStoreTakeBackPerUser(t *testing.T) {
	s := newStore(t, StoreConfig{MaxPerUser: 1})
	first, second := mustBegin(t, s, t0, 1, "ann"), mustBegin(t, s, t0, 2, "ann")
	s.Detach(t0, first.ID, 1, Snapshot{})
	r, err := s.resume(t0, first.Ticket, 3)
	if err != nil {
		t.Fatal(err)
	}
	s.Detach(t0, second.ID, 2, Snapshot{})
	s.TakeBack(t0, r, 3)
	if r, err := s.resume(t0, second.Ticket, 4); err != nil || r.Known {
		t.Errorf("the older one: %+v, %v", r, err)
	}
	if r, err := s.resume(t0, first.Ticket, 5); err != nil || !r.Known {
		t.Errorf("the newer one: %+v, %v", r, err)
	}
}

// checkWaiting compares the index with the records, and each user's with want if that is not nil.
func checkWaiting(t *testing.T, s *Store, want map[string][]SessionID) {
	t.Helper()
	detached := make(map[*record]bool)
	for i := range s.shards {
		for _, r := range s.shards[i].detached {
			if r.user != "" {
				detached[r] = true
			}
		}
	}
	got, sum := make(map[string][]SessionID), int64(0)
	for i := range s.waiting.shards {
		sh := &s.waiting.shards[i]
		for user, r := range sh.one {
			got[user] = append(got[user], r.id)
			sum += oneBytes
			if !detached[r] || r.user != user {
				t.Fatalf("%s has a session that is not detached, or not his", user)
			}
		}
		places := 0
		for user, l := range sh.more {
			sum += lineBytes
			var older *place
			for p := l.oldest; p != nil; older, p = p, p.newer {
				got[user] = append(got[user], p.r.id)
				sum += placeBytes
				places++
				if !detached[p.r] || p.r.user != user || p.older != older || sh.places[p.r] != p {
					t.Fatalf("%s has a session that is not detached, not his, or out of line", user)
				}
			}
			if l.newest != older || l.n != len(got[user]) || l.n < 2 {
				t.Fatalf("%s has %d sessions, %d counted", user, len(got[user]), l.n)
			}
		}
		if len(sh.places) != places {
			t.Fatalf("%d places of %d sessions", len(sh.places), places)
		}
	}
	n := 0
	for _, ids := range got {
		n += len(ids)
	}
	if n != len(detached) || s.WaitingBytes() != sum {
		t.Fatalf("%d sessions of users wait, %d are found; %d bytes, counted %d", len(detached), n, sum, s.WaitingBytes())
	}
	if want != nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("waiting: %v, want %v", got, want)
	}
}

// The index and its bound are those of a model made of maps and slices, whatever becomes of the sessions.
func TestStorePerUserModel(t *testing.T) {
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := newStore(t, StoreConfig{MaxRecords: 1 << 14}) // two shards: room for all
		type held struct {
			Issued
			user     string
			ref      Ref
			detached bool
		}
		var live []*held
		model := make(map[string][]SessionID) // oldest first
		most, evicted := 0, uint64(0)
		leave := func(h *held) {
			if h.user == "" || !h.detached {
				return
			}
			if i := slices.Index(model[h.user], h.ID); i >= 0 {
				model[h.user] = slices.Delete(model[h.user], i, i+1)
			}
			if len(model[h.user]) == 0 {
				delete(model, h.user)
			}
		}
		for step := range 2000 {
			now := after(time.Duration(step) * time.Second)
			live = slices.DeleteFunc(live, func(h *held) bool { // what the store is about to expire
				if h.Expires > now.UnixMilli() {
					return false
				}
				leave(h)
				return true
			})
			for s.Expire(now, 100) > 0 {
			}
			if len(live) < 5 || random.IntN(3) == 0 {
				user := []string{"", "ann", "ben", fmt.Sprint("user", step)}[random.IntN(4)]
				ref := Ref(step + 1)
				live = append(live, &held{Issued: mustBegin(t, s, now, ref, user), user: user, ref: ref})
				continue
			}
			i := random.IntN(len(live))
			h := live[i]
			switch random.IntN(8) {
			case 0, 1, 2, 3:
				if h.detached {
					break
				}
				s.Detach(now, h.ID, h.ref, Snapshot{SessionText: "x"})
				if h.detached = true; h.user == "" {
					break
				}
				line := append(model[h.user], h.ID)
				for most > 0 && len(line) > most {
					gone := line[0]
					line = line[1:]
					evicted++
					live = slices.DeleteFunc(live, func(h *held) bool { return h.ID == gone })
				}
				model[h.user] = line
			case 4, 5:
				r, err := s.resume(now, h.Ticket, Ref(step+1))
				if err != nil || !r.Known {
					t.Fatalf("seed %d, step %d: %+v, %v", seed, step, r, err)
				}
				leave(h)
				h.Issued, h.ref, h.detached = r.Issued, Ref(step+1), false
			case 6:
				s.End(now, h.ID)
				leave(h)
				live = slices.Delete(live, i, i+1)
			case 7:
				most = random.IntN(5)
				s.SetMaxPerUser(most)
			}
			checkWaiting(t, s, model)
			if st := s.Stats(); st.OverUser != evicted || st.Attached+st.Detached != len(live) {
				t.Fatalf("seed %d, step %d: %+v, want %d evicted and %d left", seed, step, st, evicted, len(live))
			}
		}
		if evicted == 0 {
			t.Errorf("seed %d: no session was one too many", seed)
		}
	}
}

// Sessions of a few users come and go everywhere at once, in many shards: the bound holds and nobody waits for another.
func TestStorePerUserConcurrent(t *testing.T) {
	const most = 3
	s := newStore(t, StoreConfig{MaxRecords: 1 << 16, MaxPerUser: most})
	inParallel(8, func(g int) {
		random := rand.New(rand.NewPCG(uint64(g), 1))
		for i := range 2000 {
			ref := Ref(g*100_000 + i*2 + 1)
			is, err := s.Begin(t0, ref, Login{User: []string{"ann", "ben"}[random.IntN(2)]})
			if err != nil {
				t.Error(err)
			}
			s.Detach(t0, is.ID, ref, Snapshot{SessionText: "x"})
			switch random.IntN(4) {
			case 0:
				if _, err := s.resume(t0, is.Ticket, ref+1); err != nil {
					t.Error(err)
				}
				s.Detach(t0, is.ID, ref+1, Snapshot{})
			case 1:
				s.End(t0, is.ID)
			case 2:
				if i%16 == 0 {
					s.Trim(8)
				}
			}
		}
	})
	checkWaiting(t, s, nil)
	if st := s.Stats(); st.Detached > 2*most || st.OverUser == 0 {
		t.Errorf("%+v, want %d sessions a user at most", st, most)
	}
	s.Expire(after(time.Hour), 1<<20)
	if st := s.Stats(); st.Detached+st.Attached != 0 || st.Waiting != 0 {
		t.Errorf("left over: %+v", st)
	}
}

// What the index takes is what it says, whether users have one session or many, and comes back.
func TestStoreWaitingMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
	const n = 200_000
	for _, each := range []int{1, 2, 60} {
		w := newWaiting()
		records := make([]record, n)
		for i := range records {
			records[i].user = fmt.Sprint("user-", i/each)
		}
		before := liveBytes()
		for i := range records {
			w.add(&records[i])
		}
		grown, says := int64(liveBytes()-before), w.bytes.Load()
		t.Logf("%d a user: %d B a session, %d counted", each, grown/n, says/n)
		if grown > says*3/2 || grown < says*2/3 { // a map has room for more
			t.Errorf("%d a user: the heap has grown by %d bytes, the count says %d", each, grown, says)
		}
		for i := range records {
			w.remove(&records[i])
		}
		if left := int64(liveBytes()) - int64(before); w.bytes.Load() != 0 || left > shardCount*48<<10 { // small maps stay
			t.Errorf("%d a user: %d bytes stay, %d counted", each, left, w.bytes.Load())
		}
		runtime.KeepAlive(records)
	}
}

// Whoever has one session pays for no line.
func TestStoreOneSessionAllocs(t *testing.T) {
	w := newWaiting()
	r := &record{user: "ann"}
	w.add(r)
	w.remove(r)
	wantNoAllocs(t, "one session comes and goes", func() {
		w.add(r)
		w.remove(r)
	})
}

func BenchmarkStoreDetachResume(b *testing.B) {
	for _, user := range []string{"", "alice"} {
		b.Run(fmt.Sprintf("user=%q", user), func(b *testing.B) {
			s := newStore(b, StoreConfig{MaxPerUser: 64})
			is := mustBegin(b, s, t0, 1, user)
			b.ReportAllocs()
			for b.Loop() {
				s.Detach(t0, is.ID, 1, Snapshot{})
				r, err := s.resume(t0, is.Ticket, 1)
				if err != nil {
					b.Fatal(err)
				}
				is = r.Issued
			}
		})
	}
}
