package engine

import (
	"testing"

	"github.com/sluicenet/sluice/topic"
)

// Who ends before its loop has heard that a topic's history begins anew was where it was before: what is
// between is told when it comes back.
func TestMarksBeforeARestart(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		at   topic.Position // where it begins anew
		lost bool
		then string // what the client is sent when the loop has heard of that
	}{
		"farther":        {at: topic.Position{Epoch: 7, Seq: 300<<12 | 4095}, then: "3"},
		"something lost": {at: topic.Position{Epoch: 7, Seq: 300<<12 | 4095}, lost: true, then: "GAP h"},
		"another log":    {at: topic.Position{Epoch: 8, Seq: 5<<12 | 4095}, lost: true, then: "GAP h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, addr, _, log := startLogged(t, "h=1000,1m")
			k := dialKeeper(t, addr, "NAME ann", "SUB h")
			k.want("RESUMED 0", "SUBSCRIBED true")
			log.publish("h", 1, 1, 1)
			log.begin(t, "h", log.last(), false)
			log.publish("h", 2, 2, 1)
			log.deliver(t, "h")
			k.want("2")
			before, _ := log.replica.Last([]byte("h"))
			log.publish("h", 3, 3, 1)
			for i, l := range e.loops {
				done := make(chan struct{})
				e.TellLoop(i, func() {
					defer close(done)
					for _, ref := range l.Subscribers(nil, []byte("h")) {
						if err := log.replica.Begin([]byte("h"), tc.at, tc.lost); err != nil {
							t.Error(err)
						}
						marks := l.Conn(ref).MarksNow()
						if len(marks) != 1 || marks[0].Position != before {
							t.Errorf("it is at %v, want %v", marks, before)
						}
					}
				})
				<-done
			}
			k.want(tc.then)
			if n := e.restarts.number.Load(); n != 0 {
				t.Errorf("%d restarts are not over", n)
			}
		})
	}
}
