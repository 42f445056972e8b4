package topic

import "testing"

// TestRestand: what publishers are told of the congested of a topic on a loop, after one has ceased to
// be and the others have fallen behind.
func TestRestand(t *testing.T) {
	dir := NewDirectory(2)
	members := make([]Member, 3)
	s := NewShard(dir, 1, func(slot uint32) *Member { return &members[slot] })
	a, _ := s.Subscribe(&members[0], 0, []byte("a"), 0, Congested, false)
	s.Subscribe(&members[1], 1, []byte("a"), 0, Congested, false)
	b, _ := s.Subscribe(&members[1], 1, []byte("b"), 0, Congested, false)
	quiet, _ := s.Subscribe(&members[2], 2, []byte("quiet"), 0, Flowing, false)
	stands := map[*Member][2]int64{&members[0]: {50, 100_000}, &members[1]: {70, 300_000}}
	restand := func() {
		s.Restand(func(yield func(m *Member, at, behind int64)) {
			for m, is := range stands {
				yield(m, is[0], is[1])
			}
		})
	}
	check := func(when string, k Key, want Pressed) {
		t.Helper()
		if got := dir.Pressure(k, 1); got != want {
			t.Errorf("%s: %+v, want %+v", when, got, want)
		}
		if got := dir.Pressure(k, 0); got != (Pressed{}) {
			t.Errorf("%s: the other loop has %+v", when, got)
		}
	}
	restand()
	check("two of a", a, Pressed{Congested: 2, Standing: 70, Behind: 200_000})
	check("one of b", b, Pressed{Congested: 1, Standing: 70, Behind: 300_000})
	s.Fell(a, 5_000)
	s.Fell(quiet, 5_000) // nobody of it is congested
	check("a message to a", a, Pressed{Congested: 2, Standing: 70, Behind: 205_000})
	check("none to b", b, Pressed{Congested: 1, Standing: 70, Behind: 300_000})
	check("nobody of it is congested", quiet, Pressed{})

	s.Press(&members[1], Congested, Flowing)
	delete(stands, &members[1])
	s.Progressed(&members[0], 90)
	restand()
	check("one of a is left", a, Pressed{Congested: 1, Progress: 90, Standing: 50, Behind: 100_000})
	if got := s.Progress(&members[0]); got != 90 {
		t.Errorf("progress %d, want 90", got)
	}
}
