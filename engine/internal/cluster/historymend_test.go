package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicenet/sluice/internal/faketime"
)

// What a stream has kept before it was told to keep more is remembered until nothing of that can be
// there.
func TestKept(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name, had string
		age       time.Duration
		want      int64
	}{
		{"nothing is said", "", time.Minute, 50},
		{"fewer, a moment ago", "10," + now.Add(-time.Second).UTC().Format(time.RFC3339), time.Minute, 10},
		{"more, a moment ago", "70," + now.Add(-time.Second).UTC().Format(time.RFC3339), time.Minute, 50},
		{"fewer, which are gone", "10," + now.Add(-time.Hour).UTC().Format(time.RFC3339), time.Minute, 50},
		{"fewer, which stay", "10," + now.Add(-time.Hour).UTC().Format(time.RFC3339), 0, 10},
		{"no number", "x," + now.UTC().Format(time.RFC3339), time.Minute, 50},
		{"no time", "10,x", time.Minute, 50},
		{"below one", "0," + now.UTC().Format(time.RFC3339), time.Minute, 50},
	} {
		c := jetstream.StreamConfig{MaxMsgsPerSubject: 50, MaxAge: tc.age, Metadata: map[string]string{keptKey: tc.had, "other": "stays"}}
		m := withKept(&c, now, now.Add(time.Minute))
		kept, until := readKept(m)
		if kept != tc.want || until.Before(now) || m["other"] != "stays" {
			t.Errorf("%s: %v: %d until %v, want %d", tc.name, m, kept, until, tc.want)
		}
	}
}

// A stream that is edited is mended within seconds, although nobody is subscribed to anything. What
// cannot be mended is said, tried again now and then, and at once when something else is wrong;
// only what would lose messages has publishes be refused.
func TestStreamMended(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		w, h := bootHistory(t)
		edit := func(wrong, low []string, refusal error) {
			w.net.mu.Lock()
			defer w.net.mu.Unlock()
			w.store.wrong, w.store.low, w.store.refusal = wrong, low, refusal
		}
		asked := func() int {
			w.net.mu.Lock()
			defer w.net.mu.Unlock()
			return w.store.mendings
		}
		refusal := &StreamError{"S", errors.New("no right")}
		edit([]string{"republish is off"}, nil, nil)
		time.Sleep(6 * time.Second)
		if s := h.stats(); asked() != 1 || s.Mended != 1 || s.Wrong != 0 || h.Away() != nil {
			t.Errorf("asked %d times, %+v, %v", asked(), s, h.Away())
		}
		edit(nil, []string{"max-age is 1s"}, refusal)
		time.Sleep(20 * time.Second)
		if s := h.stats(); asked() != 2 || s.Wrong != 1 || h.Away() != nil {
			t.Errorf("asked %d times, %+v, %v", asked(), s, h.Away())
		}
		if text := strings.Join(h.status(), "\n"); !strings.Contains(text, "not as it has to be: max-age is 1s") || !strings.Contains(text, "no right") {
			t.Errorf("the status is %s", text)
		}
		time.Sleep(20 * time.Second)
		if asked() != 3 {
			t.Errorf("asked %d times, want 3", asked())
		}
		edit([]string{"ack is false"}, nil, refusal)
		time.Sleep(6 * time.Second)
		if err := h.Away(); asked() != 4 || err == nil || !strings.Contains(err.Error(), "no right") {
			t.Errorf("asked %d times, %v", asked(), err)
		}
		edit(nil, nil, nil) // by who may
		time.Sleep(6 * time.Second)
		if s := h.stats(); h.Away() != nil || s.Wrong != 0 || s.Mended != 1 {
			t.Errorf("%v, %+v", h.Away(), s)
		}
	})
}
