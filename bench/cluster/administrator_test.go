package clustertest

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicenet/sluice/codec/gosoc"
)

// administrate connects somebody who may do everything.
func administrate(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// What an administrator purges or deletes under way, each of the buckets, is made and filled again by itself:
// users are kept apart, and sessions move, as before.
func TestBucketsTakenAway(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"purged nodes", "purged names sessions", "deleted nodes names sessions"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			if how != "purged names sessions" {
				long(t)
			}
			s := startNATS(t, nil)
			list := serveAll(t, 3, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
			_, js := administrate(t, s.url())
			old, code := list[0].loginAs("ann")
			if code != gosoc.Accepted {
				t.Fatal(code)
			}
			c, ticket := list[0].begin("ben")
			c.subscribe("news")
			list[0].written(1)
			buckets := strings.Fields(how)
			for _, bucket := range buckets[1:] {
				stream := "KV_sluice_default_" + bucket
				var err error
				if buckets[0] == "deleted" {
					err = js.DeleteStream(t.Context(), stream)
				} else {
					var st jetstream.Stream
					if st, err = js.Stream(t.Context(), stream); err == nil {
						err = st.Purge(t.Context())
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			keys := func(bucket string) (n int) {
				kv, err := js.KeyValue(t.Context(), "sluice_default_"+bucket)
				if err != nil {
					return 0
				}
				status, err := kv.Status(t.Context())
				if err != nil {
					return 0
				}
				return int(status.Values())
			}
			await(t, "all leases", func() bool { return keys("nodes") >= 3 })
			await(t, "the users", func() bool { return keys("names") >= 2 })
			await(t, "the session", func() bool { return keys("sessions") >= 1 })
			for _, g := range list {
				g.knows(3)
			}
			if _, code := list[1].loginAs("ann"); code != gosoc.Accepted {
				t.Errorf("code %d", code)
			}
			if h, _, err := old.packet(patience); err != nil || h.Type != gosoc.TypeDisconnect {
				t.Errorf("the older connection got %d, %v, want Disconnect", h.Type, err)
			}
			list[0].kill()
			moved, _ := list[2].comeBack(ticket)
			moved.is("ben", "news")
		})
	}
}

// A bucket of leases that was deleted and made again counts its revisions from 1, however far it was:
// gateways that renew in it are never suspect, nor do they leave, and no message between them is lost.
func TestLeasesMadeAnew(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"purged", "deleted", "deleted and made"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			long(t)
			s := startNATS(t, nil)
			list := serveAll(t, 3, "--cluster", s.url())
			_, js := administrate(t, s.url())
			const bucket, stream = "sluice_default_nodes", "KV_sluice_default_nodes"
			kv, err := js.KeyValue(t.Context(), bucket)
			if err != nil {
				t.Fatal(err)
			}
			for range 500 { // as in some minutes
				if _, err := kv.PutString(t.Context(), "stranger", "x"); err != nil {
					t.Fatal(err)
				}
			}
			sub, pub := list[0].login(), list[1].login()
			sub.subscribe("news")
			st, err := js.Stream(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			if how == "purged" {
				err = st.Purge(t.Context())
			} else {
				err = js.DeleteStream(t.Context(), stream)
			}
			if how == "deleted and made" && err == nil {
				_, err = js.CreateStream(t.Context(), st.CachedInfo().Config)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := 1; i <= 25; i++ { // longer than a lease lives
				for k := range 10 {
					pub.publish("news", 10*i+k)
				}
				sub.want(10*i, 10*i+9)
				time.Sleep(time.Second)
			}
			for _, g := range list {
				for _, bad := range []string{"is suspect", "has left"} {
					if strings.Contains(g.stderr.String(), bad) {
						t.Errorf("gateway %d says %q:\n%s", g.id, bad, g.stderr)
					}
				}
				g.knows(3)
			}
		})
	}
}

// What is no claim, no list and no session in the place of one is written over, and nobody ends for it.
func TestBucketsOfGarbage(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))
	_, js := administrate(t, s.url())
	old, _ := list[0].loginAs("ann")
	c, ticket := list[0].begin("ben")
	c.subscribe("news")
	list[0].written(1)
	for range 3 {
		for _, bucket := range []string{"nodes", "names", "sessions"} {
			kv, err := js.KeyValue(t.Context(), "sluice_default_"+bucket)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := kv.Keys(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range append(keys, "stranger", "ff", "zz") {
				for _, text := range []string{"", "{", "\x00\xff", strings.Repeat("x", 10_000), `{"incarnation":"0000000000000000"}`, "[]"} {
					if _, err := kv.PutString(t.Context(), key, text); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		time.Sleep(1100 * time.Millisecond) // a renewal
	}
	for _, g := range list {
		select {
		case <-g.exited:
			t.Fatalf("gateway %d has ended", g.id)
		default:
		}
		g.knows(2)
		await(t, "the lease", func() bool {
			return g.metric("sluice_cluster_lease_held") == 1 && g.metric("sluice_cluster_lease_age_seconds") < 3
		})
	}
	list[0].logged("is no claim")
	if _, code := list[1].loginAs("ann"); code != gosoc.Accepted {
		t.Errorf("code %d", code)
	}
	await(t, "one connection of the user", func() bool { return online(list) == 2 })
	if h, _, err := old.packet(patience); err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older connection got %d, %v, want Disconnect", h.Type, err)
	}
	c.subscribe("more") // the session is written again
	c.conn.Close()
	await(t, "the session to be resumed elsewhere", func() bool {
		got, code, _ := list[1].connect(map[string]any{"session_id": ticket})
		if code != gosoc.Accepted {
			time.Sleep(100 * time.Millisecond)
			return false
		}
		got.is("ben", "more")
		return true
	})
}

// A stream of histories that is purged or deleted under way costs a gap, once, and goes on.
func TestStreamTakenAway(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"purged", "deleted"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, nil)
			list := serveAll(t, 2, append(rooms, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))...)
			_, js := administrate(t, s.url())
			away, ticket := list[0].begin("ann")
			away.subscribe("room.1", "room.2")
			stays := list[0].login()
			stays.subscribe("room.1")
			pub := list[1].login()
			pub.burst("room.1", 1, 5)
			stays.want(1, 5)
			away.want(1, 5)
			away.conn.Close()
			pub.burst("room.2", 1, 5) // which nobody hears
			pub.burst("room.1", 6, 10)
			stays.want(6, 10)
			list[1].stored(15)
			if how == "deleted" {
				if err := js.DeleteStream(t.Context(), historyStream); err != nil {
					t.Fatal(err)
				}
			} else {
				st, err := js.Stream(t.Context(), historyStream)
				if err != nil {
					t.Fatal(err)
				}
				if err := st.Purge(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "a publish to succeed", func() bool {
				if err := pub.send("sluice.Publish", message("room.1", 11)); err != nil {
					t.Fatal(err)
				}
				_, body, err := pub.packet(patience)
				return err == nil && strings.Contains(string(body), `"status":0`)
			})
			pub.burst("room.1", 12, 20)
			for _, c := range []*client{stays, nil} {
				last, gaps := 10, 0
				if c == nil {
					c, _ = list[0].comeBack(ticket)
					last = 5
				}
				for last < 20 {
					g, err := c.next(patience)
					switch {
					case err != nil:
						t.Fatalf("%v behind %d", err, last)
					case g.gap:
						gaps++
					case g.n <= last && g.n != 11: // which may have been published twice
						t.Errorf("%d behind %d", g.n, last)
					case g.n > last+1 && gaps == 0:
						t.Errorf("%d behind %d, and no gap", g.n, last)
					default:
						last = g.n
					}
					last = max(last, g.n)
				}
				t.Logf("%d gaps", gaps)
				if gaps > 2 {
					t.Errorf("%d gaps", gaps)
				}
			}
		})
	}
}

