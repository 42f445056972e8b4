package clustertest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicenet/sluice/codec/gosoc"
)

var rooms = []string{"--history", "room.*=2000,5m"}

// A got is a push: a number, or that a topic has a gap.
type got struct {
	n   int
	gap bool
}

// next returns the next push. The error is io.EOF when none has come in time.
func (c *client) next(within time.Duration) (got, error) {
	for {
		h, body, err := c.packet(within)
		if e := (net.Error)(nil); errors.As(err, &e) && e.Timeout() {
			return got{}, io.EOF
		}
		if err != nil {
			return got{}, err
		}
		if h.Type == gosoc.TypeSendResp {
			continue
		}
		req, err := gosoc.Compact.DecodeSendReq(h, body)
		if err != nil {
			return got{}, err
		}
		if string(req.Route) == "sluice.Gap" {
			return got{gap: true}, nil
		}
		var g got
		_, err = fmt.Sscan(string(req.Payload), &g.n)
		return g, err
	}
}

// all returns n pushes.
func (c *client) all(n int) []got {
	c.t.Helper()
	list := make([]got, 0, n)
	for len(list) < n {
		g, err := c.next(patience)
		if err != nil {
			c.t.Errorf("push %d of %d: %v; the last ones are %v", len(list)+1, n, err, list[max(0, len(list)-5):])
			return list
		}
		list = append(list, g)
	}
	return list
}

// burst publishes numbers without waiting for their answers, but for the last one's.
func (c *client) burst(topic string, first, last int) {
	for i := first; i <= last; i++ {
		if err := c.send("sluice.Publish", message(topic, i)); err != nil {
			c.t.Error(err)
			return
		}
	}
	for range last - first + 1 {
		h, body, err := c.packet(patience)
		if err != nil || h.Type != gosoc.TypeSendResp || !strings.Contains(string(body), `"status":0`) {
			c.t.Errorf("a publish was answered with %q, %v", body, err)
			return
		}
	}
}

// stored waits until the log has so many messages in all that were published on the gateway: a client's
// publish is answered before.
func (g *gateway) stored(messages int) {
	g.t.Helper()
	await(g.t, fmt.Sprintf("%d messages of gateway %d to be in the log", messages, g.id), func() bool {
		return g.metric("sluice_cluster_history_appended_total") == float64(messages)
	})
}

// Messages of publishers on two gateways come to subscribers on three in one order, each once.
func TestHistoryOneOrder(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, append(rooms, "--cluster", s.url())...)
	var subs []*client
	for _, g := range list {
		for range 2 {
			c := g.login()
			c.subscribe("room.1")
			subs = append(subs, c)
		}
	}
	const each = 500
	var wg sync.WaitGroup
	for i := range 2 {
		pub := list[i].login()
		wg.Go(func() { pub.burst("room.1", 1000*i+1, 1000*i+each) })
	}
	wg.Wait()
	first := subs[0].all(2 * each)
	for i := range 2 {
		next := 1000*i + 1
		for _, g := range first {
			if g.n/1000 == i && g.n == next {
				next++
			}
		}
		if next != 1000*i+each+1 {
			t.Errorf("publisher %d: its messages come in order up to %d", i, next-1)
		}
	}
	for i, c := range subs[1:] {
		if list := c.all(2 * each); !slices.Equal(list, first) {
			t.Errorf("subscriber %d got another order than the first", i+2)
		}
	}
	for _, g := range list {
		for _, name := range []string{"gaps_total", "timeouts_total", "plain_total", "unfit_total"} {
			if n := g.metric("sluice_cluster_history_" + name); n != 0 {
				t.Errorf("gateway %d: %s is %v", g.id, name, n)
			}
		}
	}
}

// natsConnected waits until gateways have their connections, and the log.
func natsConnected(t *testing.T, list ...*gateway) {
	t.Helper()
	for _, g := range list {
		await(t, fmt.Sprintf("gateway %d to have NATS", g.id), func() bool {
			return g.metric(`sluice_cluster_connected{connection="data"}`) == 1 && g.metric("sluice_cluster_history_reachable") == 1
		})
	}
}

