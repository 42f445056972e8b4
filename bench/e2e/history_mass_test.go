package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sessions that resume at once, each with 100 messages that it has missed: how long it takes until all
// have everything, and what it costs others meanwhile. With SLUICE_RESUME=full they are 1,000, and the
// limits those of docs/history.md: measure on a machine that does nothing else.
func TestHistoryMassResume(t *testing.T) {
	t.Parallel()
	sessions, within, p99 := 100, 10*time.Second, 2*time.Second
	if os.Getenv("SLUICE_RESUME") == "full" {
		sessions, within, p99 = 1000, time.Second, 50*time.Millisecond
	}
	const missed, each = 100, 10 // messages, and sessions of a topic
	p := startDev(t, "--history", "room.*=1000,5m")
	topic := func(i int) string { return fmt.Sprint("room.", i/each) }
	followers := make([]*follower, sessions)
	dial := func() *follower {
		t.Helper()
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &follower{conn: conn, r: bufio.NewReader(conn)}
	}
	for i := range followers {
		f := dial()
		if err := f.login(fmt.Sprintf(`{"token":"user-%d","session":true}`, i)); err != nil {
			t.Fatal(err)
		}
		_, _ = f.conn.Write(compact.ask(1, "sluice.Subscribe", fmt.Sprintf(`{"topics":[%q]}`, topic(i))))
		if n, err := f.next(); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		followers[i] = f
	}
	others := p.tripsBeside(t)
	pub := p.login(t, modes[0], "")
	next := 0 // the number that is published next
	round := func() (took time.Duration, trips []time.Duration) {
		t.Helper()
		for _, f := range followers {
			f.conn.Close()
		}
		p.await(func() bool { return p.metrics()[`sluice_sessions{state="detached"}`] == float64(sessions) }, "the sessions to wait")
		for n := range missed {
			for i := 0; i < sessions; i += each {
				text := fmt.Sprintf(`"%d%s"`, next+n+1, strings.Repeat(" ", 90))
				pub.wantOK("sluice.Publish", publish(topic(i), text))
			}
		}
		old := slices.Clone(followers)
		for i := range followers {
			followers[i] = dial()
		}
		var resuming sync.WaitGroup
		begun := time.Now()
		for i, f := range followers {
			resuming.Go(func() {
				if err := f.login(resume(old[i].ticket)); err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
				for n := range missed {
					if got, err := f.next(); err != nil || got != next+n+1 {
						t.Errorf("session %d: %d, %v, want %d", i, got, err, next+n+1)
						return
					}
				}
			})
		}
		resuming.Wait()
		took = time.Since(begun)
		next += missed
		time.Sleep(20 * time.Millisecond) // those that were under way
		return took, others.between(begun, begun.Add(took))
	}
	var times, trips []time.Duration
	for range 5 {
		took, some := round()
		times, trips = append(times, took), append(trips, some...)
	}
	slices.Sort(times)
	slices.Sort(trips)
	high := percentile(trips, 0.99)
	t.Logf("%d sessions with %d missed messages each: %v until all have them (%v to %v); meanwhile p99 of %d round trips of others is %v, the median %v",
		sessions, missed, times[len(times)/2], times[0], times[len(times)-1], len(trips), high, percentile(trips, 0.5))
	if times[len(times)/2] > within || high > p99 {
		t.Errorf("more than %v, or than %v for others", within, p99)
	}
}

// tripsProcessEnv makes of the test's binary a process that measures round trips: it names the gateway's
// address. What keeps the test itself busy is none of the gateway's.
const tripsProcessEnv = "SLUICE_E2E_TRIPS"

// tripsProcessMain has four pairs publish and hear all the time, and prints when a round trip began and
// how long it took, in unix ns and ns, until it is killed.
func tripsProcessMain(addr string) int {
	p := &process{addr: addr}
	failed := make(chan error)
	for i := range 4 {
		name := fmt.Sprint("others ", i)
		r := &trip{topic: name}
		for _, c := range []**client{&r.from, &r.to} {
			var err error
			if *c, err = p.open(nil, modes[0]); err == nil {
				err = (*c).send(modes[0].connect(0, ""))
			}
			if err == nil {
				_, err = (*c).next()
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		err := r.to.send(modes[0].ask(1, "sluice.Subscribe", fmt.Sprintf(`{"topics":[%q]}`, name)))
		if err == nil {
			_, err = r.to.next()
		}
		go func() {
			for ; err == nil; time.Sleep(time.Millisecond) {
				begun := time.Now()
				var took time.Duration
				if took, err = r.once(); err == nil {
					fmt.Println(begun.UnixNano(), took.Nanoseconds())
				}
			}
			failed <- err
		}()
	}
	fmt.Fprintln(os.Stderr, <-failed)
	return 1
}

// besideTrips are the round trips of such a process.
type besideTrips struct {
	mu   sync.Mutex
	list [][2]int64 // when one began in unix ns, and ns that it took
}

func (p *process) tripsBeside(t *testing.T) *besideTrips {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), tripsProcessEnv+"="+p.addr)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	b := new(besideTrips)
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var one [2]int64
			if _, err := fmt.Sscan(lines.Text(), &one[0], &one[1]); err != nil {
				t.Errorf("round trips: %q", lines.Text())
			}
			b.mu.Lock()
			b.list = append(b.list, one)
			b.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		reading.Wait()
		_ = cmd.Wait()
	})
	p.await(func() bool { return len(b.between(time.Time{}, time.Now())) > 100 }, "round trips")
	return b
}

// between returns how long those took that began between two times.
func (b *besideTrips) between(from, to time.Time) (list []time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.list {
		if at := time.Unix(0, one[0]); at.After(from) && at.Before(to) {
			list = append(list, time.Duration(one[1]))
		}
	}
	return list
}
