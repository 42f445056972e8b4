package cluster

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// scenes are short stories with nodes that have topics alone. Each returns what is wrong.
var scenes = map[string]func(t *testing.T) string{
	"a node is known late":             sceneKnownLate,
	"two nodes are known late":         sceneStrangers,
	"a node hears late":                sceneDeaf,
	"a node is not heard":              sceneExcluded,
	"a node answers what is older":     sceneOlder,
	"a node answers each time":         sceneLate,
	"a node is not known":              sceneUnknown,
	"a node publishes when it comes":   sceneEager,
	"the connection was lost":          sceneLost,
	"the connection was lost for long": sceneForgotten,
	"a topic is let go, late":          sceneLateWord,
	"a crowd sets the pace":            scenePace,
	"a silent node does not":           sceneSilent,
	"a congested node leaves":          sceneLeaves,
	"a node does not keep up":          sceneBypassed,
	"a node is slow again and again":   sceneRests,
}

func TestScenes(t *testing.T) {
	for name, scene := range scenes {
		t.Run(name, func(t *testing.T) {
			if failure := scene(t); failure != "" {
				t.Error(failure)
			}
		})
	}
}

// play has n nodes do something, and looks whether the last one has nothing left over.
func play(t *testing.T, n int, f func(w *simWorld)) (failure string) {
	faketime.Test(t, func(t *testing.T) {
		w := &simWorld{rng: rand.New(rand.NewPCG(1, 1)), net: newSimNet(rand.New(rand.NewPCG(1, 2))), nodes: make([]*simNode, n)}
		for i := range n {
			w.boot(i)
		}
		time.Sleep(simLag + strangerFor) // all know all, and trust that
		f(w)
		for _, n := range w.nodes {
			if n.alive {
				n.t.close()
			}
		}
		failure = w.failure
	})
	return failure
}

// last returns the number of the last message of from that n has got.
func (n *simNode) last(name string, from *simNode) uint64 {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	if s := n.subs[name]; s != nil {
		return s.last[from.number]
	}
	return 0
}

func (w *simWorld) want(n *simNode, name string, from *simNode, k uint64) {
	if got := n.last(name, from); got != k {
		w.fail("node %d has messages of node %d up to %d, want %d", n.number, from.number, got, k)
	}
}

// knowNobody has n know that nobody wants a topic.
func (n *simNode) knowNobody(name string) {
	n.publish(name, 1, 0)
	time.Sleep(100 * time.Millisecond)
	if n.wanted(name) {
		n.w.fail("nobody wants %s, and it is sent", name)
	}
}

// sceneKnownLate: whoever comes into the table may want anything.
func sceneKnownLate(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		a.knowNobody("x")
		changes := a.t.Changes()
		a.parts(b.member)
		b.subscribe("x")
		time.Sleep(400 * time.Millisecond) // its barrier is ignored
		a.nodes.put(b.member)
		if a.t.Changes() == changes {
			w.fail("Changes is what it was when nobody was there")
		}
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(b, "x", a, 2)
	})
}

// sceneStrangers: two nodes that have not known each other, and come into each other's tables, may want
// anything.
func sceneStrangers(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		a.knowNobody("x")
		for n, m := range map[*simNode]Member{a: b.member, b: a.member} {
			n.parts(m)
		}
		b.subscribe("x") // nobody is told, since nobody is there
		time.Sleep(2 * strangerFor)
		b.nodes.put(a.member)
		a.nodes.put(b.member)
		a.wanted("x") // it hears well
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(b, "x", a, 2)
	})
}

// join has another node come, which the others hear of when known is over.
func (w *simWorld) join(known time.Duration) *simNode {
	w.known = known
	w.nodes = append(w.nodes, nil)
	n := w.boot(len(w.nodes) - 1)
	for !n.t.connected.Load() {
		time.Sleep(time.Millisecond / 10)
	}
	return n
}

