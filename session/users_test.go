package session

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
)

func TestUsersLogin(t *testing.T) {
	u := NewUsers()
	step := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	type claim struct {
		old Ref
		ok  bool
	}
	// Arrivals are in the order of the references, but for what "early" claims.
	claimed := func(ref Ref) claim { old, ok := u.Claim("ann", ref, 10*ref); return claim{old, ok} }
	early := func(ref Ref) claim { old, ok := u.Claim("ann", ref, 1); return claim{old, ok} }

	step("first claim", claimed(1), claim{0, true})
	step("bound while claimed", u.Get("ann"), Ref(0))
	step("claim of an earlier arrival", early(2), claim{0, false})
	step("the same claim again", claimed(1), claim{0, true})
	step("commit without claim", u.Commit("ann", 2), false)
	step("commit", u.Commit("ann", 1), true)
	step("commit twice", u.Commit("ann", 1), false)
	step("bound", u.Get("ann"), Ref(1))
	step("users", u.Len(), 1)

	step("second login", claimed(2), claim{1, true})
	step("old still bound", u.Get("ann"), Ref(1))
	step("abort by a stranger", u.Abort("ann", 3), false)
	step("abort", u.Abort("ann", 2), true)
	step("old still bound", u.Get("ann"), Ref(1))

	step("third login", claimed(3), claim{1, true})
	step("old leaves", u.Release("ann", 1), true)
	step("users, one claimed", u.Len(), 0)
	step("claim survives", early(4), claim{0, false})
	step("commit after release", u.Commit("ann", 3), true)
	step("late release of the old", u.Release("ann", 1), false)
	step("bound", u.Get("ann"), Ref(3))

	step("fourth login", claimed(4), claim{3, true})
	step("a later arrival takes the claim", claimed(5), claim{3, true})
	step("commit without it", u.Commit("ann", 4), false)
	step("abort without it", u.Abort("ann", 4), false)
	step("abort of the later one", u.Abort("ann", 5), true)
	step("fourth login again", claimed(4), claim{3, true})
	step("commit", u.Commit("ann", 4), true)
	step("kicked connection closes", u.Release("ann", 3), false)
	step("bound", u.Get("ann"), Ref(4))
	step("release", u.Release("ann", 4), true)
	step("release of nobody", u.Release("ann", 0), false)
	step("abort of nobody", u.Abort("ann", 0), false)
	step("users", u.Len(), 0)
	for i := range u.shards {
		if s := &u.shards[i]; len(s.bound)+len(s.claims) != 0 {
			t.Error("an entry stayed behind")
		}
	}
}

// In each round many connections log the same user in at once: the one that came last wins, whatever the order of the
// claims, and sees the winner of the round before as the older connection.
func TestUsersRacingClaims(t *testing.T) {
	u := NewUsers()
	var bound Ref
	for round := range 300 {
		const racers = 16
		ref := func(i int) Ref { return Ref(round*racers + i + 1) }
		inParallel(racers, func(i int) {
			old, ok := u.Claim("ann", ref(i), uint64((i+round)%racers))
			if ok && old != bound || !ok && old != 0 {
				t.Errorf("round %d: ok %v, old connection %d, want %d", round, ok, old, bound)
			}
		})
		last := racers - 1 - round%racers
		inParallel(racers, func(i int) { // the losers' clean-up is harmless
			if i != last && (u.Abort("ann", ref(i)) || u.Commit("ann", ref(i))) {
				t.Errorf("round %d: a loser ended the winner's claim", round)
			}
		})
		winner := ref(last)
		switch round % 3 {
		case 0:
			if !u.Abort("ann", winner) {
				t.Fatal("winner could not abort")
			}
		case 1:
			u.Release("ann", bound)
			fallthrough
		case 2:
			if !u.Commit("ann", winner) || u.Get("ann") != winner {
				t.Fatal("winner could not commit")
			}
			bound = winner
		}
	}
}

// Logins, kicks and closes of a few users from many goroutines: the binding is never lost to a kicked connection.
func TestUsersConcurrentLogins(t *testing.T) {
	u := NewUsers()
	var next atomic.Uint64
	inParallel(8, func(i int) {
		for j := range 500 {
			user := fmt.Sprint("user", (i+j)%3)
			ref := next.Add(1)
			old, ok := u.Claim(user, ref, 0)
			if !ok {
				continue
			}
			if j%5 == 0 {
				u.Abort(user, ref)
				continue
			}
			if !u.Commit(user, ref) {
				t.Error("commit of a good claim failed")
			}
			if old != 0 && u.Release(user, old) {
				t.Error("kicked connection released its successor")
			}
			if j%7 == 0 {
				u.Release(user, ref)
			}
		}
	})
	for i := range 3 {
		user := fmt.Sprint("user", i)
		if ref := u.Get(user); ref != 0 && !u.Release(user, ref) {
			t.Error("bound connection could not leave")
		}
	}
	if u.Len() != 0 {
		t.Errorf("%d users left", u.Len())
	}
}

func TestUsersGetAllocatesNothing(t *testing.T) {
	u := NewUsers()
	u.Claim("ann", 1, 1)
	u.Commit("ann", 1)
	wantNoAllocs(t, "Get", func() { u.Get("ann") })
}

func BenchmarkUsersMemory(b *testing.B) {
	const n = 1_000_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("user-", i)
	}
	for b.Loop() {
		before := liveBytes()
		u := NewUsers()
		for i, name := range names {
			u.Claim(name, Ref(i+1), 0)
			u.Commit(name, Ref(i+1))
		}
		b.ReportMetric(float64(liveBytes()-before)/n, "B/entry")
		runtime.KeepAlive(u)
	}
	runtime.KeepAlive(names)
}