// A client that resumes behind a restart of NATS gets what it missed where NATS has kept it, and is told
// of a gap where it has not.
func TestHistoryResumedBehindRestart(t *testing.T) {
	t.Parallel()
	for _, storage := range []string{"file", "memory"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := startNATS(t, nil)
			list := serveAll(t, 2, append(rooms, "--cluster", s.url(), "--cluster-history-storage", storage)...)
			c, ticket := list[0].begin("ann")
			c.subscribe("room.1")
			stays := list[0].login()
			stays.subscribe("room.1")
			pub := list[1].login()
			pub.publish("room.1", 1)
			c.want(1, 1)
			stays.want(1, 1)
			c.conn.Close()
			pub.burst("room.1", 2, 51)
			stays.want(2, 51)
			s.stop()
			await(t, "the loss to be seen", func() bool { return list[1].metric("sluice_cluster_history_reachable") == 0 })
			if err := pub.send("sluice.Publish", message("room.1", 99)); err != nil {
				t.Fatal(err)
			}
			if _, body, err := pub.packet(patience); err != nil || strings.Contains(string(body), `"status":0`) {
				t.Errorf("a publish while NATS is away: %q, %v, want an error", body, err)
			}
			s.start()
			natsConnected(t, list...)
			pub.burst("room.1", 52, 60)
			c, _ = list[0].comeBack(ticket)
			if storage == "file" {
				c.want(2, 60)
				stays.want(52, 60)
				return
			}
			// The log is another one: what was in the old one is gone, as far as the gateway does not have it.
			for _, c := range []*client{c, stays} {
				gaps, last := 0, 0
				for last < 60 {
					g, err := c.next(patience)
					switch {
					case err != nil:
						t.Fatal(err)
					case g.gap:
						gaps++
					case g.n <= last:
						t.Errorf("push %d behind %d", g.n, last)
					case g.n != last+1 && gaps == 0 && last > 0:
						t.Errorf("push %d behind %d, and no gap", g.n, last)
					}
					last = max(last, g.n)
				}
				if gaps != 1 {
					t.Errorf("%d gaps, want one", gaps)
				}
			}
		})
	}
}

// killable starts a nats-server of its own process on a port, with a directory for its store.
func killable(t *testing.T, binary, dir string, port int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, "-a", "127.0.0.1", "-p", fmt.Sprint(port), "-js", "-sd", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	await(t, "nats-server", func() bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return cmd
}

// Through kill -9 of a NATS server that keeps the log on disk nothing is missed and nothing comes twice.
func TestHistoryServerKilled(t *testing.T) {
	t.Parallel()
	long(t)
	binary := filepath.Join(t.TempDir(), "nats-server")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir, port := t.TempDir(), freePort(t)
	server := killable(t, binary, dir, port)
	url := fmt.Sprintf("nats://127.0.0.1:%d", port)
	list := serveAll(t, 3, append(rooms, "--cluster", url, "--cluster-history-storage", "file", "--history-wait", "30s")...)
	var subs []*client
	for _, g := range list {
		c := g.login()
		c.subscribe("room.1")
		subs = append(subs, c)
	}
	check := steady(t, list[0], subs, 1500)
	for range 3 {
		time.Sleep(700 * time.Millisecond)
		_ = server.Process.Signal(syscall.SIGKILL)
		_ = server.Wait()
		time.Sleep(100 * time.Millisecond)
		server = killable(t, binary, dir, port)
		natsConnected(t, list...)
	}
	check()
}

// steady publishes numbers to room.1 on a gateway, one each 2 ms, and returns what waits for the end of it
// and checks what subscribers have got: all the same, in order, each once, and all that was taken. What is
// taken may wait for the log as long as --history-wait says.
func steady(t *testing.T, g *gateway, subs []*client, messages int) (check func()) {
	pub := g.login()
	done := make(chan struct{})
	taken := make(map[int]bool) // that were said to be published
	go func() {
		defer close(done)
		for i := 1; i <= messages; i++ {
			if err := pub.send("sluice.Publish", message("room.1", i)); err != nil {
				t.Error(err)
				return
			}
			_, body, err := pub.packet(patience)
			if err != nil {
				t.Error(err)
				return
			}
			if strings.Contains(string(body), `"status":0`) {
				taken[i] = true
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	return func() {
		t.Helper()
		<-done
		const last = 999_999
		pub.publish("room.1", last)
		var first []int
		for i, c := range subs {
			var list []int
			for len(list) == 0 || list[len(list)-1] != last {
				g, err := c.next(patience)
				if err != nil || g.gap {
					t.Fatalf("subscriber %d: %+v, %v behind %v", i, g, err, list[max(0, len(list)-3):])
				}
				list = append(list, g.n)
			}
			if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
				t.Errorf("subscriber %d: not in order, or twice", i)
			}
			if i > 0 {
				if !slices.Equal(list, first) {
					t.Errorf("subscriber %d got other messages than the first", i)
				}
				continue
			}
			first = list
			missing := 0
			for n := range taken {
				if !slices.Contains(list, n) {
					missing++
				}
			}
			if missing > 0 {
				t.Errorf("%d messages that were confirmed have not come", missing)
			}
			t.Logf("%d of %d messages were taken, %d came", len(taken), messages, len(list)-1)
		}
	}
}

// Through the death of the log's leader, one of three servers, messages wait and none is lost.
func TestHistoryLeaderKilled(t *testing.T) {
	t.Parallel()
	long(t)
	servers := startCluster(t, 3)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url())
	}
	list := serveAll(t, 3, append(rooms, "--cluster", strings.Join(urls, ","), "--history-wait", "30s")...)
	var subs []*client
	for _, g := range list {
		c := g.login()
		c.subscribe("room.1")
		subs = append(subs, c)
	}
	check := steady(t, list[0], subs, 1000)
	time.Sleep(time.Second)
	for i, s := range servers {
		if s.JetStreamIsStreamLeader("$G", "SLUICE_default_H") {
			t.Logf("server %d is the leader", i)
			s.stop()
			break
		}
	}
	check()
	for _, g := range list {
		for _, name := range []string{"gaps_total", `refused_total{reason="late"}`} {
			if n := g.metric("sluice_cluster_history_" + name); n != 0 {
				t.Errorf("gateway %d: %s is %v", g.id, name, n)
			}
		}
	}
}

// Many sessions that come back at once, each with a topic of its own and 100 missed messages that only
// the log has.
func TestHistoryMassResumption(t *testing.T) {
	t.Parallel()
	long(t)
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--history", "room.*=200,5m", "--cluster", s.url())
	const sessions, missed = 1000, 100
	tickets := make([]string, sessions)
	name := func(i int) string { return fmt.Sprintf("room.%d", i) }
	pub := list[1].login()
	each := func(f func(i int)) {
		var wg sync.WaitGroup
		for w := range 20 {
			wg.Go(func() {
				for i := w; i < sessions; i += 20 {
					f(i)
				}
			})
		}
		wg.Wait()
	}
	each(func(i int) {
		c, ticket := list[0].begin(fmt.Sprint("u", i))
		c.subscribe(name(i))
		tickets[i] = ticket
		c.conn.Close()
	})
	await(t, "the topics to be let go", func() bool { return list[0].metric("sluice_cluster_history_topics") == 0 })
	// A subscription that the log did not answer in time, as on a busy machine, has no place in it: who
	// leaves at once, one of each of the goroutines above at most, is told of a gap.
	placeless := 20 * int(list[0].metric("sluice_cluster_history_timeouts_total"))
	for i := range sessions {
		pub.burst(name(i), 1, missed)
	}
	list[1].stored(sessions * missed)
	begun := time.Now()
	var mu sync.Mutex
	var slowest time.Duration
	gaps := 0
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			c, _ := list[0].comeBack(tickets[i])
			got := c.all(1)
			gap := len(got) > 0 && got[0].gap
			if gap {
				got = nil
			}
			for k, g := range append(got, c.all(missed-len(got))...) {
				if g.gap || g.n != k+1 {
					t.Errorf("session %d: push %+v, want %d", i, g, k+1)
					return
				}
			}
			mu.Lock()
			if gap {
				gaps++
			}
			slowest = max(slowest, time.Since(begun))
			mu.Unlock()
		})
	}
	wg.Wait()
	if gaps > placeless {
		t.Errorf("%d sessions were told of a gap, want %d at most", gaps, placeless)
	}
	t.Logf("%d sessions had %d missed messages each after %v; reads: %v, %v bytes", sessions, missed, slowest,
		list[0].metric("sluice_cluster_history_reads_total"), list[0].metric("sluice_cluster_history_read_bytes_total"))
}