// Messages that NATS does not take, since its max_payload is small, are refused by name, and long ones go in
// parts where they can.
func TestSmallPayload(t *testing.T) {
	t.Parallel()
	s := startNATS(t, func(o *server.Options) { o.MaxPayload = 8 << 10 })
	list := serveAll(t, 2, append(rooms, "--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key"))...)
	sub, pub := list[1].login(), list[0].login()
	names := []string{"news", "room.1"}
	for i := range 500 { // more than one frame has room for
		names = append(names, fmt.Sprintf("a-topic-with-a-long-name-%d", i))
	}
	sub.subscribe(names...)
	big := strings.Repeat(" ", 20_000)
	for _, topic := range []string{"news", "room.1"} {
		pub.publish(topic, 1)
		sub.want(1, 1)
		if err := pub.send("sluice.Publish", `{"topic":"`+topic+`","data":"`+big+`"}`); err != nil {
			t.Fatal(err)
		}
		_, body, err := pub.packet(patience)
		t.Logf("a long message to %s: %.200q, %v", topic, body, err)
		pub.publish(topic, 2)
		sub.want(2, 2)
	}
	for i := range 500 {
		pub.publish(names[2+i], 10+i)
		sub.want(10+i, 10+i)
	}
	if n := list[0].metric(`sluice_cluster_messages_missed_total{reason="too-long"}`); n != 1 {
		t.Errorf("%v messages were too long, want 1", n)
	}
	if n := list[0].metric(`sluice_cluster_history_refused_total{reason="too-long"}`); n != 1 {
		t.Errorf("%v messages for the log were too long, want 1", n)
	}
	w, ctx := startWorker(t, list[0])
	if err := w.SingleCast(ctx, sub.uniqID(), []byte(big)); err != nil {
		t.Fatal(err)
	}
	if got := sub.text(); got != big {
		t.Errorf("a long cast has come as %d bytes", len(got))
	}
	for _, g := range list {
		g.knows(2)
		if n := g.sum("sluice_cluster_disconnects_total"); n != 0 {
			t.Errorf("gateway %d has lost its connection %v times:\n%s", g.id, n, g.stderr)
		}
	}
}

