package clustertest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// What it costs to be one of a cluster: CPU time of a process of its own, that does nothing else, for
// each publish. The ways to publish take turns.

const (
	childEnv    = "CLUSTER_TEST_CHILD" // "WAY NATS-URL PAUSE TIME", of a process that publishes
	costTopic   = "cost"
	costPayload = 100 // bytes
)

// ways are what a child does for each publish.
var ways = map[string]func(url string) (publish func() error, err error){
	// A message to the NATS server, written to the socket.
	"bare": func(url string) (func() error, error) {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
		if err != nil {
			return nil, err
		}
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			return nil, err
		}
		if _, err := c.Write([]byte("CONNECT {\"verbose\":false}\r\n")); err != nil {
			return nil, err
		}
		line := fmt.Appendf(nil, "PUB bare %d\r\n%s\r\n", costPayload, make([]byte, costPayload))
		return func() error {
			_, err := c.Write(line)
			return err
		}, nil
	},
	// A gateway without a cluster, with a subscriber of its own.
	"alone": func(string) (func() error, error) { return inside(server.ClusterConfig{}, true) },
	// One of a cluster, whose other nodes have no subscribers.
	"unwanted": func(url string) (func() error, error) { return inside(server.ClusterConfig{URLs: []string{url}}, true) },
	// One of a cluster without subscribers; another node has one.
	"wanted": func(url string) (func() error, error) {
		return inside(server.ClusterConfig{URLs: []string{url}}, false)
	},
}

// inside starts a gateway in this process.
func inside(config server.ClusterConfig, subscriber bool) (func() error, error) {
	s, err := server.New(server.Config{
		Listen: []string{"tcp://127.0.0.1:0"}, Dev: true, Cluster: config,
		Gateway: server.GatewayConfig{Login: login.Open{}, ServerID: 1, Logger: slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		return nil, err
	}
	if err := s.Start(); err != nil {
		return nil, err
	}
	topic := []byte(costTopic)
	if subscriber {
		topic = []byte("unwanted")
		if err := devour(strings.TrimPrefix(s.Addrs()[0], "tcp://"), string(topic)); err != nil {
			return nil, err
		}
	}
	pb, payload := s.Engine().NewPublisher(), make([]byte, costPayload)
	return func() error {
		err := pb.Publish(topic, engine.Push{Route: "r", Payload: payload})
		pb.Flush()
		return err
	}, nil
}

// devour has another process subscribe to a topic, and read what comes.
func devour(address, topic string) error {
	_, _, out, err := startChild("devour", address, topic)
	if err != nil {
		return err
	}
	_, err = out.ReadString('\n')
	return err
}

// childCommand is this program as the other process that words tell. It ends with this one.
func childCommand(words ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(words, " "))
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// startChild starts it, with its input and output.
func startChild(words ...string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Reader, err error) {
	cmd = childCommand(words...)
	if in, err = cmd.StdinPipe(); err != nil {
		return nil, nil, nil, err
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	return cmd, in, bufio.NewReader(pipe), cmd.Start()
}

// child is the other process.
func child(words []string) error {
	if words[0] == "nats" {
		return beNATS(words[1:])
	}
	if words[0] == "pulse" {
		return bePulse(words[1:])
	}
	if words[0] == "devour" {
		c, err := dial(nil, words[1])
		if err != nil {
			return err
		}
		if err := c.send("sluice.Subscribe", topics(words[2])); err != nil {
			return err
		}
		if _, _, err := c.packet(patience); err != nil {
			return err
		}
		fmt.Println("ready")
		b := make([]byte, 256<<10)
		_ = c.conn.SetReadDeadline(time.Time{})
		for {
			if _, err := c.conn.Read(b); err != nil {
				return nil // who publishes has ended
			}
		}
	}
	pause, err := time.ParseDuration(words[2])
	if err != nil {
		return err
	}
	all, err := time.ParseDuration(words[3])
	if err != nil {
		return err
	}
	publish, err := ways[words[0]](words[1])
	if err != nil {
		return err
	}
	// Nodes find one another, and what others want is asked for with the first message.
	for range 20 {
		if err := publish(); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	n, begun, before := 0, time.Now(), cpuTime()
	for ; time.Since(begun) < all; n++ {
		if err := publish(); err != nil {
			return err
		}
		if pause > 0 {
			time.Sleep(time.Until(begun.Add(time.Duration(n+1) * pause)))
		}
	}
	fmt.Println(float64(cpuTime()-before) / float64(n))
	return nil
}

// cpuTime is what the process has used, in ns.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// cost returns the CPU time of a publish, in ns.
func cost(t *testing.T, way, url string, pause, all time.Duration) float64 {
	t.Helper()
	out, err := childCommand(way, url, pause.String(), all.String()).Output()
	if err != nil {
		t.Fatalf("%s: %v", way, err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil || ns <= 0 {
		t.Fatalf("%s: %q", way, out)
	}
	return ns
}

// With CLUSTER_COSTS it is a measurement, whose figures are logged; else it shows that each
// way works.
func TestCosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector costs most")
	}
	all, turns := 100*time.Millisecond, 1
	if os.Getenv("CLUSTER_COSTS") != "" {
		all, turns = 3*time.Second, 5
	} else {
		t.Parallel()
	}
	s := startNATS(t, nil)
	g := serve(t, 2, "--cluster", s.url())
	if err := devour(g.addr, costTopic); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what     string
		way, per string
		pause    time.Duration
		first    bool // it shows what others do not
	}{
		{"a lonely publish with remote interest, per a bare write to the NATS server", "wanted", "bare", 500 * time.Microsecond, true},
		{"publishes that follow one another, with remote interest", "wanted", "", 0, false},
		{"a publish without remote interest, per one without a cluster", "unwanted", "alone", 0, true},
		{"the same, lonely", "unwanted", "alone", 500 * time.Microsecond, false},
	} {
		if turns == 1 && !row.first {
			continue
		}
		var ns, per, ratios []float64
		for range turns {
			ns = append(ns, cost(t, row.way, s.url(), row.pause, all))
			if row.per != "" {
				per = append(per, cost(t, row.per, s.url(), row.pause, all))
				ratios = append(ratios, ns[len(ns)-1]/per[len(per)-1])
			}
		}
		t.Logf("%s: %.0f ns", row.what, median(ns))
		if row.per != "" {
			t.Logf("\tper %.0f ns: %.2fx, in turns %.2f", median(per), median(ns)/median(per), ratios)
		}
	}
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
