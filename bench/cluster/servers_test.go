package clustertest

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// A natsServer is a NATS server in this process, which can be stopped and started again.
type natsServer struct {
	t       *testing.T
	options server.Options
	*server.Server
}

// startNATS starts a server with JetStream on a port of its own; change may change its options.
func startNATS(t *testing.T, change func(*server.Options)) *natsServer {
	t.Helper()
	s := &natsServer{t: t, options: server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
	}}
	if change != nil {
		change(&s.options)
	}
	s.start()
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	options := s.options // the server changes them
	var err error
	if s.Server, err = server.NewServer(&options); err != nil {
		s.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		s.t.Fatal("the NATS server does not start")
	}
	s.options.Port = s.Addr().(*net.TCPAddr).Port // for the next time
}

func (s *natsServer) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

func (s *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port) }

// startCluster starts servers that are one NATS cluster, and waits for its leader.
func startCluster(t *testing.T, n int) []*natsServer {
	t.Helper()
	var routes []string
	ports := make([]int, n)
	for i := range ports {
		ports[i] = freePort(t)
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	list := make([]*natsServer, n)
	for i := range list {
		list[i] = startNATS(t, func(o *server.Options) {
			o.ServerName = fmt.Sprintf("s%d", i)
			o.Cluster = server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports[i]}
			for _, r := range routes {
				o.Routes = append(o.Routes, server.RoutesFromStr(r)...)
			}
		})
	}
	await(t, "a leader of JetStream", func() bool {
		for _, s := range list {
			if s.JetStreamIsLeader() && s.NumRoutes() > 0 && len(s.JetStreamClusterPeers()) == n {
				return true
			}
		}
		return false
	})
	return list
}

// freePort returns a port that nobody had a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// await polls until ok, for what no event tells.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}
