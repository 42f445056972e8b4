package clustertest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A natsMember is one NATS server of a cluster, in a process of its own that can be killed and stopped.
type natsMember struct {
	t    *testing.T
	name string
	url  string
	args []string // of beNATS
	cmd  *exec.Cmd
}

func (m *natsMember) start() {
	m.t.Helper()
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), childEnv+"=nats "+strings.Join(m.args, " "))
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	m.cmd.Stderr = os.Stderr
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *natsMember) signal(sig syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(sig); err != nil {
		m.t.Error(err)
	}
}

// kill ends the process as a crash does.
func (m *natsMember) kill() {
	m.t.Helper()
	m.signal(syscall.SIGKILL)
	_ = m.cmd.Wait()
}

// terminate ends it as an operator does.
func (m *natsMember) terminate() {
	m.t.Helper()
	m.signal(syscall.SIGTERM)
	_ = m.cmd.Wait()
}

// A natsCluster is several of them.
type natsCluster []*natsMember

// launchNATSCluster starts servers that are one NATS cluster, and waits until it takes writes.
func launchNATSCluster(t *testing.T, n int) natsCluster {
	t.Helper()
	var routes []string
	ports := make([]int, 2*n)
	for i := range ports {
		ports[i] = freePort(t)
		if i >= n {
			routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
		}
	}
	c := make(natsCluster, n)
	for i := range c {
		m := &natsMember{t: t, name: fmt.Sprint("s", i), url: fmt.Sprintf("nats://127.0.0.1:%d", ports[i])}
		m.args = []string{t.TempDir(), fmt.Sprint(ports[i]), m.name, fmt.Sprint(ports[n+i]), strings.Join(routes, ",")}
		m.start()
		c[i] = m
		t.Cleanup(func() {
			_ = m.cmd.Process.Signal(syscall.SIGCONT)
			_ = m.cmd.Process.Kill()
			_ = m.cmd.Wait()
		})
	}
	c.await("a write", func(js jetstream.JetStream) error {
		kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "test", Replicas: n})
		if err == nil {
			_, err = kv.PutString(t.Context(), "k", "v")
		}
		return err
	})
	return c
}

// urls are those of all.
func (c natsCluster) urls() string {
	var list []string
	for _, m := range c {
		list = append(list, m.url)
	}
	return strings.Join(list, ",")
}

// await tries something until it succeeds.
func (c natsCluster) await(what string, try func(js jetstream.JetStream) error) {
	t := c[0].t
	t.Helper()
	var last error
	var nc *nats.Conn
	defer func() {
		if nc != nil {
			nc.Close()
		}
	}()
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(20 * time.Millisecond) {
		if nc == nil || nc.IsClosed() {
			if nc, last = nats.Connect(c.urls()); last != nil {
				nc = nil
			}
		}
		if nc != nil {
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			if last = try(js); last == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %v", what, last)
		}
	}
}

// leader returns which server leads a stream.
func (c natsCluster) leader(stream string) (at int) {
	c[0].t.Helper()
	c.await("a leader of "+stream, func(js jetstream.JetStream) error {
		s, err := js.Stream(c[0].t.Context(), stream)
		if err != nil {
			return err
		}
		for i, m := range c {
			if info := s.CachedInfo(); info.Cluster != nil && info.Cluster.Leader == m.name {
				at = i
				return nil
			}
		}
		return fmt.Errorf("the leader is %+v", s.CachedInfo().Cluster)
	})
	return at
}

// whole waits until a stream has a replica on each server, and all have everything.
func (c natsCluster) whole(stream string) {
	c[0].t.Helper()
	c.replicated(stream, len(c))
}

// replicated waits until a stream has so many replicas, and all have everything.
func (c natsCluster) replicated(stream string, replicas int) {
	c[0].t.Helper()
	c.await(fmt.Sprint(replicas, " replicas of ", stream), func(js jetstream.JetStream) error {
		s, err := js.Stream(c[0].t.Context(), stream)
		if err != nil {
			return err
		}
		info := s.CachedInfo().Cluster
		if info == nil || info.Leader == "" || len(info.Replicas) != replicas-1 {
			return fmt.Errorf("%+v", info)
		}
		for _, r := range info.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	})
}

// listening waits until a server takes connections.
func (m *natsMember) listening() {
	m.t.Helper()
	await(m.t, m.name, func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(m.url, "nats://"), time.Second)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
