package gateway_test

import (
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// Bytes that wait in the socket when a packet's time is over are read before its client is closed.
// They buy it no other window: a byte at the right moment would, again and again. Only of a loop
// that is late itself a client has a window anew.
func TestPacketLateWithUnreadBytes(t *testing.T) {
	t.Parallel()
	const window = time.Minute
	for _, tt := range []struct {
		name   string
		late   time.Duration // how late the look is
		unread bool
		closed bool
		left   time.Duration // of the window, behind the look
	}{
		{"nothing to read", 0, false, true, 0},
		{"nothing to read, late", 10 * time.Second, false, true, -10 * time.Second},
		{"a byte", 0, true, false, 0},
		{"a byte, a little late", 300 * time.Millisecond, true, false, -300 * time.Millisecond},
		{"a byte, late", 10 * time.Second, true, false, window},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Gateway.PacketTimeout = window })
			p := online(t, s, "ann")
			type finding struct {
				closed bool
				left   int64
			}
			found := make(chan finding, 1)
			if err := s.Handle("late", func(r *gateway.Request) { // the loop reads nothing meanwhile
				c, limit := r.Conn(), window.Milliseconds()
				now := c.Loop().Now()
				var timer gateway.PacketTimer
				timer.Left(now-limit-tt.late.Milliseconds(), 1, limit) // half a packet was there then
				if tt.unread {
					p.write([]byte{0})
					for silent := uint32(now - limit); c.SilenceLeft(&silent, limit) <= 0; {
						time.Sleep(time.Millisecond)
					}
				}
				closed := r.Gateway().PacketLate(c, &timer)
				left, _ := timer.Left(now, 1, limit)
				found <- finding{closed, left}
			}); err != nil {
				t.Fatal(err)
			}
			p.write(request(1, "late", "{}"))
			if got, want := <-found, (finding{tt.closed, tt.left.Milliseconds()}); got != want {
				t.Errorf("closed and ms left: %v, want %v", got, want)
			}
			if tt.closed {
				await(t, "its reason", func() bool { return s.Engine().Stats().Closed[engine.ReasonPacketTimeout] == 1 })
			}
		})
	}
}
