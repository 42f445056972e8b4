package clustertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/engine/worker"
)

// startWorker runs a worker of id 2 that knows one gateway and has one connection to it, so that its
// commands are in order.
func startWorker(t *testing.T, g *gateway) (*worker.Worker, context.Context) {
	t.Helper()
	w, err := worker.New(worker.Config{Gateways: []string{"tcp://" + g.worker}, WorkerID: 2, Links: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := w.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return w, ctx
}

// uniqID asks a client's gateway what it is called.
func (c *client) uniqID() string {
	c.t.Helper()
	if err := c.send("sluice.Whoami", ""); err != nil {
		c.t.Fatal(err)
	}
	h, body, err := c.packet(patience)
	if err != nil || h.Type != gosoc.TypeSendResp {
		c.t.Fatalf("a packet of type %d, %v", h.Type, err)
	}
	var who struct{ Data struct{ UniqID string } }
	if resp, err := gosoc.Compact.DecodeSendResp(h, body); err != nil || json.Unmarshal(resp.Payload, &who) != nil || who.Data.UniqID == "" {
		c.t.Fatalf("%q, %v", body, err)
	}
	return who.Data.UniqID
}

// text returns the payload of the next push, "disconnected" for the end of the connection.
func (c *client) text() string {
	c.t.Helper()
	h, body, err := c.packet(patience)
	switch {
	case err != nil:
		return err.Error()
	case h.Type == gosoc.TypeDisconnect:
		return "disconnected"
	}
	m, err := gosoc.Compact.DecodeSendReq(h, body)
	if err != nil {
		return err.Error()
	}
	return string(m.Payload)
}

// Every command of a worker at one gateway reaches clients of others, each once, and changes are in their
// order among publishes and casts among changes.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	w, ctx := startWorker(t, list[0])
	topics := []string{"t"}
	data := func(s string) []byte { return []byte(s) }
	for _, tt := range []struct {
		name string
		do   func(b, c string) []error // the uniqIds of the clients of gateways 2 and 3
		b, c string                    // what they get, before "end"
	}{
		{"casts", func(b, c string) []error {
			return []error{
				w.SingleCast(ctx, b, data("1")), w.Multicast(ctx, []string{b, c}, data("2")),
				w.SingleCastBulk(ctx, []string{b, c}, [][]byte{data("3"), data("4")}), w.Broadcast(ctx, data("5")),
				w.UserCast(ctx, []string{"cid"}, data("6")), w.Push(ctx, worker.Push{UniqIDs: []string{b}, Users: []string{"cid"}, Payload: data("7")}),
			}
		}, "1 2 3 5 7", "2 4 5 6 7"},
		{"topics", func(b, c string) []error {
			return []error{
				w.TopicSubscribe(ctx, b, topics, data("in")), w.UserSubscribe(ctx, "cid", topics, data("in")),
				w.TopicPublish(ctx, topics, data("1")), w.TopicUnsubscribe(ctx, b, topics, data("out")),
				w.TopicPublishBulk(ctx, topics, [][]byte{data("2")}), w.UserUnsubscribe(ctx, "cid", topics, data("out")),
				w.Push(ctx, worker.Push{Topics: topics, Payload: data("late")}),
				w.TopicSubscribe(ctx, b, topics, nil), w.TopicSubscribe(ctx, c, topics, nil),
				w.TopicPublish(ctx, topics, data("3")), w.TopicDelete(ctx, topics, data("gone")), w.TopicPublish(ctx, topics, data("late")),
			}
		}, "in 1 out 3 gone", "in 1 2 out 3 gone"},
		{"connections", func(b, _ string) []error {
			return []error{
				w.ConnInfoUpdate(ctx, worker.ConnInfoUpdate{UniqID: b, NewUniqID: "bob", NewSession: "s", NewTopics: topics, Data: data("new")}),
				w.SingleCast(ctx, "bob", data("hi")), w.TopicDelete(ctx, []string{"none"}, nil), w.TopicPublish(ctx, topics, data("1")),
				w.ConnInfoDelete(ctx, worker.ConnInfoDelete{UniqID: "bob", DelTopic: true, DelSession: true, DelUniqID: true, Data: data("old")}),
				w.SingleCast(ctx, "bob", data("late")), w.TopicPublish(ctx, topics, data("late")),
			}
		}, "new hi 1 old", ""},
		{"uniqIds like those of others", func(b, c string) []error {
			here, third := "01"+b[2:], "03"+b[2:] // of the worker's gateway, and of c's
			return []error{
				w.ConnInfoUpdate(ctx, worker.ConnInfoUpdate{UniqID: b, NewUniqID: here}), w.SingleCast(ctx, here, data("1")),
				w.ConnInfoUpdate(ctx, worker.ConnInfoUpdate{UniqID: here, NewUniqID: third}), w.SingleCast(ctx, third, data("2")),
				w.Multicast(ctx, []string{third, c, "03" + c[2:10] + "00000000"}, data("3")),
			}
		}, "1 2 3", "3"},
		{"ends", func(b, _ string) []error {
			return []error{
				w.TopicSubscribe(ctx, b, topics, nil), w.TopicPublish(ctx, topics, data("1")), w.ForceOffline(ctx, []string{b}, nil),
			}
		}, "1 disconnected", ""},
		{"ends of guests", func(b, _ string) []error {
			return []error{
				w.TopicSubscribe(ctx, b, topics, nil), w.TopicPublish(ctx, topics, data("1")), w.ForceOfflineGuest(ctx, []string{b}, 0, nil),
			}
		}, "1 disconnected", ""},
		{"ends of users", func(b, _ string) []error {
			return []error{
				w.UserSubscribe(ctx, "ben", topics, nil), w.TopicPublish(ctx, topics, data("1")), w.UserForceOffline(ctx, []string{"ben"}, nil),
			}
		}, "1 disconnected", ""},
	} {
		b, _ := list[1].loginAs("ben")
		c, _ := list[2].loginAs("cid")
		errs := tt.do(b.uniqID(), c.uniqID())
		// A change comes behind what was published, and a broadcast behind the change.
		errs = append(errs, w.TopicDelete(ctx, []string{"none"}, nil), w.Broadcast(ctx, data("end")))
		for i, err := range errs {
			if err != nil {
				t.Fatalf("%s: command %d: %v", tt.name, i, err)
			}
		}
		for i, client := range []*client{b, c} {
			want := bytes.Fields([]byte([]string{tt.b, tt.c}[i] + " end"))
			for _, text := range want {
				if got := client.text(); got != string(text) {
					t.Fatalf("%s: the client of gateway %d got %q, want %q of %q", tt.name, i+2, got, text, want)
				}
				if string(text) == "disconnected" {
					break
				}
			}
			client.conn.Close()
		}
		await(t, "the ends of the clients", func() bool {
			n, err := w.UniqIDCount(ctx)
			return err == nil && n == 0
		})
	}
	for _, g := range list {
		for _, kind := range []string{"lost", "unacknowledged", "overtaking", "bad"} {
			if n := g.metric(fmt.Sprintf("sluice_cluster_worker_commands_total{kind=%q}", kind)); n != 0 {
				t.Errorf("gateway %d: %v commands are %s:\n%s", g.id, n, kind, g.stderr)
			}
		}
	}
}

// A worker at one gateway is answered for all of them.
func TestEveryQuery(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	w, ctx := startWorker(t, list[0])
	var ids []string
	for i, user := range []string{"ann", "ben", "cid"} {
		c, _ := list[i].loginAs(user)
		c.subscribe("all", user)
		ids = append(ids, c.uniqID())
	}
	stray := "01" + ids[1][2:]
	if err := w.ConnInfoUpdate(ctx, worker.ConnInfoUpdate{UniqID: ids[1], NewUniqID: stray, NewSession: "s"}); err != nil {
		t.Fatal(err)
	}
	ids[1] = stray
	slices.Sort(ids)
	sorted := func(list []string) string { slices.Sort(list); return fmt.Sprint(list) }
	keys := func(m map[string]int) string { return fmt.Sprint(m) }
	for _, tt := range []struct {
		name string
		ask  func() (string, error)
		want string
	}{
		{"UniqIDList", func() (string, error) { l, err := w.UniqIDList(ctx); return sorted(l), err }, fmt.Sprint(ids)},
		{"UniqIDCount", func() (string, error) { n, err := w.UniqIDCount(ctx); return fmt.Sprint(n), err }, "3"},
		{"CheckOnline", func() (string, error) { l, err := w.CheckOnline(ctx, append(ids, "nobody")); return sorted(l), err }, fmt.Sprint(ids)},
		{"ConnInfo", func() (string, error) {
			m, err := w.ConnInfo(ctx, ids)
			return fmt.Sprint(sorted(slices.Collect(maps.Keys(m))), m[stray].Session, len(m[ids[2]].Topics)), err
		}, fmt.Sprint(fmt.Sprint(ids), "s", 2)},
		{"TopicList", func() (string, error) { l, err := w.TopicList(ctx); return sorted(l), err }, "[all ann ben cid]"},
		{"TopicUniqIDList", func() (string, error) {
			m, err := w.TopicUniqIDList(ctx, []string{"all"})
			return sorted(m["all"]), err
		}, fmt.Sprint(ids)},
		{"TopicUniqIDCount", func() (string, error) { m, err := w.TopicUniqIDCount(ctx, nil, true); return keys(m), err }, "map[all:3 ann:1 ben:1 cid:1]"},
		{"UserConnList", func() (string, error) {
			m, err := w.UserConnList(ctx, []string{"ben", "cid"})
			return fmt.Sprint(len(m["ben"]), len(m["cid"]), m["ben"][0].UniqID), err
		}, fmt.Sprint(1, 1, stray)},
		{"Online", func() (string, error) {
			m, err := w.Online(ctx, []string{"ann", "cid", "nobody"})
			return fmt.Sprint(m["ann"], m["cid"], m["nobody"]), err
		}, "1 1 0"},
	} {
		if got, err := tt.ask(); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, err, tt.want)
		}
	}
}
