//go:build !race

package gateway_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// What workers are told of who asks is what the client is at that moment, and to say it again takes no
// memory, however long it is.
func TestAskerIsTheClientAsItIs(t *testing.T) {
	s := start(t, nil)
	session, id := "", "" // of the client that asks next
	type result struct {
		got, want []byte
		allocs    float64
	}
	results := make(chan result, 1)
	if err := s.Handle("who", func(r *gateway.Request) {
		g, c, cl := r.Gateway(), r.Conn(), r.Client()
		if err := g.SetSession(c, cl, session); err != nil {
			t.Error(err)
		}
		if id == "" {
			g.Renew(c, cl)
		} else if _, err := g.Rename(c, cl, id); err != nil {
			t.Error(err)
		}
		m := netsvr.Request{
			ID: 1, UniqID: []byte(r.UniqID()), Session: []byte(session), Protocol: []byte("gosoc"),
			User: []byte(r.User()), Peer: c.AppendPeer(nil),
		}
		o := result{
			got:  (&netsvr.Request{ID: 1, Session: []byte("another")}).AppendOf(nil, gateway.AskerOf(r)),
			want: m.Append(nil),
		}
		o.allocs = testing.AllocsPerRun(10, func() { gateway.AskerOf(r) })
		results <- o
	}); err != nil {
		t.Fatal(err)
	}
	ann, bob := online(t, s, "ann"), online(t, s, "bob")
	for _, set := range []struct{ session, id string }{
		{"", ""}, {"", ""}, {"what workers have noted of the client", ""}, {"else", ""}, {"else", "named"},
		{"else", ""}, {strings.Repeat("long", 1000), "named"}, {strings.Repeat("list", 1000), "named"}, {"", ""},
	} {
		for i, p := range []*phone{ann, bob, ann} {
			if session, id = set.session, set.id; id != "" && i == 1 {
				id += " too"
			}
			p.write(request(1, "who", ""))
			if o := <-results; !bytes.Equal(o.got, o.want) || o.allocs != 0 {
				t.Errorf("session %.20q, id %q: told %q, want %q; %v allocations", session, id, o.got, o.want, o.allocs)
			}
		}
	}
}