func (n *simNode) isSettled(name string) bool {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.subs[name].settled
}

// subscribed is subscribe, and waits for the answer.
func (n *simNode) subscribed(name string) {
	n.subscribe(name)
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if n.isSettled(name) {
			return
		}
		if time.Since(begun) > settleWithin {
			n.w.fail("a subscription waits for more than %v", settleWithin)
			return
		}
	}
}

// sceneDeaf: a node that is alive and hears late has its subscribers elsewhere miss nothing, and keeps
// their subscriptions for a while, once.
func sceneDeaf(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		a.knowNobody("x")
		a.knowNobody("y")
		a.bus.lag(5 * time.Second)
		b.subscribed("x")
		a.publish("x", 1, 0)
		begun := time.Now()
		b.subscribed("y")
		if d := time.Since(begun); d > 20*time.Millisecond {
			w.fail("who has not answered once is waited for once more: %v", d)
		}
		a.publish("y", 1, 0)
		time.Sleep(time.Second)
		w.want(b, "x", a, 2)
		w.want(b, "y", a, 2)
		if s := b.t.stats(); s.Excluded != 1 {
			w.fail("%d nodes are not waited for", s.Excluded)
		}
		a.bus.lag(0)
		time.Sleep(10 * time.Second)
		a.publish("z", 1, 0)
		time.Sleep(100 * time.Millisecond)
		if a.wanted("z") || b.t.stats().Excluded != 0 {
			w.fail("a node that hears well again is not believed")
		}
	})
}

// sceneExcluded: a node that hears well and is not waited for, since who subscribes does not hear its
// answers, knows that.
func sceneExcluded(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		a.knowNobody("y")
		b.bus.lag(5 * time.Second)
		b.subscribed("x")
		a.wanted("y")
		b.subscribed("y")
		a.publish("y", 1, 0)
		time.Sleep(10 * time.Second)
		w.want(b, "y", a, 2)
	})
}

// sceneOlder: who does not answer in time is not waited for longer since it answers what was sent before.
func sceneOlder(t *testing.T) string {
	return play(t, 3, func(w *simWorld) {
		a, c := w.nodes[0], w.nodes[2]
		a.parts(c.member)
		a.bus.lag(settleWithin - 30*time.Millisecond)
		a.subscribe("x") // c answers, and is not waited for
		time.Sleep(10 * time.Millisecond)
		a.nodes.put(c.member)
		a.subscribed("y")
	})
}

// sceneLate: who answers each barrier, late, but before it would be excluded for that one, is waited for.
func sceneLate(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.bus.lag(400 * time.Millisecond)
		for i := range 50 {
			a.subscribe(fmt.Sprint(i))
			if i > 1 { // two barriers are under way, one behind the other
				a.publish("x", 1, 0)
				a.t.Passed(func(bool) {})
			}
			time.Sleep(70 * time.Millisecond)
			if n := a.t.stats().Excluded; n > 0 {
				w.fail("after %d ms %d nodes are not waited for", 70*(i+1), n)
			}
		}
	})
}

// sceneUnknown: what is published for a node that is not in the table yet gets to it.
func sceneUnknown(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a := w.nodes[0]
		a.knowNobody("x")
		c := w.join(simLag)
		c.t.greetingDone()
		c.subscribed("x")
		a.wanted("x") // it hears well
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(c, "x", a, 2)
	})
}

// sceneEager: what a node publishes before the others know it gets to them.
func sceneEager(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a := w.nodes[0]
		a.subscribe("x")
		c := w.join(simLag)
		c.publish("x", 3, 0)
		time.Sleep(simLag + time.Second)
		w.want(a, "x", c, 3)
	})
}

// sceneLost: while the connection was lost anybody may have subscribed.
func sceneLost(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		a.knowNobody("x")
		a.bus.lose(true)
		b.subscribe("x")
		time.Sleep(400 * time.Millisecond)
		go a.bus.connect()
		for !a.t.connected.Load() {
			time.Sleep(time.Millisecond / 10)
		}
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(b, "x", a, 2)
	})
}

