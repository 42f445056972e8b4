package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
	"github.com/sluicenet/sluice/topic"
)

// TestWatchLast: what a topic has kept comes first, with the time at which it was published, then what
// comes, without a message twice or missing.
func TestWatchLast(t *testing.T) {
	t.Parallel()
	o := startOperated(t, func(c *server.Config) {
		c.Engine.History.Rules = []topic.Rule{{Pattern: "kept", Count: 100, Age: time.Minute}, {Pattern: "big", Count: 100, Age: time.Minute}}
	})
	pb := o.Engine().NewPublisher()
	publish := func(name string, from, to, size int) {
		for i := from; i <= to; i++ {
			if err := pb.Publish([]byte(name), engine.Push{Payload: fmt.Appendf(nil, "%d%s", i, strings.Repeat(" ", size))}); err != nil {
				t.Error(err)
			}
		}
		pb.Flush()
	}
	publish("kept", 1, 10, 0)
	publish("big", 1, 30, 100_000) // more than a page of history
	if out := o.must(t, "watch", "kept", "--last", "3", "-n", "3", "--raw"); out != "8\n9\n10\n" {
		t.Errorf("the last three: %q", out)
	}
	if out := o.must(t, "watch", "kept", "--last", "1000", "-n", "10", "--raw"); !strings.HasPrefix(out, "1\n2\n") {
		t.Errorf("all: %q", out)
	}
	time.Sleep(20 * time.Millisecond) // by the clock, which they are shown with
	begun := time.Now()
	var m watched
	if err := json.Unmarshal([]byte(o.must(t, "watch", "kept", "--last", "1", "-n", "1", "--json")), &m); err != nil || !m.Time.Before(begun) {
		t.Errorf("the last one is of %v (%v), asked for at %v", m.Time, err, begun)
	}
	for name, size := range map[string]int{"kept": 0, "big": 100_000} {
		from := map[string]int{"kept": 1, "big": 1}[name]
		last := map[string]int{"kept": 10, "big": 30}[name]
		done := make(chan string)
		go func() {
			_, out, _ := o.do("watch", name, "--last", "100", "-n", fmt.Sprint(last-from+1+5), "--raw")
			done <- out
		}()
		for o.Engine().Topics().Count([]byte(name)) == 0 {
			time.Sleep(time.Millisecond)
		}
		publish(name, last+1, last+5, size)
		var got, want []string
		for line := range strings.Lines(<-done) {
			got = append(got, strings.TrimSpace(line))
		}
		for i := from; i <= last+5; i++ {
			want = append(want, fmt.Sprint(i))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if code, out, errs := o.do("watch", "plain", "--last", "1"); code == exitOK || out != "" || !strings.Contains(errs, "no history") {
		t.Errorf("a topic without history: %d, %q, %q", code, out, errs)
	}
}

// TestPublishKept: a message that nobody has heard, and that the topic keeps, is not called lost.
func TestPublishKept(t *testing.T) {
	t.Parallel()
	o := startOperated(t, func(c *server.Config) {
		c.Engine.History = engine.HistoryLimits{Total: 64 << 10, Rules: []topic.Rule{{Pattern: "kept", Count: 2, Age: time.Minute}, {Pattern: "none", Count: 0}}}
	})
	large := strings.Repeat("x", 65<<10) // more than all may keep
	for _, tc := range []struct{ topic, data, out, errs string }{
		{"plain", "a", "published to 0 subscribers\n", "sluice: nobody subscribes to \"plain\" yet\n"},
		{"none", "a", "published to 0 subscribers\n", "sluice: nobody subscribes to \"none\" yet\n"},
		{"kept", large, "published to 0 subscribers\n", "sluice: nobody subscribes to \"kept\" yet\n"},
		{"kept", "a", "published to 0 subscribers, and kept\n", ""},
	} {
		if code, out, errs := o.do("publish", tc.topic, tc.data); code != exitOK || out != tc.out || errs != tc.errs {
			t.Errorf("%s, %d bytes: %d, %q, %q", tc.topic, len(tc.data), code, out, errs)
		}
	}
	if out := o.must(t, "publish", "kept", "b", "--json"); !strings.Contains(out, `"kept":true`) {
		t.Error(out)
	}
}
