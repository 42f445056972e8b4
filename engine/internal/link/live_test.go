package link

import (
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// TestSetLive: limits are replaced while the Hub runs; one that is as it was keeps the rate that a
// worker has set, and what it has let through.
func TestSetLive(t *testing.T) {
	h, _ := newHubAtRest(t, Config{Limits: []Limit{{Name: "one", Workers: []int{1}, Rate: 2}, {Name: "two", Workers: []int{2}, Rate: 2}}})
	h.limit(0, &netsvrpb.LimitReq{Items: []*netsvrpb.LimitReq_Item{{Name: "one", Concurrency: 3}}})
	taken := func(id int) (n int) {
		for n < 10 && h.allow(id) {
			n++
		}
		return n
	}
	if one, two := taken(1), taken(2); one != 3 || two != 2 {
		t.Fatalf("%d and %d pass, want 3 and 2", one, two)
	}
	next := Config{Limits: []Limit{{Name: "one", Workers: []int{1}, Rate: 2}, {Name: "other", Workers: []int{2, 3}, Rate: 4}}, Idle: time.Minute, MaxUnproven: 5}
	if err := next.Check(); err != nil {
		t.Fatal(err)
	}
	h.SetLive(next)
	if one, two, four := taken(1), taken(2), taken(4); one != 0 || two != 4 || four != 10 {
		t.Errorf("%d, %d and %d pass, want none more, 4, and any number", one, two, four)
	}
	if resp := h.limit(0, &netsvrpb.LimitReq{}); len(resp.Items) != 2 || resp.Items[0].Concurrency != 3 || resp.Items[1].Name != "other" {
		t.Errorf("limits are %v", resp.Items)
	}
	if l := h.live.Load(); l.idle != time.Minute || l.firstByte != time.Minute || l.maxUnproven != 5 || l.writeTimeout != 10*time.Second {
		t.Errorf("in force are %+v", l)
	}
	if bad := (Config{Limits: []Limit{{Name: "a", Workers: []int{1}, Rate: 1}, {Name: "a", Workers: []int{2}, Rate: 1}}}); bad.Check() == nil {
		t.Error("a limit twice is taken")
	}
}
