package engine

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// howFar asks how far connections are.
func howFar(t *testing.T, e *Engine, upTo topic.Position) (rest topic.Position, behind []topic.Position) {
	t.Helper()
	var mu sync.Mutex
	done := make(chan topic.Position, 1)
	e.AskReceived(upTo, func(c *Conn, at topic.Position) {
		mu.Lock()
		defer mu.Unlock()
		behind = append(behind, at)
		if now := c.Received(); now.Before(at) {
			t.Errorf("the connection is at %v, and was at %v before", now, at)
		}
		for _, m := range c.MarksNow() {
			if m.Position.Before(at) {
				t.Errorf("it is at %v, and so in its topic at %v", at, m.Position)
			}
		}
	}, func(rest topic.Position) { done <- rest })
	select {
	case rest = <-done:
	case <-time.After(patience):
		t.Fatal("no answer")
	}
	return rest, behind
}

// awaitReceived waits until nobody lacks anything.
func awaitReceived(t *testing.T, e *Engine, upTo topic.Position) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		rest, behind := howFar(t, e, upTo)
		if rest == ReceivedAll && len(behind) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("they lack what is behind %v, and %v", rest, behind)
		}
	}
	for i := range e.Loops() { // nothing is left that is looked at again and again
		n := make(chan int, 1)
		e.Visit(i, func(l *Loop) { n <- len(l.receipts.slots) })
		if n := <-n; n != 0 {
			t.Errorf("%d connections of loop %d are still looked at", n, i)
		}
	}
}

// Who has not received what was published to its topics is known, and how far it is; also of one that
// does not read, and of one that has resumed and catches up.
func TestAskReceived(t *testing.T) {
	t.Parallel()
	e, addr, s := startKeeper(t, Config{SendBuffer: 16 << 10}, ListenConfig{}, "a=10000,1m")
	ann, bob := dialKeeper(t, addr, "NAME ann", "SUB a"), dialKeeper(t, addr, "NAME bob", "SUB a")
	stranger := dialKeeper(t, addr, "SUB a") // it has no session: nobody asks for it
	stranger.want("SUBSCRIBED true")
	go func() { _, _ = io.Copy(io.Discard, stranger.c) }()
	_ = bob.c.tcp().SetReadBuffer(8 << 10)
	for _, k := range []*keeper{ann, bob} {
		k.want("RESUMED 0", "SUBSCRIBED true")
	}
	st := e.streamOf([]byte("a"))
	at := func(seq uint64) topic.Position { return topic.Position{Epoch: st.Epoch(), Seq: seq} }
	publishNumbers(t, e, "a", 1, 5) // before anybody asks
	ann.want(numbers(1, 5)...)
	bob.want(numbers(1, 5)...)
	awaitReceived(t, e, at(5))

	e.CutTrails()
	const last = 40
	pb := e.NewPublisher()
	for i := 6; i <= last; i++ {
		if err := pb.Publish([]byte("a"), Push{Payload: fmt.Appendf(nil, "%d %05000d", i, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	pb.Flush()
	read := func(k *keeper, from, to int) {
		t.Helper()
		for i := from; i <= to; i++ {
			line, err := k.r.ReadString('\n')
			if word, _, _ := strings.Cut(line, " "); err != nil || word != fmt.Sprint(i) {
				t.Fatalf("read %.20q, %v, want %d", line, err, i)
			}
		}
	}
	read(ann, 6, last) // bob does not
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		rest, behind := howFar(t, e, at(last))
		if len(behind) == 1 && rest == ReceivedAll {
			if behind[0].Before(at(5)) || !behind[0].Before(at(last)) {
				t.Errorf("who does not read is at %v", behind[0])
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("they lack what is behind %v, and %v, want one who does not read", rest, behind)
		}
	}
	if rest, behind := howFar(t, e, at(1)); len(behind) != 0 || rest.Before(at(5)) || !rest.Before(at(last)) {
		t.Errorf("up to the first message they lack what is behind %v, and %v", rest, behind)
	}
	read(bob, 6, last)
	awaitReceived(t, e, at(last))

	bob.cut(s, "bob")
	for i := last + 1; i <= 2*last; i++ {
		if err := pb.Publish([]byte("a"), Push{Payload: fmt.Appendf(nil, "%d %05000d", i, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	pb.Flush()
	read(ann, last+1, 2*last)
	awaitReceived(t, e, at(2*last)) // who is gone is not asked for
	bob = dialKeeper(t, addr)
	_ = bob.c.tcp().SetReadBuffer(8 << 10)
	bob.send("NAME bob")
	bob.want("RESUMED 1")
	if _, behind := howFar(t, e, at(2*last)); len(behind) != 1 || behind[0].Before(at(last)) {
		t.Errorf("who catches up is at %v, want one at %d or a little behind it", behind, last)
	}
	read(bob, last+1, 2*last)
	awaitReceived(t, e, at(2*last))
	for i := range e.Loops() {
		done := make(chan struct{})
		e.Visit(i, func(l *Loop) {
			defer close(done)
			for slot, tr := range l.trails {
				if tr != nil && (len(tr.list) > 0 || tr.place != 0) {
					t.Errorf("loop %d, slot %d: a trail of %d, in place %d", i, slot, len(tr.list), tr.place)
				}
			}
		})
		<-done
	}
}