// A user whose rights are revoked under way: the gateway serves its own clients, says so, and is back when
// the right is.
func TestRevoked(t *testing.T) {
	t.Parallel()
	user := func(name string) *server.User { return &server.User{Username: name, Password: "secret"} }
	s := startNATS(t, func(o *server.Options) { o.Users = []*server.User{user("one"), user("two")} })
	at := func(name string) string { return strings.Replace(s.url(), "//", "//"+name+":secret@", 1) }
	list := []*gateway{serve(t, 1, "--cluster", at("one")), serve(t, 2, "--cluster", at("two"))}
	for _, g := range list {
		g.knows(2)
	}
	a, b := list[0].login(), list[1].login()
	a.subscribe("news")
	b.subscribe("news")
	reload := func(users ...*server.User) {
		t.Helper()
		o := s.options
		o.Users = users
		if err := s.ReloadOptions(&o); err != nil {
			t.Fatal(err)
		}
	}
	reload(user("one"))
	await(t, "the loss", func() bool { return list[1].sum("sluice_cluster_connected") == 0 })
	await(t, "it not to be ready", func() bool { status, _ := list[1].get("/readyz"); return status != 200 })
	b.call("sluice.Publish", message("news", 7))
	b.want(7, 7)
	if status, _ := list[0].get("/readyz"); status != 200 {
		t.Error("the other is not ready, either")
	}
	list[1].logged("authorization violation")
	reload(user("one"), user("two"))
	await(t, "the connection", func() bool { return list[1].sum("sluice_cluster_connected") == 2 })
	await(t, "it to be ready", func() bool { status, _ := list[1].get("/readyz"); return status == 200 })
	await(t, "a message", func() bool {
		b.call("sluice.Publish", message("news", 8))
		_, _ = b.push(patience)
		n, err := a.push(100 * time.Millisecond)
		return err == nil && n == 8
	})
	list[0].knows(2)
}

// Of gateways that are started at once with one id one serves, and the others end with exit code 2.
func TestOneIDAtOnce(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	var list []*gateway
	for range 4 {
		list = append(list, launch(t, 7, "--cluster", s.url()))
	}
	codes := make(chan int, len(list))
	var ends sync.WaitGroup
	for _, g := range list {
		ends.Go(func() {
			<-g.exited
			codes <- g.cmd.ProcessState.ExitCode()
		})
	}
	for range len(list) - 1 {
		select {
		case code := <-codes:
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
		case <-time.After(patience):
			t.Fatal("more than one serves")
		}
	}
	left := 0
	for _, g := range list {
		select {
		case <-g.exited:
			if g.ended = true; !strings.Contains(g.stderr.String(), "server id 7 is taken") {
				t.Errorf("it does not say why: %s", g.stderr)
			}
		default:
			left++
			g.serving().knows(1)
			g.login()
			g.terminate()
		}
	}
	if left != 1 {
		t.Errorf("%d serve", left)
	}
	ends.Wait()
}

// A gateway that stands still for 30 s has no lease when it wakes. Where nobody has taken its id it is there
// again, with its clients; where another process has, it ends, and says so to its clients.
func TestWokenBehindItsLease(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	args := []string{"--cluster", s.url(), "--session-key", filepath.Join(t.TempDir(), "key")}
	list := serveAll(t, 3, args...)
	var subs []*client
	for _, g := range list {
		c, _ := g.loginAs(fmt.Sprint("user-", g.id))
		c.subscribe("news")
		subs = append(subs, c)
	}
	list[1].signal(syscall.SIGSTOP)
	list[2].signal(syscall.SIGSTOP)
	list[0].knows(1)
	other := serve(t, 3, args...)
	time.Sleep(10 * time.Second)
	list[1].signal(syscall.SIGCONT)
	list[2].signal(syscall.SIGCONT)
	if code := list[2].wait(); code != 2 || !strings.Contains(list[2].stderr.String(), "was taken over") {
		t.Errorf("exit code %d, want 2 and why", code)
	}
	for {
		h, _, err := subs[2].packet(patience)
		if err == io.EOF || errors.Is(err, syscall.ECONNRESET) {
			break
		}
		if err != nil {
			t.Errorf("its client: %v", err)
			break
		}
		t.Logf("its client gets a packet of type %d", h.Type)
	}
	for _, g := range []*gateway{list[0], list[1], other} {
		g.knows(3)
	}
	pub := list[0].login()
	pub.publish("news", 1)
	for _, c := range subs[:2] {
		c.want(1, 1)
	}
	third := other.login()
	third.subscribe("news")
	back := list[1].login()
	back.publish("news", 2)
	for _, c := range append(subs[:2], third) {
		c.want(2, 2)
	}
	// Users are kept apart again.
	if _, code := other.loginAs("user-2"); code != gosoc.Accepted {
		t.Errorf("code %d", code)
	}
	if h, _, err := subs[1].packet(patience); err != nil || h.Type != gosoc.TypeDisconnect {
		t.Errorf("the older connection got %d, %v, want Disconnect", h.Type, err)
	}
}
