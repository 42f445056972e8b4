package pace

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestConstant(t *testing.T) {
	s := Constant(1000, 10*time.Second)
	if s.Total() != 10_000 || s.Span() != 10*time.Second {
		t.Fatalf("total %d, span %v", s.Total(), s.Span())
	}
	for _, tt := range []struct {
		at   time.Duration
		want int64
	}{
		{-1, 0}, {0, 1}, {999 * time.Microsecond, 1}, {time.Millisecond, 2},
		{time.Second, 1001}, {10 * time.Second, 10_000}, {time.Hour, 10_000},
	} {
		if n := s.Count(tt.at); n != tt.want {
			t.Errorf("Count(%v) = %d, want %d", tt.at, n, tt.want)
		}
	}
	if d, ok := s.Due(1500); !ok || d != 1500*time.Millisecond {
		t.Errorf("Due(1500) = %v %v", d, ok)
	}
	for _, k := range []int64{-1, 10_000} {
		if _, ok := s.Due(k); ok {
			t.Errorf("Due(%d) exists", k)
		}
	}
}

func TestNothing(t *testing.T) {
	for name, s := range map[string]Schedule{"zero": {}, "rate 0": Constant(0, time.Second)} {
		if _, ok := s.Due(0); ok || s.Count(time.Hour) != 0 || s.Total() != 0 {
			t.Errorf("%s: something is due", name)
		}
	}
}

// Count and Due must be each other's inverse, whatever the stages, or events get lost or doubled.
func TestCountInvertsDue(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	schedules := []Schedule{
		New(Stage{10 * time.Second, 1000, 1000}, Stage{30 * time.Second, 20000, 20000}),
		New(Stage{10 * time.Second, 0, 1000}, Stage{5 * time.Second, 1000, 0}),
		New(Stage{time.Second, 0, 0}, Stage{time.Second, 7, 7}),
		New(Stage{time.Second, 0.5, 0.5}, Stage{time.Second, 0.5, 3}),
	}
	for i, s := range schedules {
		last := time.Duration(-1)
		for range 2000 {
			k := rng.Int64N(s.Total())
			due, ok := s.Due(k)
			if !ok || due > s.Span() {
				t.Fatalf("schedule %d: Due(%d) = %v %v", i, k, due, ok)
			}
			if n := s.Count(due); n < k+1 {
				t.Fatalf("schedule %d: event %d is due at %v, yet only %d are", i, k, due, n)
			}
			if due > time.Microsecond {
				if n := s.Count(due - time.Microsecond); n > k && s.stages[0].To < 10_000 {
					t.Fatalf("schedule %d: event %d is due at %v, but %d are before", i, k, due, n)
				}
			}
		}
		for k := range min(s.Total(), 20_000) {
			due, _ := s.Due(k)
			if due < last {
				t.Fatalf("schedule %d: event %d is due before its predecessor", i, k)
			}
			last = due
		}
	}
}

// A caller that was away for a while owes exactly what came due meanwhile: due times do not move.
func TestLateCallerOwesTheSameEvents(t *testing.T) {
	s := Constant(100, 10*time.Second)
	if n := s.Count(3*time.Second) - s.Count(time.Second); n != 200 {
		t.Errorf("owes %d events after 2 s away, want 200", n)
	}
	if d, _ := s.Due(150); d != 1500*time.Millisecond {
		t.Errorf("Due(150) = %v", d)
	}
}

func TestParse(t *testing.T) {
	got, err := Parse("10s:1000, 30s:20000,1m:0-5e3")
	want := []Stage{{10 * time.Second, 1000, 1000}, {30 * time.Second, 20000, 20000}, {time.Minute, 0, 5000}}
	if err != nil || len(got) != len(want) {
		t.Fatal(got, err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("stage %d: %+v", i, got[i])
		}
	}
	for _, bad := range []string{"", "10s", "10s:", "ten:5", "10s:-5", "0s:5", "-1s:5", "10s:5,", "10s:NaN", "10s:5-", "10s:Inf"} {
		if st, err := Parse(bad); err == nil {
			t.Errorf("%q: accepted as %v", bad, st)
		}
	}
}