// sceneForgotten: while the connection was lost long enough anybody may have subscribed without a word.
func sceneForgotten(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		a.knowNobody("x")
		a.bus.lose(true)
		b.parts(a.member)
		b.subscribe("x") // nobody is told, since nobody is there
		go a.bus.connect()
		time.Sleep(100 * time.Millisecond)
		b.nodes.put(a.member)
		time.Sleep(2 * strangerFor)
		a.wanted("x") // it hears well
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(b, "x", a, 2)
	})
}

// sceneLateWord: what a node said of its interest on an old connection does not undo what it has said
// since.
func sceneLateWord(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.subscribe("x")
		time.Sleep(time.Second)
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		old := w.net.bus()
		old.change = func(bool) {}
		old.connect()
		_ = old.Publish(a.t.subs.node(0), seal(appendStatement(nil, KindLetGo, b.t.self, 1, []string{"x"})))
		time.Sleep(100 * time.Millisecond)
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(b, "x", a, 2)
		if s := a.t.stats(); s.LateStatements != 1 {
			w.fail("%d late statements are counted", s.LateStatements)
		}
	})
}

// flood publishes to x until the node has to wait, for some time at most, and returns how many bytes it
// has published.
func (n *simNode) flood(most time.Duration) (sent int) {
	for begun := time.Now(); time.Since(begun) < most; time.Sleep(time.Millisecond) {
		if n.t.Congested([]byte("x")) {
			break
		}
		n.publish("x", 1, 32<<10)
		sent += 32 << 10
	}
	return sent
}

const simWindow = 1 << 20 // of boot

// slowCrowd has a node's subscribers take nothing, or go on.
func (n *simNode) slowCrowd(is bool) {
	n.w.mu.Lock()
	n.slow = is
	n.w.mu.Unlock()
}

// scenePace: while the subscribers of one node take nothing publishers to that topic wait, and go on
// behind it. Others do not notice.
func scenePace(t *testing.T) string {
	return play(t, 3, func(w *simWorld) {
		a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
		b.subscribe("x")
		c.subscribe("x")
		time.Sleep(time.Second)
		if sent := a.flood(5 * time.Second); sent < 100<<20 {
			w.fail("all take everything, and the publisher waits after %d bytes", sent)
		}
		b.slowCrowd(true)
		if sent := a.flood(5 * time.Second); sent < simWindow/2 || sent > 2*simWindow {
			w.fail("%d bytes are sent to who takes nothing, want about %d", sent, simWindow)
		}
		time.Sleep(5 * time.Second)
		if !a.t.Congested([]byte("x")) {
			w.fail("the publisher goes on although the crowd takes nothing")
		}
		if a.t.Congested([]byte("y")) {
			w.fail("another topic waits, too")
		}
		b.slowCrowd(false)
		time.Sleep(100 * time.Millisecond)
		if a.t.Congested([]byte("x")) {
			w.fail("the publisher waits although the crowd goes on")
		}
	})
}

// sceneSilent: a node that says nothing is waited for for half a second.
func sceneSilent(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.subscribe("x")
		time.Sleep(time.Second)
		a.publish("x", 1, 0)
		w.net.cut(a.bus, b.bus)
		begun := time.Now()
		for time.Since(begun) < 5*time.Second {
			if a.t.Congested([]byte("x")) {
				at := time.Now()
				for a.t.Congested([]byte("x")) {
					time.Sleep(10 * time.Millisecond)
				}
				if d := time.Since(at); d > silence+100*time.Millisecond {
					w.fail("a publisher waits %v for a silent node", d)
				}
			}
			a.publish("x", 1, 32<<10)
			time.Sleep(time.Millisecond)
		}
		if s := a.t.stats(); s.MessagesOut+s.Bypassed < 4000 {
			w.fail("a silent node costs too much: %d messages in 5 s", s.MessagesOut+s.Bypassed)
		}
		w.net.mend(a.bus, b.bus)
		time.Sleep(2 * time.Second)
		b.slowCrowd(true)
		if sent := a.flood(5 * time.Second); sent > 4*simWindow {
			w.fail("a node that is there again does not set the pace: %d bytes", sent)
		}
	})
}

