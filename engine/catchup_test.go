package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// A client that catches up goes on by itself when the history it is in is forgotten and begins anew.
func TestCatchupOfAForgottenHistory(t *testing.T) {
	t.Parallel()
	const rule, all = "a=1000,1m", 100
	e, addr, s := startKeeper(t, Config{SendBuffer: 32 << 10}, ListenConfig{}, rule)
	k := dialKeeper(t, addr, "NAME ann", "SUB a")
	k.want("RESUMED 0", "SUBSCRIBED true")
	k.cut(s, "ann")
	pb := e.NewPublisher()
	for i := range all {
		if err := pb.Publish([]byte("a"), Push{Payload: fmt.Appendf(nil, "%d %020000d", i+1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	pb.Flush()
	k = dialKeeper(t, addr)
	_ = k.c.tcp().SetReadBuffer(8 << 10)
	k.send("NAME ann")
	k.want("RESUMED 1")
	for last, same := uint64(0), 0; same < 20; { // until it is given no more, since it does not read
		time.Sleep(2 * time.Millisecond)
		if n := e.Stats().Replayed; n == last && n > 0 {
			same++
		} else {
			last, same = n, 0
		}
	}
	r, err := topic.ParseRule(rule)
	if err != nil {
		t.Fatal(err)
	}
	for _, rules := range [][]topic.Rule{nil, {r}} {
		if err := e.SetHistory(HistoryLimits{Rules: rules}); err != nil {
			t.Fatal(err)
		}
	}
	publishNumbers(t, e, "a", 1001, 1005)
	next := 1
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			t.Fatalf("behind %d: %v", next-1, err)
		}
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "GAP" {
			break
		}
		if word != fmt.Sprint(next) {
			t.Fatalf("read %q, want %d or a gap", word, next)
		}
		next++
	}
	if next > all {
		t.Error("nothing was lost: the test shows nothing")
	}
	k.want(numbers(1001, 1005)...)
	publishNumbers(t, e, "a", 1006, 1007)
	k.want(numbers(1006, 1007)...)
	if n := e.Stats().Gaps; n != 1 {
		t.Errorf("%d gaps, want 1", n)
	}
}
