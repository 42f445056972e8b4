package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
)

// TestEndingsAreBounded: the ring keeps the last, newest first, and counts what it takes.
func TestEndingsAreBounded(t *testing.T) {
	kept := int64(0)
	r := endings{charge: func(n int64) { kept += n }}
	for i := range keepClosed + 500 {
		r.add(ended{user: fmt.Sprintf("user-%05d", i), why: engine.ReasonShutdown})
	}
	var users []string
	r.list(1<<62, func(_ uint64, e *ended) bool { users = append(users, e.user); return true })
	if len(users) != keepClosed || users[0] != "user-10499" || users[keepClosed-1] != "user-00500" {
		t.Errorf("%d, from %s to %s", len(users), users[0], users[len(users)-1])
	}
	if least := keepClosed * (endedSize + 10); kept < least || kept > 2*least {
		t.Errorf("%d bytes are counted, want %d and a little", kept, least)
	}
	n := 0
	r.list(10_400, func(number uint64, _ *ended) bool { n++; return number > 10_391 })
	if n != 10 {
		t.Errorf("%d from a cursor", n)
	}
	if r.clear(); kept != 0 {
		t.Errorf("%d bytes are counted of nothing", kept)
	}
}

// TestEndingsAreListedAside: connections end while the list is looked through, and wait for nobody. What
// is told is in order, and each is who its number says.
func TestEndingsAreListedAside(t *testing.T) {
	r := endings{charge: func(int64) {}}
	for range keepClosed + 7 {
		r.add(ended{ms: int64(r.total) + 1})
	}
	last := r.total + 1
	r.list(1<<62, func(number uint64, e *ended) bool {
		if number != last-1 || e.ms != int64(number) {
			t.Errorf("number %d is %d, behind %d", number, e.ms, last)
		}
		last = number
		r.add(ended{ms: int64(r.total) + 1})
		return !t.Failed()
	})
	// As many have come as were looked at: half of the ring was still there when it was looked for.
	if least, most := uint64(keepClosed/2), uint64(keepClosed/2+endedAtOnce+8); last < least || last > most {
		t.Errorf("the list ends at %d, want %d to %d", last, least, most)
	}
}

// TestCursorsAreBounded: lists go when nobody asks for them, and when there are too many.
func TestCursorsAreBounded(t *testing.T) {
	kept := int64(0)
	cs := cursors{charge: func(n int64) { kept += n }}
	now := time.Unix(1000, 0)
	first := cs.keep(make([]engine.Ref, 100), now)
	for i := range 2 * maxCursors {
		now = now.Add(time.Second)
		cs.keep(make([]engine.Ref, 100), now)
		if _, _, _, err := cs.find("s"+first+".50", now); err != nil {
			t.Fatalf("after %d others, though it is in use: %v", i, err)
		}
	}
	if len(cs.lists) != maxCursors || kept != maxCursors*800 {
		t.Errorf("%d lists, %d bytes", len(cs.lists), kept)
	}
	var gone *refusal
	if _, _, _, err := cs.find("s"+first+".50", now.Add(cursorTTL+1)); !errors.As(err, &gone) || gone.Code != codeGone {
		t.Errorf("after its time: %v", err)
	}
	if kept != 0 {
		t.Errorf("%d bytes are counted of nothing", kept)
	}
}

// TestTailDropsOldest: what its reader does not take goes, oldest first, counted; and the source of the
// messages never waits.
func TestTailDropsOldest(t *testing.T) {
	kept := int64(0)
	b := &tailBacklog{more: make(chan struct{}, 1), charge: func(n int64) { kept += n }}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() { defer close(done); b.read(theirs) }()
	const messages, size = 500, 10 << 10
	for i := range messages {
		payload := append(fmt.Appendf(nil, "%04d", i), strings.Repeat("x", size-4)...)
		_ = ours.SetWriteDeadline(time.Now().Add(30 * time.Second))
		if _, err := ours.Write(append([]byte{0, 0, size >> 8, size & 255}, payload...)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	ours.Close()
	<-done
	if kept > tailBytes || kept < tailBytes/2 {
		t.Errorf("%d bytes are kept", kept)
	}
	list, dropped, err := b.take()
	if err == nil || len(list)+int(dropped) != messages || string(list[len(list)-1].text[:4]) != "0499" || string(list[0].text[:4]) != fmt.Sprintf("%04d", dropped) {
		t.Errorf("%d shown from %s, %d dropped, %v", len(list), list[0].text[:4], dropped, err)
	}
	if kept != 0 {
		t.Errorf("%d bytes are counted of nothing", kept)
	}
}

// TestQueriesAreBounded: a fifth has to wait, and is told so when it has waited for long enough.
func TestQueriesAreBounded(t *testing.T) {
	s := newServer(t, login.Open{}, func(c *Config) { c.Dev = true })
	for range maxQueries {
		if err := s.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w := ask(s, "GET", "/api/v1/loops")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"code":"busy"`) || s.busy.Load() != 1 {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	go func() { time.Sleep(10 * time.Millisecond); s.leave() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.enter(ctx); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// TestSlices: a query that goes on for long gives the loop back in between.
func TestSlices(t *testing.T) {
	sl, n := newSlice(8), 0
	for ; !sl.over(); n++ {
		time.Sleep(50 * time.Microsecond)
		if n > 100 {
			t.Fatalf("%d steps of 50 µs and more", n)
		}
	}
}

func TestRefNames(t *testing.T) {
	for _, ref := range []engine.Ref{1, 0x0100000000000001, 0xfeffffffffffffff} {
		if got, ok := parseRef(refText(ref)); !ok || got != ref {
			t.Errorf("%x: %s, %x", uint64(ref), refText(ref), uint64(got))
		}
	}
	for _, text := range []string{"", "1", "000000000000000g", "00000000000000AB", "00000000000000000"} {
		if _, ok := parseRef(text); ok {
			t.Errorf("%q names a connection", text)
		}
	}
}
