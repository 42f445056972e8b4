package topic

import (
	"fmt"
	"runtime"
	"testing"
)

// As many topics are known as may be: one that keeps nothing goes for a new one, and when all keep
// something, the new one has no history until there is room.
func TestMostTopics(t *testing.T) {
	h := NewHistory(HistoryConfig{Loops: 1, Epoch: 1, Keep: 1000})
	rules := parseRules(t, "*=10,1s")
	h.Set(rules, 1<<20, 3, 0)
	append1 := func(name string, now int64) bool {
		s := h.Stream([]byte(name), now)
		if s == nil {
			return false
		}
		s.Lock()
		defer s.Unlock()
		_, _, ok := h.Append(s, now, AppendRecord(nil, "", 0, []byte("x")))
		return ok
	}
	want := func(topics int, forgotten, refused uint64) {
		t.Helper()
		if st := h.Stats(); st.Topics != topics || st.Forgotten != forgotten || st.Refused != refused {
			t.Fatalf("%d topics, %d forgotten, %d refused, want %d, %d, %d", st.Topics, st.Forgotten, st.Refused, topics, forgotten, refused)
		}
	}
	first := h.Stream([]byte("idle"), 0)
	h.Stream([]byte("idle too"), 1)
	if !append1("a", 2) || !append1("b", 3) || h.Known(first) {
		t.Fatal("a topic that keeps nothing did not go for one that does")
	}
	want(3, 1, 0)
	if !append1("c", 4) || append1("d", 5) || append1("d", 6) || h.Stream([]byte("e"), 7) != nil {
		t.Fatal("a fourth topic that keeps something")
	}
	want(3, 2, 3)
	if !append1("a", 8) {
		t.Fatal("a topic that is known has no history")
	}
	h.Expire(1003, 100) // b's only message
	if !append1("d", 1003) {
		t.Fatal("there is room, and a new topic has no history")
	}
	want(3, 3, 3)
	h.Set(rules, 1<<20, 2, 1004) // what there are stay
	want(3, 3, 3)
	if append1("e", 1005) {
		t.Fatal("one more than may be")
	}
	h.Set(rules, 1<<20, 4, 1006)
	if !append1("e", 1007) {
		t.Fatal("the limit has risen")
	}
}

// What names cost is on the account: of topics with one short message each, and of those that keep
// nothing.
func TestNamesAreCounted(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, kept := range []bool{false, true} {
		before := heap()
		h := NewHistory(HistoryConfig{Loops: 2, Epoch: 1, Keep: 1000})
		h.Set(parseRules(t, "*=1000,1m"), 1<<30, 1<<20, 0)
		record := AppendRecord(nil, "", 0, []byte("short"))
		for i := range 50_000 {
			s := h.Stream(fmt.Appendf(nil, "a topic with a name like others, %d", i), int64(i))
			if kept {
				s.Lock()
				h.Append(s, int64(i), record)
				s.Unlock()
			}
		}
		took, counted := heap()-before, h.Bytes()
		if took > counted*5/4 || took < counted/2 {
			t.Errorf("with messages %v, 50,000 topics take %d bytes, %d are counted", kept, took, counted)
		}
		t.Logf("with messages %v: %d bytes a topic, %d counted", kept, took/50_000, counted/50_000)
		runtime.KeepAlive(h)
	}
}