// sceneLeaves: nobody waits for a node that is gone.
func sceneLeaves(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.subscribe("x")
		time.Sleep(time.Second)
		b.slowCrowd(true)
		a.flood(5 * time.Second)
		if !a.t.Congested([]byte("x")) {
			w.fail("the publisher goes on although the crowd takes nothing")
		}
		a.parts(b.member)
		if a.t.Congested([]byte("x")) {
			w.fail("the publisher waits for a node that is gone")
		}
	})
}

// sceneBypassed: what is on its way to a node that does not keep up is bounded, and others get all of it, in
// order. When the node has new subscribers they miss nothing, and when it has caught up nobody does.
func sceneBypassed(t *testing.T) string {
	return play(t, 3, func(w *simWorld) {
		a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
		a.knowNobody("y")
		b.subscribe("x")
		c.subscribe("x")
		time.Sleep(time.Second)
		c.bus.lag(2 * time.Second)
		begun, got := time.Now(), c.t.stats().BytesIn
		for a.t.stats().Bypassing == 0 && time.Since(begun) < 10*time.Second {
			a.flood(10 * time.Millisecond)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(3 * time.Second) // all is there
		if got = c.t.stats().BytesIn - got; a.t.stats().Bypassing != 1 || got > 32<<20 {
			w.fail("%d nodes are bypassed, and %d MiB were sent to one", a.t.stats().Bypassing, got>>20)
		}
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(b, "x", a, a.sent["x"])
		c.subscribe("y")
		for begun := time.Now(); !c.isSettled("y") && time.Since(begun) < 5*time.Second; {
			time.Sleep(time.Millisecond)
		}
		a.publish("y", 1, 0)
		time.Sleep(3 * time.Second)
		w.want(c, "y", a, 2)
		c.bus.lag(0)
		time.Sleep(3 * time.Second)
		a.publish("x", 1, 0)
		time.Sleep(100 * time.Millisecond)
		w.want(c, "x", a, a.sent["x"])
		if s := a.t.stats(); s.Bypassing != 0 || b.t.stats().Lost != 0 || c.t.stats().Lost == 0 {
			w.fail("%d nodes are bypassed, %d messages are lost at one that kept up, %d at the other", s.Bypassing,
				b.t.stats().Lost, c.t.stats().Lost)
		}
	})
}

// waits has a node publish for a while, and returns for how long it had to wait.
func (n *simNode) waits(d time.Duration) (sum time.Duration) {
	for begun := time.Now(); time.Since(begun) < d; time.Sleep(2 * time.Millisecond) {
		for at := time.Now(); n.t.Congested([]byte("x")); {
			time.Sleep(time.Millisecond)
			if !n.t.Congested([]byte("x")) {
				sum += time.Since(at)
			}
		}
		n.publish("x", 1, 64<<10)
	}
	return sum
}

// sceneRests: who is silent, there again, and silent once more, is waited for twice, and then no more until
// it has been there for a while.
func sceneRests(t *testing.T) string {
	return play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.subscribe("x")
		time.Sleep(time.Second)
		for round := range 3 {
			w.net.cut(a.bus, b.bus)
			if d := a.waits(2 * time.Second); d == 0 && round == 0 || d > 0 && round > 1 {
				w.fail("round %d: a publisher waits %v for a silent node", round, d)
			}
			w.net.mend(a.bus, b.bus)
			time.Sleep(2 * time.Second)
			a.publish("x", 1, 0)
			time.Sleep(100 * time.Millisecond)
			w.want(b, "x", a, a.sent["x"])
		}
		time.Sleep(restFor)
		a.waits(time.Second)
		b.slowCrowd(true)
		if sent := a.flood(5 * time.Second); sent > 4*simWindow {
			w.fail("a node that is there again does not set the pace: %d bytes", sent)
		}
	})
}

