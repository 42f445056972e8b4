package cluster

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
	"github.com/sluicenet/sluice/internal/syncbuf"
)

// A shop is a node's clock that somebody sets, beside that of a server.
type shop struct {
	*clock
	log      syncbuf.Buffer
	off      time.Duration // of the node's clock
	server   time.Duration // of the server's
	revision uint64
}

// newShop makes a clock of a node whose clock is ahead of the server's.
func newShop(off time.Duration) *shop {
	s := &shop{off: off}
	config := &Config{
		wall:   func() time.Time { return time.Now().Add(s.off) },
		Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
	}
	s.clock = newClock(config)
	return s
}

// renew has a renewal take some time to the server, and back; early says that its date is known before
// its answer.
func (s *shop) renew(there, back time.Duration, early bool) {
	s.revision++
	sent := s.read()
	time.Sleep(there)
	at := time.Now().Add(s.server)
	if early {
		s.dated(s.revision, at)
	}
	time.Sleep(back)
	s.wrote(s.revision, sent)
	if !early {
		s.dated(s.revision, at)
	}
}

func (s *shop) want(t *testing.T, what string, now, offset, within time.Duration) {
	t.Helper()
	if d := time.Until(s.now()); (d - now).Abs() > within {
		t.Errorf("%s: now is %v after the test's clock, want %v", what, d, now)
	}
	if d := s.offset(); (d - offset).Abs() > within {
		t.Errorf("%s: the node's clock is %v ahead, want %v", what, d, offset)
	}
}

// A node knows NATS's time whatever its own clock says, as exactly as its renewals are fast, and whoever
// sets its clock changes nothing.
func TestClock(t *testing.T) {
	const ms = time.Millisecond
	for _, off := range []time.Duration{0, time.Second, time.Hour, -time.Hour, 24 * time.Hour} {
		faketime.Test(t, func(t *testing.T) {
			s := newShop(off)
			s.want(t, "before a renewal", off, 0, 0)
			s.renew(800*ms, 900*ms, true)
			s.want(t, "behind a slow renewal", 0, off, 900*ms)
			s.renew(ms, 2*ms, false)
			s.want(t, "behind a fast one", 0, off, 2*ms)
			s.renew(time.Second, 0, false)
			s.want(t, "behind another slow one", 0, off, 2*ms)
			for _, step := range []time.Duration{24 * time.Hour, -48 * time.Hour} {
				s.off += step
				s.want(t, "behind a step", 0, off, 2*ms)
				s.renew(ms, ms, true)
				s.want(t, "behind a renewal", 0, s.off, 2*ms)
				s.off -= step
				s.renew(ms, ms, true)
			}
			s.server = -time.Hour // another server's clock
			s.renew(ms, ms, true)
			s.want(t, "by another server", -time.Hour, off+time.Hour, 3*ms)
		})
	}
}

// Where nothing is wrong nothing is corrected: an answer that is late says nothing of clocks.
func TestClockThatIsRight(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		s := newShop(0)
		for i := range 20 {
			s.renew(time.Duration(i)*time.Second, time.Duration(20-i)*time.Second, i%2 == 0)
			s.want(t, "an hour of slow answers", 0, 0, 0)
		}
		// What is dated and was not written here, or was long ago, says nothing either.
		s.dated(77, time.Now().Add(time.Hour))
		s.want(t, "a foreign date", 0, 0, 0)
		if text := s.log.String() + s.status(); text != "" {
			t.Errorf("it says %q", text)
		}
	})
}

// That a clock is wrong is said once, and that it is right again.
func TestClockSays(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		s := newShop(0)
		for _, off := range []time.Duration{0, 4 * time.Second, -4 * time.Second, time.Hour, time.Hour, -time.Hour, 0, 0} {
			s.off = off
			s.renew(time.Millisecond, time.Millisecond, true)
			want := map[time.Duration]string{time.Hour: "clock: 1h0m0s ahead of NATS's", -time.Hour: "clock: 1h0m0s behind NATS's"}[off]
			if got := s.status(); got != want {
				t.Errorf("%v: the status is %q, want %q", off, got, want)
			}
		}
		text := s.log.String()
		if strings.Count(text, "\n") != 2 || !strings.Contains(text, "1h0m0s ahead of NATS's") || !strings.Contains(text, "again") {
			t.Errorf("the log is\n%s", text)
		}
	})
}

// A lease's renewals, and the watch of the bucket, are what a node knows NATS's time by.
func TestClockOfLease(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		store := newFakeStore(20 * time.Second)
		n, err := New(Config{Name: "c", Self: 1, Nodes: store, wall: func() time.Time { return time.Now().Add(time.Hour) }})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.lease.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n.tasks.Go(func() { _ = store.Watch(ctx, n.census.hear) })
		n.tasks.Go(func() { n.lease.run(ctx) })
		defer n.tasks.Wait()
		defer cancel()
		time.Sleep(3 * time.Second)
		if d := time.Until(n.Now()).Abs(); d > time.Millisecond {
			t.Errorf("its time is off by %v", d)
		}
		if d := n.config.clock.offset(); (d - time.Hour).Abs() > time.Millisecond {
			t.Errorf("its clock is ahead by %v", d)
		}
	})
}
