package deploy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/worker"
)

// gosocClient logs in over GOSOC, in compact form.
func gosocClient(t *testing.T, url, token string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	payload := fmt.Sprintf(`{"token":%q}`, token)
	body := append([]byte("\x05GOSOC\x01\x00\x00\x3c"), byte(len(payload)))
	body = append(body, payload...)
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	ack := make([]byte, 4)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(conn, ack); err != nil || !bytes.Equal(ack, []byte("\x20\x02\x00\x00")) {
		t.Fatalf("ConnAck %x, %v", ack, err)
	}
	return conn
}

// gosocRequest is a request with id 1.
func gosocRequest(route, payload string) []byte {
	body := append([]byte{0, 1, byte(len(route))}, route...)
	body = append(append(body, byte(len(payload))), payload...)
	return append([]byte{0x62, byte(len(body))}, body...)
}

// gosocGoodbye is the Disconnect of a shutdown.
var gosocGoodbye = []byte("\x50\x01\x00")

// TestDrainFits: with the flags of the manifest the gateway ends within the grace period, whatever its
// workers do, and each of 200 clients gets its answer and its goodbye.
func TestDrainFits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		after time.Duration // the worker's time for an answer
		want  string
	}{
		{"slow workers", time.Second, `"done"`},
		{"workers that do not answer", time.Minute, "no answer in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.after >= time.Minute && !full {
				t.Skip("takes the whole --drain of the manifest: set DEPLOY_FULL=1")
			}
			t.Parallel()
			testDrain(t, tt.after, tt.want)
		})
	}
}

func testDrain(t *testing.T, after time.Duration, want string) {
	const clients = 200
	dir := secrets(t)
	var users strings.Builder
	for i := range clients {
		fmt.Fprintf(&users, "secret-%d user-%d\n", i, i)
	}
	replace(t, filepath.Join(dir, "users"), users.String())
	set := statefulSet(t)
	p := start(t, podArguments(t, set, localConfig(t, "kubernetes/sluice.toml", map[string]string{"/etc/sluice/secrets": dir}), "7")...)
	serveWorker(t, p, worker.Config{TokenFile: filepath.Join(dir, "workers"), DrainTimeout: time.Millisecond}, after)
	var conns []net.Conn
	for i := range clients {
		c := gosocClient(t, p.client, fmt.Sprintf("secret-%d", i))
		if _, err := c.Write(gosocRequest("any.Thing", `"done"`)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	metric := func() bool {
		_, text := p.ask(t, "/metrics", scrapeToken(t, dir))
		return strings.Contains(text, fmt.Sprintf("\nsluice_worker_transfers_total %d\n", clients))
	}
	await(t, "the requests to be with the worker", metric)
	begun := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var told atomic.Int64
	var other atomic.Value
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(2 * patience))
			got, err := io.ReadAll(c)
			c.Close()
			if err == nil && bytes.Contains(got, []byte(want)) && bytes.HasSuffix(got, gosocGoodbye) {
				told.Add(1)
			} else {
				other.Store(string(got))
			}
		})
	}
	all.Wait()
	spec := set.Spec.Template.Spec
	grace := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	grace -= time.Duration(spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	select {
	case <-p.ended:
	case <-time.After(grace):
		t.Fatalf("the gateway has not ended within %v, when it is killed\n%s", grace, p.log)
	}
	p.stopped = true
	took := time.Since(begun)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	if told.Load() != clients {
		t.Errorf("%d of %d clients got %s and a goodbye, one got %q", told.Load(), clients, want, other.Load())
	}
	if limit := drainOf(t, "kubernetes/sluice.toml"); took > limit {
		t.Errorf("the drain took %v, --drain is %v", took, limit)
	}
	t.Logf("%d clients, %v of %v", clients, took.Round(time.Millisecond), grace)
}

// scrapeToken is the one that Prometheus has.
func scrapeToken(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "scrape"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replace writes a new file into the place of one.
func replace(t *testing.T, name, text string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// podArguments are those of the manifest, as Kubernetes has them for a pod of a number, with a
// configuration of the test's.
func podArguments(t *testing.T, set statefulset, config, index string) []string {
	t.Helper()
	args := slices.Clone(set.Spec.Template.Spec.Containers[0].Args)
	if len(args) == 0 || args[0] != "serve" {
		t.Fatalf("arguments %q", args)
	}
	for i, a := range args {
		a = strings.ReplaceAll(a, "$(SLUICE_SERVER_ID)", index)
		if strings.HasPrefix(a, "--config=") {
			a = "--config=" + config
		}
		if strings.Contains(a, "$(") {
			t.Errorf("argument %s", a)
		}
		args[i] = a
	}
	return args[1:]
}
