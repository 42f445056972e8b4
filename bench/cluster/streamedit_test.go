package clustertest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// wantGapThenLast wants to be told of one gap, and then what is left up to a last message, in order.
func (c *client) wantGapThenLast(last int) {
	c.t.Helper()
	gaps, n := 0, 0
	for n != last {
		g, err := c.next(patience)
		switch {
		case err != nil:
			c.t.Fatalf("%v behind %d", err, n)
		case g.gap:
			gaps++
		case gaps == 0:
			c.t.Fatalf("%d comes first, and no gap", g.n)
		case n > 0 && g.n != n+1:
			c.t.Fatalf("%d behind %d", g.n, n)
		default:
			n = g.n
		}
	}
	if gaps != 1 {
		c.t.Errorf("%d gaps, want one", gaps)
	}
}

// What the stream had let go before it was told to keep more is a gap, on gateways that have seen
// it raised, and on those that have come later.
func TestStreamRaised(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"by a gateway", "by hand"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, nil)
			args := []string{"--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"), "--history"}
			list := serveAll(t, 2, append(args, "room.*=10,5m")...)
			pub := list[1].login()
			_, js := administrate(t, s.url())
			stream, err := js.Stream(t.Context(), historyStream)
			if err != nil {
				t.Fatal(err)
			}
			frames := uint64(0)
			publish := func(topic string, n int) { // what is published while a frame is under way shares the next one
				pub.publish(topic, n)
				frames++
				await(t, "a frame of its own", func() bool {
					info, err := stream.Info(t.Context())
					return err == nil && info.State.LastSeq == frames
				})
			}
			publish("room.0", 1) // the stream's first frame, which stays
			var tickets []string
			for i := range 2 {
				c, ticket := list[0].begin(fmt.Sprint("user-", i))
				c.subscribe("room.1")
				tickets = append(tickets, ticket)
				defer c.hangUp()
				publish("room.1", 1)
				c.want(1, 1)
				c.hangUp()
			}
			list[0].written(2)
			for i := 2; i <= 60; i++ {
				publish("room.1", i)
			}
			list[0].terminate()
			resumes := func(g *gateway, ticket string) {
				t.Helper()
				c, code, _ := g.connect(map[string]any{"session_id": ticket})
				if code != gosoc.Accepted {
					t.Fatal(code)
				}
				c.wantGapThenLast(60)
			}
			if how == "by a gateway" {
				for i, ticket := range tickets {
					resumes(serve(t, 3+i, append(args, "room.*=1000,5m")...), ticket)
				}
				return
			}
			sees := list[1].login()
			sees.subscribe("room.2") // the stream is looked at each second
			config := stream.CachedInfo().Config
			config.MaxMsgsPerSubject = 1001
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2500 * time.Millisecond)
			resumes(list[1], tickets[0])
		})
	}
}

