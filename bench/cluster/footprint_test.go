package clustertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// What a node, a topic and a session cost: memory in use and CPU time of the gateway and of the NATS
// server, which has a process of its own.

// A natsProcess is a NATS server in a process of its own.
type natsProcess struct {
	t    *testing.T
	url  string
	pid  int
	in   io.Writer
	lead *bufio.Reader
}

func launchNATS(t *testing.T) *natsProcess {
	t.Helper()
	cmd, in, out, err := startChild("nats", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	p := &natsProcess{t: t, pid: cmd.Process.Pid, in: in, lead: out}
	p.url = p.line()
	return p
}

func (p *natsProcess) line() string {
	p.t.Helper()
	text, err := p.lead.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

func (p *natsProcess) port() int {
	p.t.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		p.t.Fatal(err)
	}
	return port
}

// figures returns its memory in use in bytes, and how many messages it was sent.
func (p *natsProcess) figures() (heap, messages float64) {
	p.t.Helper()
	if _, err := p.in.Write([]byte("\n")); err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Sscan(p.line(), &heap, &messages); err != nil {
		p.t.Fatal(err)
	}
	return heap, messages
}

// beNATS is that process. For each line that it reads it tells its figures. Its arguments are the directory
// of its store and, for one of a cluster, its port, its name, the port for others, and all of these.
func beNATS(args []string) error {
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: args[0], NoLog: true, NoSigs: true,
	}
	if len(args) > 1 {
		return beMember(o, args[1:])
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		return errors.New("it does not start")
	}
	fmt.Printf("nats://127.0.0.1:%d\n", s.Addr().(*net.TCPAddr).Port)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		v, err := s.Varz(nil)
		if err != nil {
			return err
		}
		fmt.Println(heapInUse(), v.InMsgs)
	}
	s.Shutdown()
	return nil
}

// beMember is a server of a cluster, until it is terminated.
func beMember(o *server.Options, args []string) (err error) {
	o.NoSigs = false
	o.ServerName, o.Routes = args[1], server.RoutesFromStr(args[3])
	o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1"}
	if o.Port, err = strconv.Atoi(args[0]); err != nil {
		return err
	}
	if o.Cluster.Port, err = strconv.Atoi(args[2]); err != nil {
		return err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// heap returns the gateway's memory in use, in bytes.
func (g *gateway) heap() float64 {
	g.t.Helper()
	resp, err := http.Get(g.admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		g.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return g.metric("go_memstats_heap_alloc_bytes")
}

// cpuOf returns the CPU time that a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	words := strings.Fields(rest)
	ticks := 0
	for _, w := range words[11:13] { // utime and stime
		n, err := strconv.Atoi(w)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A footprint is what there was at a moment.
type footprint struct {
	heap, natsHeap, messages float64
	cpu, natsCPU             time.Duration
}

func look(g *gateway, p *natsProcess) footprint {
	g.t.Helper()
	f := footprint{cpu: cpuOf(g.t, g.cmd.Process.Pid)}
	f.heap = g.heap()
	if p != nil {
		f.natsCPU = cpuOf(g.t, p.pid)
		f.natsHeap, f.messages = p.figures()
	}
	return f
}

// since is f less what there was before, by n.
func (f footprint) since(before footprint, n int) string {
	by := float64(n)
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / by }
	return fmt.Sprintf("gateway %.0f B, %.1f us of CPU; NATS %.0f B, %.1f us, %.2f messages",
		(f.heap-before.heap)/by, us(f.cpu-before.cpu),
		(f.natsHeap-before.natsHeap)/by, us(f.natsCPU-before.natsCPU), (f.messages-before.messages)/by)
}

// It is a measurement, whose figures are logged.
func TestFootprint(t *testing.T) {
	if os.Getenv("CLUSTER_COSTS") == "" {
		t.Skip("CLUSTER_COSTS is not set")
	}
	const (
		seconds = 20
		people  = 20
		topics  = 1000 // of each
		users   = 5000
	)
	key := filepath.Join(t.TempDir(), "key")
	p := launchNATS(t)
	for _, c := range []struct {
		what string
		nats *natsProcess
	}{{"a gateway alone", nil}, {"one of a cluster of two", p}} {
		args := []string{"--session-key", key}
		if c.nats != nil {
			args = append(args, "--cluster", c.nats.url)
			serve(t, 2, args...)
		}
		g := serve(t, 1, args...)
		if c.nats != nil {
			g.knows(2)
		}
		time.Sleep(2 * time.Second)
		before := look(g, c.nats)
		time.Sleep(seconds * time.Second)
		idle := look(g, c.nats)
		t.Logf("%s, idle: %.1f MiB; per s: %s", c.what, before.heap/(1<<20), idle.since(before, seconds))

		before = idle
		list := make([]*client, people)
		for i := range list {
			list[i] = g.login()
			list[i].subscribe(names(i, topics)...)
		}
		t.Logf("%s, per topic that one client has: %s", c.what, look(g, c.nats).since(before, people*topics))
		for _, c := range list {
			c.conn.Close()
		}
		time.Sleep(15 * time.Second) // nobody lingers any more

		before = look(g, c.nats)
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for j := range users / 10 {
					g.begin(fmt.Sprintf("u%d", i*users/10+j))
				}
			})
		}
		wg.Wait()
		if c.nats != nil {
			g.written(users)
		}
		t.Logf("%s, per connection with a user and a session: %s", c.what, look(g, c.nats).since(before, users))
		g.terminate()
		g.ended = true
	}
}

func names(i, n int) []string {
	list := make([]string, n)
	for j := range list {
		list[j] = fmt.Sprintf("topic.%06d", i*n+j)
	}
	return list
}
