package beat

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"
)

// What begins at different times is done at the same moments.
func TestRun(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		start := time.Now() // midnight
		var first, second []time.Duration
		done := make(chan struct{})
		run := func(every time.Duration, list *[]time.Duration, takes time.Duration) {
			go Run(every, done, func() {
				*list = append(*list, time.Since(start))
				time.Sleep(takes)
			})
		}
		time.Sleep(300 * time.Millisecond)
		run(time.Second, &first, 0)
		time.Sleep(400 * time.Millisecond)
		run(500*time.Millisecond, &second, 600*time.Millisecond)
		time.Sleep(3 * time.Second)
		close(done)
		time.Sleep(time.Second)
		synctest.Wait()
		check := func(what string, got []time.Duration, want ...time.Duration) {
			t.Helper()
			if len(got) != len(want) {
				t.Fatalf("%s: %v, want %v", what, got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
			}
		}
		check("each second", first, time.Second, 2*time.Second, 3*time.Second)
		check("too slow for its half seconds", second, time.Second, 2*time.Second, 3*time.Second)
	})
}

func TestLeft(t *testing.T) {
	at := time.Unix(1_800_000_000, 250_000_000)
	for _, tt := range []struct{ every, want time.Duration }{
		{time.Second, 750 * time.Millisecond},
		{250 * time.Millisecond, 250 * time.Millisecond}, // not at once
		{5 * time.Second, 4750 * time.Millisecond},
	} {
		if got := left(at, tt.every); got != tt.want {
			t.Errorf("every %v: %v left, want %v", tt.every, got, tt.want)
		}
	}
}
