package clustertest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The disk of JetStream is full: publishes to histories are refused by name, clients are served on, and all
// heals when there is room and NATS has been restarted.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	long(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no small disk can be made here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s := startNATS(t, func(o *server.Options) { o.StoreDir = filepath.Join(dir, "store"); o.JetStreamMaxStore = 1 << 30 })
	list := serveAll(t, 2, append(rooms, "--cluster", s.url(), "--cluster-history-storage", "file", "--history-wait", "3s",
		"--session-key", filepath.Join(t.TempDir(), "key"))...)
	sub, pub := list[1].login(), list[0].login()
	sub.subscribe("room.1", "news")
	pub.publish("room.1", 1)
	sub.want(1, 1)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 16<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	n := 1
	await(t, "publishes to be refused", func() bool {
		n++
		pub.publish("room.1", n)
		time.Sleep(10 * time.Millisecond)
		return list[0].sum("sluice_cluster_history_refused_total") > 0
	})
	list[0].logged("were not confirmed by the log of histories")
	for { // what came before that
		g, err := sub.next(500 * time.Millisecond)
		if err != nil {
			break
		}
		if g.n > n {
			t.Errorf("push %+v", g)
		}
	}
	for i := range 50 { // plain topics go on, over nodes, too
		pub.publish("news", 1000+i)
		sub.want(1000+i, 1000+i)
	}
	time.Sleep(25 * time.Second) // longer than a lease lives
	pub.publish("news", 2000)
	sub.want(2000, 2000)
	for _, g := range list {
		t.Logf("gateway %d: %v refused, reachable %v, lease held %v, renewed %.0f s ago, %v failures", g.id,
			g.sum("sluice_cluster_history_refused_total"),
			g.metric("sluice_cluster_history_reachable"), g.metric("sluice_cluster_lease_held"),
			g.metric("sluice_cluster_lease_age_seconds"), g.metric("sluice_cluster_lease_failures_total"))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start()
	natsConnected(t, list...)
	await(t, "a message by way of the log", func() bool {
		if pub.send("sluice.Publish", message("room.1", 3000)) != nil {
			t.Fatal("no connection")
		}
		if _, _, err := pub.packet(patience); err != nil {
			return false
		}
		for {
			if g, err := sub.next(time.Second); err != nil || g.n == 3000 {
				return err == nil
			}
		}
	})
	for _, g := range list {
		g.knows(2)
		await(t, "the lease", func() bool { return g.metric("sluice_cluster_lease_age_seconds") < 3 })
	}
}
