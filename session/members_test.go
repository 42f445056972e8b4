package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

func (m *Members) sorted(user string) []Ref {
	list := m.Append(nil, user)
	slices.Sort(list)
	return list
}

func TestMembers(t *testing.T) {
	m := NewMembers()
	if m.Remove("ann", 1) || m.Append(nil, "ann") != nil {
		t.Error("an empty index knows somebody")
	}
	m.Add("ann", 1)
	m.Add("ann", 1) // once more changes nothing
	m.Add("bob", 2)
	m.Add("ann", 3)
	m.Add("ann", 3)
	if got := m.sorted("ann"); !slices.Equal(got, []Ref{1, 3}) || m.Len() != 3 {
		t.Errorf("ann's %v, %d in all", got, m.Len())
	}
	if m.Remove("ann", 2) || m.Remove("bob", 1) {
		t.Error("removed another's connection")
	}
	if !m.Remove("ann", 1) || m.Remove("ann", 1) {
		t.Error("not removed exactly once")
	}
	if got := m.Append([]Ref{9}, "ann"); !slices.Equal(got, []Ref{9, 3}) {
		t.Errorf("appended: %v", got)
	}
	if !m.Remove("ann", 3) || !m.Remove("bob", 2) || m.Len() != 0 {
		t.Errorf("%d left", m.Len())
	}
}

// Against a map of sets, through growth, crowds of every size, and back to nothing.
func TestMembersModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := NewMembers()
	model := make(map[string]map[Ref]bool)
	total := 0
	change := func(add bool) {
		user := fmt.Sprint("user-", r.IntN(3000))
		if r.IntN(4) == 0 {
			user = fmt.Sprint("many-", r.IntN(3))
		}
		set := model[user]
		if add {
			ref := Ref(r.IntN(200) + 1)
			m.Add(user, ref)
			if set == nil {
				set = make(map[Ref]bool)
				model[user] = set
			}
			if !set[ref] {
				set[ref] = true
				total++
			}
			return
		}
		ref := Ref(r.IntN(200) + 1)
		for some := range set {
			ref = some
			break
		}
		if got := m.Remove(user, ref); got != set[ref] {
			t.Fatalf("Remove(%s, %d) = %v", user, ref, got)
		}
		if set[ref] {
			delete(set, ref)
			total--
		}
	}
	check := func() {
		t.Helper()
		if m.Len() != total {
			t.Fatalf("%d connections, want %d", m.Len(), total)
		}
		for user, set := range model {
			if got, want := m.sorted(user), slices.Sorted(maps.Keys(set)); !slices.Equal(got, want) {
				t.Fatalf("%s has %v, want %v", user, got, want)
			}
		}
	}
	for _, adds := range []int{90, 50, 10, 70, 5} { // of a hundred changes
		for range 20_000 {
			change(r.IntN(100) < adds)
		}
		check()
	}
	for user, set := range model {
		for ref := range set {
			m.Remove(user, ref)
		}
	}
	for i := range m.shards {
		if s := &m.shards[i]; s.used != 0 || len(s.more) != 0 || len(s.tags) > minSlots {
			t.Fatalf("shard %d: %d used, %d crowds, %d slots", i, s.used, len(s.more), len(s.tags))
		}
	}
}

func TestMembersConcurrent(t *testing.T) {
	m := NewMembers()
	inParallel(8, func(i int) {
		for j := range 500 {
			user, ref := fmt.Sprint("user-", j%7), Ref(i*1000+j+1)
			m.Add(user, ref)
			if !slices.Contains(m.Append(nil, user), ref) || !m.Remove(user, ref) {
				t.Error("lost a connection")
			}
		}
	})
	if m.Len() != 0 {
		t.Errorf("%d left", m.Len())
	}
}

// The price of being found by user, for every connection that is: at no size more than 30 bytes.
func TestMembersMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory counts")
	}
	for _, n := range []int{60_000, 80_000, 100_000, 120_000, 200_000} {
		before := liveBytes()
		m := NewMembers()
		for i := range n {
			m.Add(fmt.Sprint("user-", i), Ref(i+1))
		}
		per := float64(liveBytes()-before) / float64(n)
		runtime.KeepAlive(m)
		if per > 30 {
			t.Errorf("%d users: %.1f bytes each", n, per)
		}
		t.Logf("%d users: %.1f bytes each", n, per)
	}
}

func TestMembersAllocateNothing(t *testing.T) {
	m := NewMembers()
	m.Add("ann", 1)
	m.Add("bob", 1)
	m.Add("bob", 2)
	room := make([]Ref, 0, 8)
	wantNoAllocs(t, "Append", func() { room = m.Append(room[:0], "ann") })
	wantNoAllocs(t, "Append of several", func() { room = m.Append(room[:0], "bob") })
	wantNoAllocs(t, "Add and Remove", func() { m.Add("carl", 3); m.Remove("carl", 3) })
}