// A server below 2.11 cannot keep histories in order: that is said, and ends the start.
func TestHistoryOldServer(t *testing.T) {
	t.Parallel()
	url := startDebian(t)
	out, _ := exec.Command("nats-server", "--version").CombinedOutput()
	if !strings.Contains(string(out), "2.9.") && !strings.Contains(string(out), "2.10.") {
		t.Skipf("the server that is installed is new: %s", out)
	}
	g := launch(t, 1, append(rooms, "--cluster", url)...)
	if code := g.wait(); code != 2 || !strings.Contains(g.stderr.String(), "has version 2.") || !strings.Contains(g.stderr.String(), "2.11") {
		t.Errorf("exit code %d, want 2 and the version:\n%s", code, g.stderr)
	}
}

// What is in the stream that no gateway has put there does no harm, and other rules are warned of.
func TestHistoryStrangers(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	a := serve(t, 1, append(rooms, "--cluster", s.url())...)
	b := serve(t, 2, "--cluster", s.url())
	a.knows(2)
	b.knows(2)
	sub := a.login()
	sub.subscribe("room.1")
	foreign(t, s.url(), "room.1")
	pub := a.login()
	pub.publish("room.1", 1)
	sub.want(1, 1)
	if n := a.metric("sluice_cluster_history_rules_differ"); n != 1 {
		t.Errorf("%v gateways have other rules, want 1", n)
	}
	a.logged("other gateways have other rules of history")
	other := b.login() // to which the topic is a plain one
	other.subscribe("room.1")
	pub.publish("room.1", 2)
	other.want(2, 2)
	sub.want(2, 2)
	other.publish("room.1", 3)
	sub.want(3, 3)
	await(t, "the plain message to be counted", func() bool { return a.metric("sluice_cluster_history_plain_total") == 1 })
}

// foreign has somebody put what is no frame into a topic's stream.
func foreign(t *testing.T, url, topic string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	subject := "sluice.default.h." + base64.RawURLEncoding.EncodeToString([]byte(topic))
	if _, err := js.Publish(t.Context(), subject, []byte("no frame")); err != nil {
		t.Fatal(err)
	}
}
