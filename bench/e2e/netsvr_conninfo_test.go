package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNetsvrConnInfoUpdate(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	c, id := s.open()
	d, idD := s.open()
	for _, unknown := range netsvrNobody {
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, unknown).text(2, "x").text(4, "s").text(5, "t").text(6, "data"))
	}
	l.wantTopics()
	l.wantUnknown("x")
	// Only what is not empty acts.
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id))
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "").text(3, "unused").text(4, "").text(6, ""))
	l.wantInfo(id, "")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "session").text(5, "a", "b", "", "a").text(6, "hello"))
	c.wantText("hello")
	l.wantInfo(id, "session", "a", "b")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(5, "b", "c"))
	l.wantInfo(id, "session", "b", "c")
	l.wantTopics("b", "c")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "other"))
	l.wantInfo(id, "other", "b", "c")
	c.say("001x")
	l.wantTransferOf(id, "other", "x")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(5, ""))
	l.wantInfo(id, "other")
	l.wantTopics()
	// A new id takes everything along; its own id is no new one.
	s.subscribe(id, "t")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, id).text(6, "same"))
	c.wantText("same")
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, "ann é").text(6, "renamed"))
	c.wantText("renamed")
	l.wantInfo("ann é", "other", "t")
	l.wantUnknown(id)
	if got := l.uniqIDs(); !slices.Equal(got, slices.Sorted(slices.Values([]string{idD, "ann é"}))) {
		t.Errorf("online: %q", got)
	}
	c.say("001y")
	l.wantTransferOf("ann é", "other", "y")
	l.send(workerTopicPublish, workerCast("t", "to t"))
	c.wantText("to t")
	// Back to an id of the gateway's making, a lower-case one, and one of 128 bytes.
	for _, name := range []string{id, strings.ToLower("00ABCDEF0123456789"), strings.Repeat("n", 128), "ann"} {
		old := l.uniqIDs()
		slices.Sort(old)
		from := old[slices.IndexFunc(old, func(s string) bool { return s != idD })]
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, from).text(2, name))
		l.wantInfo(name, "other", "t")
		if from != name {
			l.wantUnknown(from)
		}
	}
	// Session and topics at once with the name; then the close names the last id.
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, "ann").text(2, "bob").text(4, "s2").text(5, "t2").text(6, "1"))
	l.wantInfo("bob", "s2", "t2")
	c.wantText("1")
	d.wantQuiet(20 * time.Millisecond)
	c.hangUp()
	l.wantClosed("bob", "s2")
	l.wantUnknown("bob", "ann", id)
	l.wantTopics()
}

