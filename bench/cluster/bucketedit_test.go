package clustertest

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// What somebody changes of the buckets while gateways use them is said, with the command that mends it,
// and what does not work meanwhile is; clients are served on, and it goes on when it is mended.
func TestBucketsEdited(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		bucket, name string
		edit         func(c *jetstream.StreamConfig)
		says, mends  string // of what is wrong, and what is to be done
		fails        string // what is said of its use
	}{
		{
			bucket: "nodes", name: "age", says: "max-age is 1s", mends: "nats stream edit KV_sluice_default_nodes --max-age 20s",
			edit: func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Second, time.Second },
		},
		{
			bucket: "nodes", name: "for ever", says: "max-age is unlimited", mends: "--max-age 20s",
			edit: func(c *jetstream.StreamConfig) { c.MaxAge = 0 },
		},
		{
			bucket: "nodes", name: "long values", says: "max-msg-size is 20", mends: "--max-msg-size -1",
			edit:  func(c *jetstream.StreamConfig) { c.MaxMsgSize = 20 },
			fails: "server id: its lease could not be renewed for ",
		},
		{
			bucket: "nodes", name: "full",
			edit:  func(c *jetstream.StreamConfig) { c.MaxBytes = 300 },
			fails: "maximum bytes exceeded",
		},
		{
			bucket: "names", name: "age", says: "max-age is 1s", mends: "--max-age 24h0m0s",
			edit: func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Second, time.Second },
		},
		{
			bucket: "names", name: "full",
			edit:  func(c *jetstream.StreamConfig) { c.MaxBytes = 300 },
			fails: "users and uniqIds: kept apart on this node alone for ",
		},
		{
			bucket: "sessions", name: "subjects", says: "subjects is [elsewhere.>]", mends: "--subjects '$KV.sluice_default_sessions.>'",
			edit:  func(c *jetstream.StreamConfig) { c.Subjects = []string{"elsewhere.>"} },
			fails: "sessions: 1 wait, and cannot be resumed elsewhere, since they cannot be written: nats: no response from stream",
		},
		{
			bucket: "sessions", name: "full",
			edit:  func(c *jetstream.StreamConfig) { c.MaxBytes = 300 },
			fails: "cannot be written: nats: nats: API error: code=503 err_code=10077 description=maximum bytes exceeded",
		},
	} {
		t.Run(tc.bucket+" "+tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.bucket+tc.name != "nodesage" {
				long(t)
			}
			s := startNATS(t, nil)
			list := serveAll(t, 2, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
			_, js := administrate(t, s.url())
			c, ticket := list[0].begin("ann")
			c.subscribe("news")
			list[0].written(1)
			stream, err := js.Stream(t.Context(), "KV_sluice_default_"+tc.bucket)
			if err != nil {
				t.Fatal(err)
			}
			was := stream.CachedInfo().Config
			config := was
			tc.edit(&config)
			if _, err := js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if _, code := list[0].loginAs("ben"); code != gosoc.Accepted {
				t.Errorf("code %d", code)
			}
			c.subscribe("more")
			ready := func() string {
				t.Helper()
				status, body := list[0].get("/readyz?verbose")
				if status != 200 {
					t.Fatalf("it is not ready: %s", body)
				}
				return body
			}
			if tc.says != "" {
				list[0].logged(tc.says)
				list[0].logged(tc.mends)
				await(t, "/readyz?verbose", func() bool {
					body := ready()
					return strings.Contains(body, "bucket sluice_default_"+tc.bucket) && strings.Contains(body, tc.says) && strings.Contains(body, tc.mends)
				})
				if n := list[0].metric("sluice_cluster_buckets_wrong"); n != 1 {
					t.Errorf("%v buckets are wrong, want 1", n)
				}
			}
			if tc.fails != "" {
				await(t, "/readyz?verbose to say what fails", func() bool { return strings.Contains(ready(), tc.fails) })
			}
			if _, err := js.UpdateStream(t.Context(), was); err != nil {
				t.Fatal(err)
			}
			await(t, "nothing to be wrong", func() bool {
				body := ready()
				return list[0].metric("sluice_cluster_buckets_wrong") == 0 && list[0].metric("sluice_cluster_names_away") == 0 &&
					(tc.fails == "" || !strings.Contains(body, tc.fails)) && !strings.Contains(body, "bucket sluice")
			})
			for _, g := range list {
				g.knows(2)
			}
			await(t, "the session to be written", func() bool { return list[0].metric("sluice_cluster_sessions_queued") == 0 })
			list[0].kill()
			moved, _ := list[1].comeBack(ticket)
			moved.is("ann", "more")
		})
	}
}
