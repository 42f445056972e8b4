package link

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		var th throttle
		for range 1000 {
			th.warn(log, "flood", "peer", "x")
		}
		if n := strings.Count(out.String(), "flood"); n != 1 {
			t.Fatalf("%d lines in the first second, want 1", n)
		}
		out.Reset()
		time.Sleep(time.Second)
		for range 2 {
			th.warn(log, "flood", "peer", "x")
		}
		if got := out.String(); strings.Count(got, "flood") != 1 || !strings.Contains(got, "omitted=999") {
			t.Errorf("the next second: %q, want one line that counts 999", got)
		}
	})
}