// What somebody changes of the stream while gateways use it is changed back and said; what they can
// do with is said.
func TestStreamEdited(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, says string
		edit       func(c *jetstream.StreamConfig)
		stays      bool
	}{
		{name: "republish", says: "republish is off", edit: func(c *jetstream.StreamConfig) { c.RePublish = nil }},
		{
			name: "republished elsewhere", says: "republish is sluice.default.h.* to elsewhere.",
			edit: func(c *jetstream.StreamConfig) { c.RePublish.Destination = "elsewhere.{{wildcard(1)}}" },
		},
		{name: "headers only", says: "republish is ", edit: func(c *jetstream.StreamConfig) { c.RePublish.HeadersOnly = true }},
		{
			name: "subjects", says: "subjects is [elsewhere.*]",
			edit: func(c *jetstream.StreamConfig) { c.Subjects, c.RePublish = []string{"elsewhere.*"}, nil },
		},
		{
			name: "transform", says: "transform is on", edit: func(c *jetstream.StreamConfig) {
				c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "sluice.default.h.*", Destination: "moved.{{wildcard(1)}}"}
			},
		},
		{name: "direct", says: "allow-direct is false", edit: func(c *jetstream.StreamConfig) { c.AllowDirect = false }},
		{name: "discard", says: "discard is DiscardNew", edit: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }},
		{name: "discard per subject", says: "discard is DiscardNew", edit: func(c *jetstream.StreamConfig) {
			c.Discard, c.DiscardNewPerSubject = jetstream.DiscardNew, true
		}},
		{name: "retention", says: "retention is Interest", edit: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		{name: "per topic", says: "max-msgs-per-subject is 5", edit: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 }},
		{name: "age", says: "max-age is 1s", edit: func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Second, time.Second }},
		{name: "duplicates", says: "dupe-window is 100ms", edit: func(c *jetstream.StreamConfig) { c.Duplicates = 100 * time.Millisecond }},
		{name: "no answers", says: "ack is false", edit: func(c *jetstream.StreamConfig) { c.NoAck = true }},
		{name: "message size", says: "max-msg-size is 10", edit: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 }},
		{name: "consumers", says: "max-consumers is 1", edit: func(c *jetstream.StreamConfig) { c.MaxConsumers = 1 }},
		{
			name: "consumers' limit", says: "limit-consumer-inactive is 1s",
			edit: func(c *jetstream.StreamConfig) { c.ConsumerLimits.InactiveThreshold = time.Second },
		},
		{name: "messages", says: "it keeps 30 frames of all topics", stays: true, edit: func(c *jetstream.StreamConfig) { c.MaxMsgs = 30 }},
		{name: "bytes", says: "it keeps 100000 bytes, want 268435456", stays: true, edit: func(c *jetstream.StreamConfig) { c.MaxBytes = 100_000 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if !slices.Contains([]string{"republish", "retention", "per topic", "bytes"}, tc.name) {
				long(t)
			}
			s := startNATS(t, nil)
			list := serveAll(t, 2, append(rooms, "--cluster", s.url())...)
			_, js := administrate(t, s.url())
			configured := func() jetstream.StreamConfig {
				t.Helper()
				stream, err := js.Stream(t.Context(), historyStream)
				if err != nil {
					t.Fatal(err)
				}
				return stream.CachedInfo().Config
			}
			config := configured()
			tc.edit(&config)
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			says := func() bool {
				return slices.ContainsFunc(list, func(g *gateway) bool { return strings.Contains(g.stderr.String(), tc.says) })
			}
			await(t, "a word of it", says) // although nobody is subscribed to anything
			if tc.stays {
				await(t, "/readyz?verbose", func() bool {
					_, body := list[0].get("/readyz?verbose")
					return strings.Contains(body, tc.says) && list[0].metric("sluice_cluster_history_log_other") == 1
				})
			} else if n := list[0].metric("sluice_cluster_history_log_mended_total") + list[1].metric("sluice_cluster_history_log_mended_total"); n == 0 {
				t.Error("it was not counted")
			}
			await(t, "nothing to be wrong", func() bool {
				return list[0].metric("sluice_cluster_history_log_wrong")+list[1].metric("sluice_cluster_history_log_wrong") == 0
			})
			sub, pub := list[0].login(), list[1].login()
			sub.subscribe("room.1")
			pub.burst("room.1", 1, 20)
			sub.want(1, 20)

			// Once more, under way.
			config = configured()
			tc.edit(&config)
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			await(t, "it to be right", func() bool {
				c := configured()
				stays := c.MaxBytes == config.MaxBytes && c.MaxMsgs == config.MaxMsgs
				return stays && (tc.stays || c.RePublish != nil && len(c.Subjects) == 1 && c.Subjects[0] == "sluice.default.h.*" &&
					c.SubjectTransform == nil && c.AllowDirect && c.Discard == jetstream.DiscardOld && c.Retention == jetstream.LimitsPolicy &&
					c.MaxMsgsPerSubject == 2001 && c.MaxAge == 5*time.Minute && c.Duplicates == 2*time.Minute && !c.NoAck &&
					c.MaxMsgSize == -1 && c.MaxConsumers == -1 && c.ConsumerLimits.InactiveThreshold == 0 && !c.RePublish.HeadersOnly)
			})
			pub.burst("room.1", 21, 30)
			for last := 20; last < 30; {
				g, err := sub.next(patience)
				switch {
				case err != nil:
					t.Fatalf("%v behind %d", err, last)
				case !g.gap && g.n != last+1:
					t.Fatalf("%d behind %d", g.n, last)
				case !g.gap:
					last = g.n
				}
			}
		})
	}
}

