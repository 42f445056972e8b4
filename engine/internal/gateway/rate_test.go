package gateway

import (
	"testing"

	"github.com/sluicenet/sluice/engine"
)

// A client has a burst of a second's requests, then its rate; another is not held up by it; and who is
// idle is forgotten.
func TestRequestRates(t *testing.T) {
	var r requestRates
	charged := int64(0)
	charge := func(n int64) { charged += n }
	now := int64(5_000_000)
	took := func(ref engine.Ref, tries int) (n int) {
		for range tries {
			if r.allow(ref, now, 100, charge) {
				n++
			}
		}
		return n
	}
	if n := took(1, 1000); n != 100 {
		t.Errorf("%d of 1000 at once, want 100", n)
	}
	if n := took(2, 1); n != 1 {
		t.Error("another is held up")
	}
	for range 50 { // five seconds
		now += 100_000
		if n := took(1, 1000); n != 10 {
			t.Fatalf("%d in 100 ms, want 10", n)
		}
	}
	if charged != rateCost*int64(len(r.until)+len(r.before)) {
		t.Errorf("%d bytes charged for %d and %d clients", charged, len(r.until), len(r.before))
	}
	now += 3 * rateWindow
	if n := took(1, 1000); n != 100 {
		t.Errorf("%d of 1000 after a rest, want 100", n)
	}
	if len(r.until) != 1 || len(r.before) != 0 || charged != rateCost {
		t.Errorf("%d and %d clients known, %d bytes charged", len(r.until), len(r.before), charged)
	}
}
