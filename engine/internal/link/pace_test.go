package link

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// A link over its rate is read no faster than that, loses nothing and stays; others are not held up.
func TestPace(t *testing.T) {
	long := frameOf(t, netsvr.CmdBroadcast, &netsvrpb.Broadcast{Data: make([]byte, 100<<10)})
	short := frameOf(t, netsvr.CmdUniqIDCount, nil)
	for _, tc := range []struct {
		name          string
		frames, bytes int
		send          []byte
		n             int
		want          time.Duration
	}{
		{"no limit", 0, 0, long, 100, 0},
		{"within it", 100, 0, short, 100, 0},
		{"frames", 100, 0, short, 350, 2500 * time.Millisecond},
		{"bytes", 0, 100 << 10, long, 5, 4 * time.Second}, // and a little for the heads of frames
		{"both, frames first", 10, 1 << 30, short, 40, 3 * time.Second},
		{"both, bytes first", 1000, 100 << 10, long, 3, 2 * time.Second},
		{"a frame longer than a second's worth", 0, 64 << 10, long, 1, 562 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			faketime.Test(t, func(t *testing.T) {
				h, _ := newHubAtRest(t, Config{FrameRate: tc.frames, ByteRate: tc.bytes})
				other, w := attachFrom(t, h, "127.0.0.1"), attachFrom(t, h, "127.0.0.1")
				other.serves()
				go func() {
					for { // its answers
						if _, _, err := w.read(); err != nil {
							return
						}
					}
				}()
				begun := time.Now()
				for range tc.n {
					_ = w.SetWriteDeadline(time.Time{})
					if _, err := w.Write(tc.send); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				at := time.Now()
				other.serves()
				if held := time.Since(at); held != 0 {
					t.Errorf("another link waited %v", held)
				}
				// A pipe holds nothing: the next byte is taken when the link is read again.
				if _, err := w.Write(short[:1]); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); took < tc.want || took > tc.want+tc.want/50+time.Millisecond {
					t.Errorf("%d frames took %v, want %v", tc.n, took, tc.want)
				}
				s := h.Stats()
				if s.Commands != uint64(tc.n)+2 || s.Links != 2 || (s.Holds > 0) != (tc.want > 0) {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// Rates change for links that are there; one that is held ends with the gateway, and is no worker that
// has stopped.
func TestPaceChanges(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		h, _ := newHubAtRest(t, Config{})
		w := attachFrom(t, h, "127.0.0.1")
		for range 100 {
			w.serves()
		}
		h.SetRates(1, 0)
		begun := time.Now()
		for range 4 {
			w.serves()
		}
		if took := time.Since(begun); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("4 frames at 1 a second took %v", took)
		}
		list := []*link{}
		h.each(func(l *link) { list = append(list, l) })
		list[0].noteAsked()
		busy := &link{hub: h}
		time.Sleep(stillAfter + time.Millisecond)
		busy.noteHeard()
		if held := list[0].progress.paused.Load(); !held || list[0].standsStill(append(list, busy)) {
			t.Errorf("held %v, stands still %v", held, list[0].standsStill(append(list, busy)))
		}
		begun = time.Now()
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}