// A sealed stream takes nothing more: that is said, with what to do, and then it goes on.
func TestStreamSealed(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	g := serve(t, 1, append(rooms, "--cluster", s.url())...)
	_, js := administrate(t, s.url())
	sub, pub := g.login(), g.login()
	sub.subscribe("room.1")
	pub.publish("room.1", 1)
	sub.want(1, 1)
	stream, err := js.Stream(t.Context(), historyStream)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Sealed = true
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	g.logged("it is sealed: with nats stream rm " + historyStream)
	await(t, "publishes to be refused by that name", func() bool {
		if err := pub.send("sluice.Publish", message("room.1", 2)); err != nil {
			t.Fatal(err)
		}
		_, body, err := pub.packet(patience)
		return err == nil && strings.Contains(string(body), "it is sealed")
	})
	if err := js.DeleteStream(t.Context(), historyStream); err != nil {
		t.Fatal(err)
	}
	await(t, "the log", func() bool { return g.metric("sluice_cluster_history_reachable") == 1 })
	pub.publish("room.1", 3)
	sub.wantGapThenLast(3)
}

// Gateways that may not change the stream say what is wrong, with what an administrator should do. They
// publish while it only keeps too little, and refuse by name while it does not do what it must.
func TestStreamEditedLeastPrivilege(t *testing.T) {
	t.Parallel()
	k := newKeeper(t, withHistory(""))
	k.makeBucket()
	k.makeStream()
	g := serve(t, 1, append(k.flags(), rooms...)...)
	js, leave := k.administrator()
	defer leave()
	edit := func(f func(c *jetstream.StreamConfig)) {
		t.Helper()
		stream, err := js.Stream(t.Context(), historyStream)
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		f(&config)
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	sub, pub := g.login(), g.login()
	sub.subscribe("room.1")
	edit(func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 100 })
	g.logged("max-msgs-per-subject is 100, and it could not be changed")
	g.logged("nats stream edit SLUICE_default_H --max-msgs-per-subject 2001 --metadata sluice.kept=100,20")
	pub.publish("room.1", 1)
	sub.want(1, 1)
	edit(func(c *jetstream.StreamConfig) { c.RePublish = nil })
	await(t, "publishes to be refused by name", func() bool {
		if err := pub.send("sluice.Publish", message("room.1", 2)); err != nil {
			t.Fatal(err)
		}
		_, body, err := pub.packet(patience)
		return err == nil && strings.Contains(string(body), "republish is off")
	})
	if _, body := g.get("/readyz?verbose"); !strings.Contains(body, "republish is off, max-msgs-per-subject is 100") ||
		!strings.Contains(body, "--republish-source 'sluice.default.h.*' --republish-destination 'sluice.default.t.{{wildcard(1)}}'") {
		t.Errorf("it does not say so: %s", body)
	}
	edit(func(c *jetstream.StreamConfig) {
		c.RePublish = &jetstream.RePublish{Source: "sluice.default.h.*", Destination: "sluice.default.t.{{wildcard(1)}}"}
		c.MaxMsgsPerSubject = 2001
	})
	await(t, "nothing to be wrong", func() bool { return g.metric("sluice_cluster_history_log_wrong") == 0 })
	pub.publish("room.1", 999)
	for n := 0; n != 999; { // a gap, since messages may have been lost
		got, err := sub.next(patience)
		if err != nil {
			t.Fatal(err)
		}
		n = got.n
	}
}