// A rename onto an id that another connection holds.
func TestNetsvrRenameOntoTaken(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	for _, data := range []string{"", "your id is another's now"} {
		t.Run(fmt.Sprintf("data %q", data), func(t *testing.T) {
			for round := range 8 { // so that all pairs of loops are met
				holder, taken := s.open()
				other, id := s.open()
				s.subscribe(taken, "holder's")
				s.subscribe(id, "other's")
				if data != "" && round%2 == 1 { // not a gateway's id
					l.send(workerConnInfoUpdate, workerMsg(nil).text(1, taken).text(2, "taken"))
					taken = "taken"
				}
				l.send(workerConnInfoUpdate, workerMsg(nil).text(1, taken).text(4, "old"))
				start := time.Now()
				l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(2, taken).text(3, data).text(4, "new").text(6, "hello"))
				l.send(workerSingleCast, workerCast(taken, "for the owner"))
				// From the command on the id means the new owner.
				l.wantInfo(taken, "new", "other's")
				l.wantUnknown(id)
				if got := l.ask(workerTopicUniqIDList, workerList("other's")).textMap(2)["other's"].texts(1); !slices.Equal(got, []string{taken}) {
					t.Fatalf("subscribers %q, want %q", got, taken)
				}
				other.wantText("hello")
				other.wantText("for the owner")
				var evicted string
				if data == "" {
					holder.wantCut()
				} else {
					// The holder goes on for 3 s, under an id of its own.
					holder.wantText(data)
					holder.say("001still here")
					evicted = l.wantTransfer("still here")
					if evicted == taken || evicted == id {
						t.Fatalf("the evicted holder still has %q", evicted)
					}
					l.wantInfo(evicted, "old", "holder's")
					l.send(workerTopicPublish, workerCast("holder's", "its own topic"))
					holder.wantText("its own topic")
					if round < 4 {
						holder.hangUp() // before its time
					} else {
						holder.wantCut()
						if took := time.Since(start); took < 3*time.Second-early {
							t.Errorf("the holder was cut after %v, want 3 s", took)
						}
					}
				}
				closed := l.event(workerConnClose)
				if got := closed.text(1); got == taken || got == id || evicted != "" && got != evicted {
					t.Fatalf("ConnClose of %q: the new holder of %q lives", got, taken)
				}
				if got := closed.text(2); got != "old" {
					t.Fatalf("ConnClose with session %q", got)
				}
				// The end of the old holder is nothing to the new one.
				l.wantInfo(taken, "new", "other's")
				other.wantAlive()
				l.send(workerSingleCast, workerCast(taken, "again"))
				other.wantText("again")
				l.wantTopics("other's")
				other.hangUp()
				l.wantClosed(taken, "new")
				l.wantUnknown(taken)
				l.wantTopics()
				if data != "" && round >= 5 {
					break // one more of 3 s will do
				}
			}
		})
	}
}

func TestNetsvrConnInfoDelete(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	c, id := s.open()
	remove := func(id string, uniqID, session, topic bool, data string) {
		t.Helper()
		n := map[bool]int64{true: 1}
		l.send(workerConnInfoDelete, workerMsg(nil).text(1, id).num(2, n[uniqID]).num(3, n[session]).num(4, n[topic]).text(5, data))
	}
	fill := func(id string) {
		t.Helper()
		l.send(workerConnInfoUpdate, workerMsg(nil).text(1, id).text(4, "s").text(5, "t", "u"))
		l.wantInfo(id, "s", "t", "u")
	}
	fill(id)
	for _, unknown := range netsvrNobody {
		remove(unknown, true, true, true, "data")
	}
	remove(id, false, false, false, "no flag at all")
	c.wantText("no flag at all")
	l.wantInfo(id, "s", "t", "u")
	remove(id, false, true, false, "1")
	c.wantText("1")
	l.wantInfo(id, "", "t", "u")
	fill(id)
	remove(id, false, false, true, "")
	l.wantInfo(id, "s")
	l.wantTopics()
	fill(id)
	// A new id of the gateway's making, which keeps the rest.
	remove(id, true, false, false, "2")
	c.wantText("2")
	l.wantUnknown(id)
	c.say("001new")
	fresh := l.wantTransfer("new")
	if fresh == id || !netsvrUniqID(fresh, 0) {
		t.Errorf("the new id is %q", fresh)
	}
	l.wantInfo(fresh, "s", "t", "u")
	if got := l.uniqIDs(); !slices.Equal(got, []string{fresh}) {
		t.Errorf("online: %q", got)
	}
	remove(fresh, true, true, true, "")
	l.sync()
	c.say("001newer")
	newest := l.wantTransfer("newer")
	l.wantInfo(newest, "")
	l.wantTopics()
	// From a name a worker has given, too.
	l.send(workerConnInfoUpdate, workerMsg(nil).text(1, newest).text(2, "name"))
	remove("name", true, false, false, "")
	l.wantUnknown("name", newest)
	c.hangUp()
	if got := l.event(workerConnClose).text(1); !netsvrUniqID(got, 0) {
		t.Errorf("closed as %q", got)
	}
	if got := l.uniqIDs(); len(got) > 0 {
		t.Errorf("online: %q", got)
	}
}
