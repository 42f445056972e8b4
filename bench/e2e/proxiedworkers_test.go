package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	workerlib "github.com/sluicenet/sluice/engine/worker"
)

// TestWorkersBehindProxies: workers come through haproxy, and who is one is told by their own address.
func TestWorkersBehindProxies(t *testing.T) {
	t.Parallel()
	haproxy := program(t, "haproxy", "haproxy")
	p := startServe(t, "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0?proxy=on",
		"--proxy-trust", "127.0.0.1", "--worker-allow", "127.0.0.5")
	addrs := freePorts(t, 2)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	text := fmt.Sprintf(`
global
  maxconn 100
defaults
  mode tcp
  timeout connect 10s
  timeout client 1m
  timeout server 1m
listen v1
  bind %s
  server sluice %[3]s send-proxy
listen v2
  bind %[2]s
  server sluice %[3]s check inter 100ms send-proxy-v2 check-send-proxy proxy-v2-options crc32c
`, addrs[0], addrs[1], p.workerAddr())
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	startProxy(t, addrs, haproxy, "-db", "-f", config)
	for _, addr := range addrs {
		for source, isWorker := range map[string]bool{"127.0.0.5": true, "127.0.0.6": false} {
			d := &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
			w, err := workerlib.New(workerlib.Config{Gateways: []string{addr.(string)}, Links: 1, Dial: d.DialContext, RedialMin: time.Hour, RedialMax: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			w.Handle("*", func(_ context.Context, r *workerlib.Request) ([]byte, error) { return r.Payload, nil })
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- w.Run(ctx) }()
			if isWorker {
				soon, stop := context.WithTimeout(ctx, patience)
				if err := w.Ready(soon); err != nil {
					t.Errorf("from %s through %s: %v", source, addr, err)
				}
				stop()
			} else if !p.await(func() bool {
				return strings.Contains(p.stderr.String(), "reason=address-not-allowed peer="+source+":")
			}, "a refusal") {
				t.Errorf("from %s through %s: nobody was refused", source, addr)
			}
			cancel()
			<-ended
		}
	}
	if log := p.stderr.String(); strings.Contains(log, "proxy-header") || strings.Contains(log, "proxy-untrusted") {
		t.Errorf("health checks are no mistakes:\n%s", tail(log))
	}
	// Without a header nobody is served, from whatever address.
	c, err := net.Dial("tcp", p.workerAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	const want = `sluice_worker_unproven_closed_total{reason="proxy-header"} 1`
	p.await(func() bool { return strings.Contains(page(t, p), want) }, want)
}
