package link

import "testing"

// A link that has ended is not busy: its requests are told what those are that were under way.
func TestRefusal(t *testing.T) {
	l := &link{outbox: newOutbox(1)}
	if !l.outbox.put(func(dst []byte) []byte { return append(dst, "full"...) }) || l.outbox.room() {
		t.Fatal("one frame fills it")
	}
	if got := l.refusal(); got != "busy" {
		t.Errorf("a full link refuses with %q", got)
	}
	l.outbox.close()
	if got := l.refusal(); got != lostWorker {
		t.Errorf("a link that has ended refuses with %q", got)
	}
}
