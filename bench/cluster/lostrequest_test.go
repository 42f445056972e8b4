package clustertest

import (
	"testing"
	"time"
)

// A request of a read that gets lost, as when the server dies that was asked, costs it seconds: what the
// topic goes on with meanwhile must not push out of the log what is to be read.
func TestRequestsLost(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"CONSUMER.CREATE", "CONSUMER.MSG.NEXT", "CONSUMER.DELETE"} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, nil)
			p := startProxy(t, s.options.Port)
			list := []*gateway{
				serve(t, 1, append(rooms, "--cluster", s.url())...),
				serve(t, 2, append(rooms, "--cluster", p.url())...),
			}
			pub := list[0].login()
			pub.burst("room.1", 1, 5)
			list[0].stored(5) // else there is nothing to read
			p.lose("$JS.API." + request)
			c := list[1].login()
			if err := c.send("sluice.Subscribe", `{"topics":["room.1"],"last":5}`); err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= 5; n++ {
				if got, err := c.next(patience / 3); err != nil || got.n != n {
					t.Fatalf("%+v, %v, want %d", got, err, n)
				}
			}
			await(t, "a request to be lost", p.lost)
			if request == "CONSUMER.DELETE" {
				return // it ends by itself, in 10 s
			}
			_, js := administrate(t, s.url())
			within := time.Now().Add(5 * time.Second)
			for n := 1; n > 0; time.Sleep(10 * time.Millisecond) {
				stream, err := js.Stream(t.Context(), historyStream)
				if err != nil {
					t.Fatal(err)
				}
				if n = stream.CachedInfo().State.Consumers; n > 0 && time.Now().After(within) {
					t.Fatalf("%d consumers are left", n)
				}
			}
		})
	}
}
