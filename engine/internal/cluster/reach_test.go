package cluster

import (
	"math"
	"testing"

	"github.com/sluicenet/sluice/topic"
)

// Up to where the log is here: to the last frame that came, but for topics that lack something, and behind
// a loss only once all have been compared with the stream.
func TestReach(t *testing.T) {
	t.Parallel()
	whole := func(at, checked uint64) *following { return &following{begun: true, at: at, checked: checked} }
	with := func(l *following, change func(*following)) *following {
		change(l)
		return l
	}
	for _, c := range []struct {
		name   string
		follow *follower
		topics []*following
		want   uint64 // of the frame; 0: it is not known
	}{
		{"no stream", &follower{seen: 9}, nil, 0},
		{"nothing came", &follower{epoch: 7}, []*following{whole(5, 0)}, 0},
		{"all is here", &follower{epoch: 7, seen: 9}, []*following{whole(5, 0), whole(9, 0), nil}, 9},
		{"the stream may be another", &follower{epoch: 7, seen: 9, doubtful: true}, []*following{whole(9, 0)}, 0},
		{"one is read", &follower{epoch: 7, seen: 9, reads: 1},
			[]*following{with(whole(5, 0), func(l *following) { l.filling = true }), whole(9, 0)}, 5},
		{"some wait", &follower{epoch: 7, seen: 9, pendingBytes: 100},
			[]*following{with(whole(6, 0), func(l *following) { l.pending = make([]pendingFrame, 1) }), whole(9, 0)}, 6},
		{"some wait for a beginning", &follower{epoch: 7, seen: 9, pendingBytes: 100}, []*following{{first: 8}, whole(9, 0)}, 7},
		{"a loss", &follower{epoch: 7, seen: 9, proof: math.MaxUint64}, []*following{whole(9, 9)}, 0},
		{"behind a loss", &follower{epoch: 7, seen: 12, proof: 11}, []*following{whole(9, 10), whole(11, 0)}, 0},
		{"behind a loss, compared", &follower{epoch: 7, seen: 12, proof: 11}, []*following{whole(9, 11), whole(11, 0)}, 12},
		{"one was begun with", &follower{epoch: 7, seen: 9, young: []youngTopic{{due: math.MaxUint64}}},
			[]*following{whole(5, 0), whole(9, 0)}, 5},
		{"one was begun with, and is being compared", &follower{epoch: 7, seen: 12, young: []youngTopic{{due: 10}}},
			[]*following{whole(6, 9), whole(9, 0)}, 6},
		{"one was begun with, and compared", &follower{epoch: 7, seen: 12, young: []youngTopic{{due: 10}}},
			[]*following{whole(6, 10), whole(9, 0)}, 12},
		{"one was begun with, and is gone", &follower{epoch: 7, seen: 12, young: []youngTopic{{due: 10}}},
			[]*following{nil, whole(9, 0)}, 12},
	} {
		f := c.follow
		o := &ours{topics: make(map[string]*ownTopic)}
		for i, l := range c.topics {
			o.topics[histTopic(i)] = &ownTopic{following: l}
		}
		for i := range f.young { // they are the first topics
			f.young[i].topic = o.topics[histTopic(i)]
			if f.young[i].of = c.topics[i]; c.topics[i] == nil {
				f.young[i].of = whole(6, 0)
			}
		}
		f.h = &history{t: &topics{ours: o}}
		at, ok := f.reach()
		want, known := topic.Position{Epoch: 7, Seq: behind(c.want)}, c.want > 0 || c.name == "nothing came"
		if !known {
			want = topic.Position{}
		}
		if at != want || ok != known {
			t.Errorf("%s: %v, %v, want %v, %v", c.name, at, ok, want, known)
		}
		if again, ok := f.reach(); again != at || ok != known {
			t.Errorf("%s: then %v, %v, want %v, %v", c.name, again, ok, at, known)
		}
	}
}
