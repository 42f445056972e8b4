package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicenet/sluice/internal/faketime"

	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// An endsLog is written by the goroutines of timers, too.
type endsLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *endsLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Of a flood of ends each reason has its lines, however many other reasons have theirs, and the rest is
// summed up and counted.
func TestFloodOfEnds(t *testing.T) {
	faketime.Test(t, func(t *testing.T) {
		var out endsLog
		e, err := New(Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		if err != nil {
			t.Fatal(err)
		}
		const flood = 1000
		for range flood {
			for why := range numReasons {
				e.logRefused(netip.AddrPort{}, 0, why)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		out.mu.Lock()
		text := out.text.String()
		out.mu.Unlock()
		var left uint64
		for why := range numReasons {
			lines, sums := endLines, 1
			if left += flood - endLines; why.level() < slog.LevelInfo { // it is not logged at all
				left -= flood - endLines
				lines, sums = 0, 0
			}
			line := fmt.Sprintf(`msg="connection ended" reason=%s protocol=unknown peer=unix`, why)
			sum := fmt.Sprintf(`msg="connections ended, each without a line of its own" reason=%s omitted=%d`, why, flood-endLines)
			if got, gotSums := strings.Count(text, line), strings.Count(text, sum); got != lines || gotSums != sums {
				t.Errorf("%v: %d lines and %d sums, want %d and %d", why, got, gotSums, lines, sums)
			}
		}
		if n := lograte.Omitted(e.log); n != left {
			t.Errorf("%d are counted as omitted, want %d", n, left)
		}
	})
}
