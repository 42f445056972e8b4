package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestTop(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	o.connect(t, "ann")
	out := o.must(t, "top", "-n", "2", "-i", "200ms")
	pages := strings.Split(out, "\n\nsluice ")
	if len(pages) != 2 || strings.Contains(out, "\x1b") {
		t.Fatalf("two pages are\n%s", out)
	}
	for _, page := range pages {
		for _, want := range []string{", ready\n", "\nconnections  1 of ", "users 1; gosoc 1\n", "\nlately       nothing", "\nConnections by -bytesOut\nID  ", "  ann  "} {
			if !strings.Contains(page, want) {
				t.Errorf("no %q in\n%s", want, page)
			}
		}
	}
	out = o.must(t, "top", "-n", "2", "-i", "200ms", "--json")
	for line := range strings.Lines(out) {
		var s topStats
		if err := json.Unmarshal([]byte(line), &s); err != nil || s.Connections.Now != 1 || s.UptimeSeconds <= 0 {
			t.Errorf("%q: %v", line, err)
		}
	}
	if strings.Count(out, "\n") != 2 {
		t.Errorf("as JSON: %q", out)
	}
	for _, args := range [][]string{{"-i", "1ms"}, {"-i", "2h"}, {"-n=-1"}, {"--sort", "beauty"}} {
		if code, out, errs := o.do("top", args...); code != exitUsage || out != "" {
			t.Errorf("top %q: %d, %q, %q", args, code, out, errs)
		}
	}
	code, out, errs := sluice("top", "--admin", o.AdminURL())
	wantLine(t, code, exitFailed, out, errs, "SLUICE_ADMIN_TOKEN_FILE")
}

// TestTopOutlives: a gateway that goes ends no top, only the operator does.
func TestTopOutlives(t *testing.T) {
	t.Parallel()
	o := startOperated(t, nil)
	cmd := topCmd{Interval: 200 * time.Millisecond, Sort: "-bytesOut"}
	cmd.Admin, cmd.AdminTokenFile = o.AdminURL(), o.full
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopped := false
	err := cmd.run(ctx, &streams{stdout: writer(func(p []byte) {
		switch {
		case strings.Contains(string(p), "cannot be asked"):
			cancel()
		case !stopped:
			stopped = true
			_ = o.Stop(context.Background())
		}
	})})
	if err != nil || ctx.Err() == nil {
		t.Errorf("top ends with %v, cancelled: %v", err, ctx.Err())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// TestTopRates: rates are those between two pages, and none from one gateway to the next.
func TestTopRates(t *testing.T) {
	var before, after topStats
	for text, s := range map[string]*topStats{
		`{"uptimeSeconds":10,"connections":{"accepted":100,"closed":{"shutdown":1,"reset":4}},"messages":{"deliveries":1000,"sentBytes":0}}`: &before,
		`{"uptimeSeconds":12,"connections":{"accepted":101,"closed":{"shutdown":3,"reset":9,"kicked-out":2}},"messages":{"deliveries":25700,"sentBytes":4096,"drops":{"lag":1}},
		  "notReady":["draining"],"loops":[{"lagSeconds":0.001},{"lagSeconds":2}],"latency":{"count":1,"p50":0.001,"p99":0.25},"workers":{"registered":3}}`: &after,
	} {
		if err := json.Unmarshal([]byte(text), s); err != nil {
			t.Fatal(err)
		}
	}
	page := strings.Join((&topPage{stats: after}).lines(&before, "x"), "\n")
	for _, want := range []string{
		"NOT READY: draining", "accepted 0.5/s", "delivered 12.3k/s", "sent         0/s, 2.0KiB/s", "p50 ≤1ms, p99 ≤250ms", "workers 3",
		"lag 1ms 2.0s", "closed: reset 5, kicked-out 2, shutdown 2; dropped: lag 1",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if page := strings.Join((&topPage{stats: before}).lines(&after, "x"), "\n"); !strings.Contains(page, "delivered 0/s") || !strings.Contains(page, "nothing closed") {
		t.Errorf("after a restart:\n%s", page)
	}
}
