package clustertest

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// Gateways know each other; one that leaves is gone at once, and its id is free.
func TestMembers(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 3, "--cluster", s.url())
	for i := range list {
		await(t, "where gateway 2 says that the others are", func() bool {
			m := list[1].members()[i]
			return m.ServerID == i+1 && m.Self == (i == 1) && strings.Contains(m.Address, "tcp://"+list[i].addr)
		})
	}
	if n := list[0].metric("sluice_cluster_nodes"); n != 3 {
		t.Errorf("%v nodes in the metrics", n)
	}
	if status, body := list[0].get("/readyz?verbose"); status != http.StatusOK || !strings.Contains(body, "cluster: other nodes: 2, 0 of them suspect") ||
		!strings.Contains(body, "cluster: data: connected to nats://127.0.0.1:") {
		t.Errorf("%d %s", status, body)
	}
	list[2].terminate()
	list[0].knows(2)
	list[1].knows(2)
	again := serve(t, 3, "--cluster", s.url())
	again.knows(3)
}

// A second gateway of an id ends with exit code 2, names the holder, and does the first no harm.
func TestServerIDTaken(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	a := serve(t, 7, "--cluster", s.url(), "--cluster-address", "the first one")
	begun := time.Now()
	b := launch(t, 7, "--cluster", s.url())
	if code := b.wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if d := time.Since(begun); d > patience {
		t.Errorf("it took %v", d)
	}
	for _, want := range []string{"--server-id", "server id 7 is taken", "the first one", "version", "since 20"} {
		if !strings.Contains(b.stderr.String(), want) {
			t.Errorf("no %q in %s", want, b.stderr)
		}
	}
	if status, _ := a.get("/readyz"); status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
	// Another cluster's ids are its own.
	serve(t, 7, "--cluster", s.url(), "--cluster-name", "other")
}

// Without NATS the gateway serves, and is not ready; with NATS it becomes ready. When NATS goes again it
// stays so, and says it.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	s.stop()
	g := serve(t, 1, "--cluster", s.url())
	if status, body := g.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "cluster: no server id yet: ") {
		t.Errorf("%d %s", status, body)
	}
	s.start()
	await(t, "the gateway to be ready", func() bool {
		status, _ := g.get("/readyz")
		return status == http.StatusOK
	})
	s.stop()
	await(t, "the gateway to notice", func() bool { return g.metric(`sluice_cluster_connected{connection="data"}`) == 0 })
	if status, body := g.get("/readyz?verbose"); status != http.StatusOK || !strings.Contains(body, "cluster: data: not connected for ") {
		t.Errorf("%d %s", status, body)
	}
	await(t, "failures of renewals", func() bool { return g.metric("sluice_cluster_lease_failures_total") > 0 })
	s.start()
	await(t, "the gateway to be back", func() bool { return g.metric(`sluice_cluster_connected{connection="control"}`) == 1 })
	g.knows(1)
}

// A gateway that waits for NATS, before its ports are open, shows the settings that it starts with.
func TestSettingsWhileItStarts(t *testing.T) {
	t.Parallel()
	admin := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	nats := fmt.Sprintf("nats://ann:secret@127.0.0.1:%d", freePort(t))
	g := exec.Command(gatewayBinary, "serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "none", "--admin", admin,
		"--server-id", "1", "--cluster", nats)
	g.Stderr = new(syncbuf.Buffer)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = g.Process.Kill()
		_ = g.Wait()
	}()
	var body []byte
	await(t, "an answer", func() bool {
		resp, err := http.Get("http://" + admin + "/api/v1/config")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	if text := string(body); !strings.Contains(text, `"value":["nats://(not shown)@127.0.0.1:`) || strings.Contains(text, "secret@") {
		t.Errorf("the settings are %s", text)
	}
}

// An id of a gateway that was killed is taken over by the next within seconds; the others see the new
// process in its place.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	list[1].kill()
	again := serve(t, 2, "--cluster", s.url())
	again.logged("the server id was taken over")
	again.knows(2)
	list[0].logged("another process has its server id")
	list[0].knows(2)
}

// A gateway that stands still, and whose id another has when it wakes, serves nobody any more and ends
// with exit code 2.
func TestStoppedAndReplaced(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	list[1].signal(syscall.SIGSTOP)
	await(t, "suspicion", func() bool {
		for _, m := range list[0].members() {
			if m.ServerID == 2 && m.Suspect {
				return true
			}
		}
		return false
	})
	other := serve(t, 2, "--cluster", s.url(), "--cluster-address", "the other one")
	list[1].signal(syscall.SIGCONT)
	if code := list[1].wait(); code != 2 {
		t.Errorf("exit code %d, want 2", code)
	}
	if log := list[1].stderr.String(); !strings.Contains(log, "server id 2 was taken over: the other one") {
		t.Errorf("the log:\n%s", log)
	}
	other.knows(2)
}

// A gateway that stood still and still has its id goes on.
func TestStoppedAndBack(t *testing.T) {
	t.Parallel()
	s := startNATS(t, nil)
	list := serveAll(t, 2, "--cluster", s.url())
	list[1].signal(syscall.SIGSTOP)
	time.Sleep(6 * time.Second) // longer than what makes it doubt
	list[1].signal(syscall.SIGCONT)
	list[1].logged("the process has stood still")
	list[0].knows(2)
	list[1].knows(2)
	if status, body := list[1].get("/readyz"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}
