package gateway

import (
	"fmt"
	"testing"
	"time"
)

// A token that was good is known for a day at least and two at most, and as far as there is room.
func TestKnownTokens(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	k := newKnownTokens()
	if k.known("ann", start) {
		t.Error("known before it was noted")
	}
	k.note("ann", start)
	for _, tc := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {knownFor - 1, true}, {knownFor, true}, {2*knownFor - 1, true}, {2 * knownFor, false}} {
		if got := k.known("ann", start.Add(tc.after)); got != tc.want {
			t.Errorf("after %v: %v", tc.after, got)
		}
	}
	k.note("ben", start.Add(3*knownFor))
	if k.known("ben", start.Add(6*knownFor)) {
		t.Error("known although nobody has asked for days")
	}
}

// Two sets of maxKnown are what is kept; the newest maxKnown are always known.
func TestKnownTokensAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	k := newKnownTokens()
	for i := range 3 * maxKnown {
		k.note(fmt.Sprint(i), now)
	}
	if n := len(k.now) + len(k.before); n > 2*maxKnown {
		t.Errorf("%d kept, want %d", n, 2*maxKnown)
	}
	for i := 2 * maxKnown; i < 3*maxKnown; i++ {
		if !k.known(fmt.Sprint(i), now) {
			t.Fatalf("token %d of the newest is not known", i)
		}
	}
}
