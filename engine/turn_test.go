package engine

import "testing"

// Deadlines that come together, and what a loop is told at once, take several turns, between which
// sockets have theirs. Nothing is lost or done twice, and messages stay behind what was told before.
func TestTurnsAreBounded(t *testing.T) {
	t.Parallel()
	const many = 3000
	l, _, clock := ratedLoop(t, Config{})
	clock.ms = 1000
	work := 0
	busy := func() { // 16 of them take a millisecond
		if work++; work%16 == 0 {
			clock.ms++
		}
	}
	expired := make(map[uint32]int)
	for range many {
		c, _ := l.allocate()
		c.state = stateOpen
		c.handler = &partingHandler{deadline: func(c *Conn) {
			expired[c.slot]++
			busy()
		}}
		l.wheel.set(c.slot, 1)
	}
	told, messages := 0, 0
	for i := range many {
		l.mailbox.postTell(tell{fn: func(*Conn) {
			if told != i {
				t.Fatalf("told %d behind %d", i, told-1)
			}
			told++
			busy()
		}})
	}
	l.mailbox.post(message{fn: func(*Loop) {
		if messages++; told != many {
			t.Errorf("a message comes in front of %d tells", many-told)
		}
	}})
	l.mailbox.postTick()
	turns := 0
	for more := true; more; turns++ {
		l.tick()
		begun := clock.ms
		l.work()
		// At least a step of deadlines, at least one of what is told.
		if took := clock.ms - begun; took > turnTime+expireStep/16+1 {
			t.Fatalf("a turn takes %d ms", took)
		}
		if more = l.unfinished() || l.mail.next < len(l.mail.messages); more && turns == 2*many {
			t.Fatal("it never ends")
		}
	}
	for slot, n := range expired {
		if n != 1 {
			t.Errorf("slot %d expires %d times", slot, n)
		}
	}
	if len(expired) != many || told != many || messages != 1 {
		t.Errorf("%d deadlines, %d tells, %d messages", len(expired), told, messages)
	}
	if l.wheel.count != 0 || turns < 2*many/16/(turnTime+3) {
		t.Errorf("%d deadlines are left after %d turns", l.wheel.count, turns)
	}
}
