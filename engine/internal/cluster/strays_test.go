package cluster

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/nats-io/nats.go"
)

// strayNode is a node of which nothing runs, with some others in its table.
func strayNode(others ...Member) *Node {
	n := &Node{config: Config{Self: 1, Incarnation: 9, Name: "c"}}
	n.log = n.config.logger()
	n.lease = newLease(&Config{Nodes: newFakeStore(time.Minute)}, n.claim)
	n.rpc = newRPC(&n.config, &loopBus{messages: make(chan *nats.Msg)}, &n.nodes)
	n.rpc.part = 1024 // as start says
	for _, m := range others {
		n.nodes.put(m)
	}
	return n
}

// What is for a uniqId goes to the node that it names, and to those that have, or have had, clients with
// uniqIds of that node's: so their leases and messages say.
func TestStrays(t *testing.T) {
	n := strayNode(Member{ID: 2, Incarnation: 5}, Member{ID: 3, Incarnation: 5})
	check := func(server uint8, want ...uint8) {
		t.Helper()
		if got := n.Holders(server); !slices.Equal(got, want) {
			t.Errorf("the holders of server id %d's are %v, want %v", server, got, want)
		}
	}
	check(1)
	check(2, 2)
	check(9, 2, 3) // nobody's
	if !n.serveStrays(3, []byte{straysTag, 2, 1}, func([]byte) {}) || n.serveStrays(3, []byte{namesTag}, nil) {
		t.Error("it takes what is not for it, or not what is")
	}
	check(1, 3)
	check(2, 2, 3)
	check(3, 3)
	n.serveStrays(77, []byte{straysTag, 2}, nil) // of one that is not in the table
	// A lease from before changes nothing, and one of another process says it anew.
	n.nodes.put(Member{ID: 3, Incarnation: 5, Address: "x"})
	check(2, 2, 3)
	n.nodes.put(Member{ID: 3, Incarnation: 6})
	check(2, 2)
	c := claim{Incarnation: "0000000000000007", Strays: []int{2}}
	m, err := c.member(3)
	if err != nil {
		t.Fatal(err)
	}
	n.nodes.put(m)
	check(2, 2, 3)
}

// The others are told of the first uniqId that is like those of a node, in the lease, too, and who has it
// is waited for until they have said that they know.
func TestStraysAreTold(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		n := strayNode(Member{ID: 2, Incarnation: 5}, Member{ID: 3, Incarnation: 5})
		for _, id := range []string{"chosen", "01" + "6553F100DEADBEEF", "026553f100deadbeef"} {
			n.named(id)
		}
		if c := n.claim(); c.Strays != nil || n.WhenNamed(func() {}) {
			t.Errorf("ids of nobody and of its own are strays: %v", c.Strays)
		}
		n.named("02" + "6553F100DEADBEEF")
		n.named("02" + "6553F100DEADBEE0")
		if c := n.claim(); !slices.Equal(c.Strays, []int{2}) {
			t.Errorf("its lease says %v", c.Strays)
		}
		var told atomic.Int32
		if !n.WhenNamed(func() { told.Add(1) }) {
			t.Error("nobody has confirmed it, and it is not waited for")
		}
		if got := len(n.rpc.out.take(nil)); got != 1 {
			t.Errorf("%d messages have gone to the others, want 1", got)
		}
		answer := answerFrame{to: 9, number: 1}
		if err := n.rpc.hearAnswer(origin{2, 5}, answer.append(nil)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if told.Load() != 0 {
			t.Error("one of two has confirmed it")
		}
		time.Sleep(straysWait) // the other does not
		synctest.Wait()
		if told.Load() != 1 || n.WhenNamed(func() {}) {
			t.Errorf("told %d times", told.Load())
		}
	})
}
