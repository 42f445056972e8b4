package gateway_test

import (
	"testing"

	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// The loop's request is empty when a protocol gets it, whatever became of the one before: it was
// served, or its handler has panicked, or the protocol has thought better of it.
func TestScratchRequestIsEmpty(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if err := s.Handle("fails", func(*gateway.Request) { panic("on purpose") }); err != nil {
		t.Fatal(err)
	}
	found := make(chan gateway.Request, 3)
	if err := s.Handle("look", func(r *gateway.Request) {
		g, c, session := r.Gateway(), r.Conn(), r.Session()
		g.Engine().TellLoop(c.Loop().Index(), func() {
			fill := func() {
				r := g.Scratch(c.Loop()).Request()
				found <- *r
				r.Route, r.ID, r.Payload = []byte("fails"), 7, []byte("x")
			}
			fill() // behind one that was served
			fill() // behind one that was not
			func() {
				defer func() { _ = recover() }()
				g.ServeScratch(c, session)
			}()
			fill()
		})
		r.Reply([]byte("{}"))
	}); err != nil {
		t.Fatal(err)
	}
	online(t, s, "ann").write(request(1, "look", "{}"))
	for i := range 3 {
		if r := <-found; r.Route != nil || r.ID != 0 || r.Payload != nil || r.Conn() != nil {
			t.Errorf("request %d has a route %q, id %d, payload %q of the one before", i, r.Route, r.ID, r.Payload)
		}
	}
}
