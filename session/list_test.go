package session

import (
	"reflect"
	"testing"
	"time"
)

// TestDescribe: what is told of a session is what its next holder would get, and nobody's but the
// caller's.
func TestDescribe(t *testing.T) {
	s := newStore(t, StoreConfig{})
	is := mustBegin(t, s, t0, 1, "ann")
	if l, kept, ok := s.Describe(is.ID); !ok || l.User != "ann" || l.Holder != 1 || l.Expires != is.Expires || !reflect.DeepEqual(kept, Snapshot{}) {
		t.Errorf("attached: %+v, %+v, %v", l, kept, ok)
	}
	s.Detach(after(time.Second), is.ID, 1, Snapshot{SessionText: "text", Topics: []string{"a", "b"}, Claims: map[string]string{"k": "v"}})
	l, kept, ok := s.Describe(is.ID)
	if !ok || l.Holder != 0 || l.Topics != 2 || l.Bytes == 0 || kept.SessionText != "text" || len(kept.Topics) != 2 || kept.Claims["k"] != "v" {
		t.Errorf("detached: %+v, %+v, %v", l, kept, ok)
	}
	kept.Topics[0], kept.Claims["k"] = "x", "x"
	if _, again, _ := s.Describe(is.ID); again.Topics[0] != "a" || again.Claims["k"] != "v" {
		t.Errorf("a caller has changed it to %+v", again)
	}
	s.End(after(time.Second), is.ID)
	if _, _, ok := s.Describe(is.ID); ok || !s.Ended(is.ID) {
		t.Error("it is there after its end")
	}
}