// TestStrangers: whatever is on the bus does no harm and is counted.
func TestStrangers(t *testing.T) {
	failure := play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.subscribe("x")
		time.Sleep(time.Second)
		subject := b.t.subs.topic("x")
		run := func(from origin, name string, records []byte) []byte {
			f := append(appendRunHead(nil, from, []byte(name)), records...)
			putRun(f, len(name), false, 9, 1, 0, 1)
			return seal(f)
		}
		record := make([]byte, 11)
		self := a.t.self
		for i, f := range [][]byte{
			ignoredOther:   []byte("hello"),
			ignoredVersion: {magic, 2},
			ignoredOwn:     run(b.t.self, "x", record),
			ignoredSender:  run(origin{77, 1}, "x", record),
			ignoredTopic:   run(self, "x", record),
			ignoredBroken:  run(self, "x", record[:5]),
		} {
			at := subject
			if i == ignoredTopic {
				at = b.t.subs.nodes()
			}
			_ = a.bus.Publish(at, f)
			time.Sleep(10 * time.Millisecond)
			if s := b.t.stats(); s.Ignored[i] != 1 {
				w.fail("%s: counted %v", IgnoredReasons[i], s.Ignored)
			}
		}
		if s := b.t.stats(); s.MessagesIn != 0 {
			w.fail("%d messages of strangers were delivered", s.MessagesIn)
		}
		// A million topics of somebody else cost nothing.
		before := b.t.stats().Memory
		for i := range 200 {
			var names []string
			for j := range 1000 {
				names = append(names, fmt.Sprintf("%d-%d", i, j))
			}
			_ = a.bus.Publish(b.t.subs.nodes(), seal(appendStatement(nil, KindBarrier, self, 1000+uint64(i), names)))
			_ = a.bus.Publish(b.t.subs.nodes(), seal(appendWhether(nil, self, names)))
		}
		time.Sleep(time.Second)
		if after := b.t.stats().Memory; after != before {
			w.fail("what another has announced costs %d bytes", after-before)
		}
	})
	if failure != "" {
		t.Error(failure)
	}
}

// TestTooMuch: what neither the queue nor the bus takes is dropped and counted.
func TestTooMuch(t *testing.T) {
	failure := play(t, 2, func(w *simWorld) {
		a, b := w.nodes[0], w.nodes[1]
		b.subscribe("x")
		time.Sleep(time.Second)
		a.publish("x", 1, 2<<20)
		if s := a.t.stats(); s.TooLong != 1 {
			w.fail("a message beyond MaxPayload: %+v", s)
		}
		a.publish("x", 40, 27<<10) // in all more than MaxPayload
		time.Sleep(time.Second)
		w.want(b, "x", a, 41)
		w.net.cut(a.bus, b.bus)
		for range 1000 { // whatever Congested says
			a.t.Publish([]byte("y"), make([]byte, 11), 1)
			a.t.Publish([]byte("x"), append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0}, make([]byte, 256<<10)...), 1)
		}
		s := a.t.stats()
		if s.Dropped == 0 || s.Queue > 2<<20 {
			w.fail("the queue has no bound: %+v", s)
		}
		if !a.t.Congested([]byte("y")) {
			w.fail("nobody waits for room in the queue")
		}
		time.Sleep(5 * time.Second)
		if s := a.t.stats(); s.Queue != 0 {
			w.fail("%d bytes are left in the queue", s.Queue)
		}
	})
	if failure != "" {
		t.Error(failure)
	}
}
