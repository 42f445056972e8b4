package clustertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// pulse has clients of another process, which does nothing else, ask for an echo every 10 ms, and returns
// what ends that and tells how long each took, in order.
func pulse(t *testing.T, list []*gateway, clients int) (end func() []time.Duration) {
	t.Helper()
	words := []string{"pulse", strconv.Itoa(clients)}
	for _, g := range list {
		words = append(words, g.addr)
	}
	cmd, in, r, err := startChild(words...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal("no client of the other process is there: ", err)
	}
	return func() (took []time.Duration) {
		_ = in.Close()
		if err := errors.Join(json.NewDecoder(r).Decode(&took), cmd.Wait()); err != nil {
			t.Error("clients of the other process: ", err)
		}
		slices.Sort(took)
		return took
	}
}

// bePulse is the other process: it says a line when its clients are logged in, and how long each echo took
// when its input ends.
func bePulse(words []string) error {
	clients, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	var list []*client
	for i := range clients {
		c, err := dial(nil, words[1+i%(len(words)-1)])
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	fmt.Println("ready")
	stop := make(chan struct{})
	took, errs := make([][]time.Duration, clients), make([]error, clients)
	var tasks sync.WaitGroup
	for i, c := range list {
		tasks.Go(func() {
			for next := time.Now(); errs[i] == nil; next = next.Add(10 * time.Millisecond) {
				select {
				case <-stop:
					return
				case <-time.After(time.Until(next)):
				}
				at := time.Now()
				if errs[i] = c.send("sluice.Echo", `"x"`); errs[i] == nil {
					_, _, errs[i] = c.packet(patience)
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(stop)
	tasks.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(slices.Concat(took...))
}

// The gateway of 1,000 sessions is killed, and all come back at once on two others, each with a topic of its
// own and 100 messages missed, which only the log has.
func TestMassResumptionOfTheKilled(t *testing.T) { // alone, since it keeps the machine busy
	long(t)
	s := launchNATS(t)
	list := serveAll(t, 3, "--history", "room.*=200,5m", "--cluster", s.url, "--session-key", filepath.Join(t.TempDir(), "key"))
	const sessions, missed = 1000, 100
	tickets := make([]string, sessions)
	name := func(i int) string { return fmt.Sprintf("room.%d", i) }
	var tasks sync.WaitGroup
	for k := range 20 {
		tasks.Go(func() {
			for i := k; i < sessions; i += 20 {
				c, ticket := list[0].begin(fmt.Sprint("u", i))
				c.subscribe(name(i))
				tickets[i] = ticket
			}
		})
	}
	tasks.Wait()
	await(t, "the sessions to be written", func() bool {
		return list[0].metric("sluice_cluster_sessions") == sessions && list[0].metric("sluice_cluster_sessions_queued") == 0
	})
	time.Sleep(1500 * time.Millisecond) // a checkpoint
	list[0].kill()
	pub := list[1].login()
	for i := range sessions {
		pub.burst(name(i), 1, missed)
	}
	list[1].stored(sessions * missed)
	end := pulse(t, list[1:], 20)
	time.Sleep(2 * time.Second)
	quiet := end()
	end = pulse(t, list[1:], 20)
	begun := time.Now()
	var mu sync.Mutex
	var all []time.Duration
	for i := range sessions {
		tasks.Go(func() {
			c, _ := list[1+i%2].comeBack(tickets[i])
			for k, g := range c.all(missed) {
				if g.gap || g.n != k+1 {
					t.Errorf("session %d: push %+v, want %d", i, g, k+1)
					return
				}
			}
			mu.Lock()
			all = append(all, time.Since(begun))
			mu.Unlock()
		})
	}
	tasks.Wait()
	busy := end()
	slices.Sort(all)
	t.Logf("%d sessions had %d missed messages each after %v, half of them after %v", sessions, missed, quantile(all, 1), quantile(all, 0.5))
	t.Logf("round trips of others: p99 %v, longest %v; before p99 %v, longest %v", quantile(busy, 0.99), quantile(busy, 1),
		quantile(quiet, 0.99), quantile(quiet, 1))
	for _, g := range list[1:] {
		n, late := g.metric("sluice_loop_lag_seconds_count"), g.metric(`sluice_loop_lag_seconds_count`)-g.metric(`sluice_loop_lag_seconds_bucket{le="0.05"}`)
		t.Logf("gateway %d: %.0f of %.0f probes of its loops were over 50 ms late; the longest turn took %.3f s", g.id, late, n,
			g.metric("sluice_loop_longest_turn_seconds"))
	}
}
